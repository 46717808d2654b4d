"""What is asked of a revocation feed and when, and what is known from it: a state machine without clock and network.

Whoever drives it (`feed_source`) sends what it asks for, and tells it what came. Seconds are those of a clock that
never steps, unless they are called wall. What a document may change is decided in `feed_reading`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tokenkeep.contract.access_token import AccessToken
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.contract.revocation_feed import FeedDocument, FeedRefused
from tokenkeep.verifier.challenge import CannotTell, InvalidToken
from tokenkeep.verifier.feed import RevocationFeed, RevocationStatus
from tokenkeep.verifier.feed_reading import FeedPosition, FeedReading

PACE: Final = 0.25
"""Seconds between the beginnings of two requests at least, but for the one after news."""
PACE_OF_NEWS: Final = 0.05
"""The same after an answer with news: where one thing was revoked, another may be at once."""
FIRST_PAUSE: Final = 0.5
"""Seconds of the longest pause after one setback; each further one in a row doubles it."""
LONGEST_PAUSE: Final = 10.0
"""Seconds of the longest pause after any number of setbacks."""
SHORTEST_LIMIT: Final = 1.0
"""Seconds that an answer is given at least, beside what it may wait for news."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant on both clocks."""

    elapsed: float
    wall: float


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A request that is to be sent now.

    Attributes:
        known: what must be continued; None asks for everything.
        wait: whole seconds that the server may wait for news.
        seconds: in which the answer must have come, beside the wait.
        sent: when that is.
    """

    known: FeedPosition | None
    wait: int
    seconds: float
    sent: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is to be asked for so many seconds."""

    seconds: float


class Turn(Enum):
    """What changed, as far as a person should be told."""

    FOLLOWED = "followed"
    """All revocations are known."""
    FAILING = "failing"
    """A request brought nothing, for another reason than the last one told."""
    STALE = "stale"
    """What is known is too old by now."""
    ANEW = "anew"
    """What is known could not be continued: everything is taken anew."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change and its reason."""

    turn: Turn
    why: str = ""


class FeedFollowing:
    """Follows one feed from nothing: decides when to ask for what, and for how long what came is relied on."""

    def __init__(self, feed: RevocationFeed, *, issuer: str, leeway: float, timeout: float) -> None:
        """Know nothing yet.

        Args:
            feed: the policy.
            issuer: whose feed it is.
            leeway: seconds by which the clocks of server and reader may differ.
            timeout: seconds that any answer may take, beside what it may wait for news.
        """
        self.revoked: Final = RevocationSet()
        self.attempted = False
        """Whether the first request has ended."""
        self._feed = feed
        self._leeway: Final = leeway
        self._timeout: Final = timeout
        self._staleness: Final = feed.max_staleness.total_seconds()
        self._reading = FeedReading(self.revoked, issuer=issuer, leeway=leeway)
        self._complete_at = -math.inf
        self._was_fresh = False
        self._wants_everything = False
        self._next_at = -math.inf
        self._setbacks = 0
        self._trouble: str | None = None
        self._anew: str | None = None
        self._told_trouble: str | None = None
        self._told: Turn | None = None
        self._fetches = 0
        self._failures = 0
        self._accepted_stale = 0

    def next(self, now: float) -> Ask | Pause:
        """Decide what to do at `now`; whoever is told to ask tells how that went, by `take` or `fail`."""
        if now < self._next_at:
            # Also a pause ends when what is known gets too old, so that this is told then.
            ends = self._stale_at() if now < self._stale_at() else self._next_at
            return Pause(min(ends, self._next_at) - now)
        fresh = self.revoked.fresh(now)
        known = None if self._wants_everything else self._reading.position
        self._fetches += 1
        if known is None or not fresh:
            return Ask(known, wait=0, seconds=self._timeout, sent=now)
        # While there is something to lose, an answer that does not come leaves time for another try.
        limit = min(self._timeout, max(SHORTEST_LIMIT, self._feed.quarter))
        return Ask(known, wait=0 if self._setbacks else self._feed.wait, seconds=limit, sent=now)

    def take(self, ask: Ask, document: FeedDocument, now: Moment, *, jitter: float) -> None:
        """Take what a signed document says, if it is an answer to what was asked.

        Args:
            ask: what was asked.
            document: what came; its signature was checked.
            now: when it had come.
            jitter: from 0 to 1, by which the readers of a feed differ.
        """
        try:
            if ask.known is None and document.after:
                raise FeedRefused("everything was asked for, and the document does not begin at the beginning")
            taken = self._reading.take(document, now.wall)
        except FeedRefused as refusal:
            self.fail(str(refusal), now.elapsed, jitter=jitter)
            return
        if not taken:
            self._wants_everything = True
            self._anew = "the document does not continue what is known"
            self._set_back(now.elapsed, jitter)
            return
        self._wants_everything = False
        if not self._confirm(ask, document, now):
            late = now.elapsed - self._complete_at
            self.fail(
                f"what the document tells is {late:.0f} seconds old, which is longer than max_staleness; "
                "it was kept back, or the clocks differ",
                now.elapsed,
                jitter=jitter,
            )
            return
        self.attempted = True
        self._trouble = None
        self._choose_next(ask, document, now=now.elapsed, jitter=jitter)

    def fail(self, why: str, now: float, *, jitter: float, retry_after: float = 0.0) -> None:
        """Take note that a request brought nothing that is believed: what is known stays, and gets older.

        Args:
            why: for log and refusals.
            now: when that was known.
            jitter: from 0 to 1, by which the readers of a feed differ.
            retry_after: seconds for which the server asks to be left alone.
        """
        self._failures += 1
        self._trouble = why
        self._set_back(now, jitter)
        self._next_at = max(self._next_at, now + min(retry_after, LONGEST_PAUSE))

    def refuse_revoked(self, token: AccessToken, now: float) -> None:
        """Refuse a good token that was revoked.

        Raises:
            InvalidToken: it was revoked.
            CannotTell: whether it was is not known now.
        """
        if self.revoked.contains(token):
            raise InvalidToken("revoked")
        if self.revoked.fresh(now):
            return
        if not self.usable(now):
            raise CannotTell(self._doubt(), retry_after=math.ceil(max(1.0, self._next_at - now)))
        self._accepted_stale += 1

    def usable(self, now: float) -> bool:
        """Tell whether tokens can be judged now."""
        return self.revoked.fresh(now) or (self._was_fresh and self._feed.when_stale == "accept")

    def status(self, now: float) -> RevocationStatus:
        """Return how it stands with the revocations."""
        return RevocationStatus(
            usable=self.usable(now),
            fresh=self.revoked.fresh(now),
            age=now - self._complete_at if self._was_fresh else None,
            entries=len(self.revoked),
            fetches=self._fetches,
            failures=self._failures,
            accepted_stale=self._accepted_stale,
            trouble=self._trouble,
        )

    def changes(self, now: float) -> list[Change]:
        """Return what changed since this was asked the last time, each change once."""
        changes = []
        if self._anew is not None:
            changes.append(Change(Turn.ANEW, self._anew))
            self._anew = None
        if self._trouble is not None and self._trouble != self._told_trouble:
            changes.append(Change(Turn.FAILING, self._trouble))
            self._told, self._told_trouble = Turn.FAILING if self._told is not Turn.STALE else Turn.STALE, self._trouble
        if self.revoked.fresh(now):
            if self._trouble is None and self._told is not Turn.FOLLOWED:
                changes.append(Change(Turn.FOLLOWED))
                self._told, self._told_trouble = Turn.FOLLOWED, None
        elif self._was_fresh and self._told is not Turn.STALE:
            changes.append(Change(Turn.STALE, self._doubt()))
            self._told = Turn.STALE
        return changes

    def _confirm(self, ask: Ask, document: FeedDocument, now: Moment) -> bool:
        """Rely on what is known, and tell whether that is of any use still."""
        # The clocks may differ by the leeway, so only what is beyond it shows that the document was kept back.
        kept_back = max(0.0, now.wall - document.issued_at - self._leeway)
        self._complete_at = max(self._complete_at, min(ask.sent, now.elapsed - kept_back))
        self.revoked.confirm(self._stale_at())
        fresh = self.revoked.fresh(now.elapsed)
        self._was_fresh = self._was_fresh or fresh
        return fresh

    def _choose_next(self, ask: Ask, document: FeedDocument, *, now: float, jitter: float) -> None:
        known = ask.known
        if known is None:
            self._next_at = ask.sent + PACE
        elif document.epoch != known.epoch or (document.after == 0 and known.number != 0):
            # Right once in a while. A server that does so each time would have everything sent again and again.
            self._anew = "a new history has begun" if document.epoch != known.epoch else "the server sent everything"
            self._set_back(now, jitter)
        else:
            self._setbacks = 0
            # Without news the server has waited, or ought to have.
            news = document.upto > known.number or bool(document.entries)
            rest = self._feed.quarter if self._feed.wait == 0 else ask.wait
            self._next_at = ask.sent + (PACE_OF_NEWS if news else max(PACE, rest))

    def _set_back(self, now: float, jitter: float) -> None:
        self.attempted = True
        self._setbacks += 1
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._setbacks - 1, 10))
        self._next_at = now + longest * (0.5 + 0.5 * jitter)

    def _stale_at(self) -> float:
        return self._complete_at + self._staleness

    def _doubt(self) -> str:
        state = "stale" if self._was_fresh else "not known yet"
        return f"the revocations are {state}: {self._trouble or 'no answer has come in time'}"
