"""What both drivers of the revocation feed share: how following begins, the two clocks, what is told to a person."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from tokenkeep.contract.revocation_feed import FeedDocument
from tokenkeep.jose.claims import ClaimsPolicy
from tokenkeep.verifier.feed import RevocationFeed
from tokenkeep.verifier.feed_client import FeedUnavailable
from tokenkeep.verifier.feed_following import Ask, Change, FeedFollowing, Moment, Turn

_log = logging.getLogger(__name__)

PATIENCE: Final = 4.0
"""How many times the timeout a token waits at most for the first answer."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What tells the time: seconds since the epoch, and seconds on a clock that never steps."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]

    def now(self) -> Moment:
        """Return the instant on both."""
        return Moment(self.monotonic(), self.wall())


class FeedKeeping:
    """A feed with its policy, its clocks and its log: what both drivers share."""

    @classmethod
    def for_tokens(
        cls, policy: ClaimsPolicy, feed: RevocationFeed, url: str, *, timeout: float, clocks: Clocks
    ) -> Self:
        """Return the keeping of a feed that tells what became of the tokens that a policy accepts.

        Args:
            timeout: seconds that any answer may take, beside what it may wait for news.
        """
        leeway = policy.leeway.total_seconds()
        begin = partial(FeedFollowing, feed, issuer=str(policy.issuer), leeway=leeway, timeout=timeout)
        return cls(url, feed, begin, clocks=clocks)

    def __init__(
        self,
        url: str,
        feed: RevocationFeed,
        begin: Callable[[], FeedFollowing],
        *,
        clocks: Clocks,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Take what makes a state machine that knows nothing yet; `url` is for the log."""
        self.begin = begin
        self.clocks = clocks
        self._url = url
        self._accepts_stale = feed.when_stale == "accept"
        self._jitter = jitter

    def take(self, following: FeedFollowing, ask: Ask, outcome: FeedDocument | Exception, now: Moment) -> None:
        """Take what a request brought, or that it brought nothing."""
        if isinstance(outcome, FeedDocument):
            following.take(ask, outcome, now, jitter=self._jitter())
        elif isinstance(outcome, FeedUnavailable):
            following.fail(str(outcome), now.elapsed, jitter=self._jitter(), retry_after=outcome.retry_after)
        else:
            following.fail(type(outcome).__name__, now.elapsed, jitter=self._jitter())

    def tell_defect(self, outcome: FeedDocument | Exception) -> None:
        """Log what ought not to have happened."""
        if isinstance(outcome, Exception) and not isinstance(outcome, FeedUnavailable):
            _log.error("revocations from %s: the fetch failed", self._url, exc_info=outcome)

    def tell(self, changes: Iterable[Change]) -> None:
        """Log what changed."""
        for change in changes:
            match change.turn:
                case Turn.FOLLOWED:
                    _log.info("revocations from %s: all are known", self._url)
                case Turn.ANEW:
                    _log.info("revocations from %s: taken anew: %s", self._url, change.why)
                case Turn.FAILING:
                    _log.warning("revocations from %s: %s", self._url, change.why)
                case Turn.STALE if self._accepts_stale:
                    _log.warning("revocations from %s: tokens are accepted all the same: %s", self._url, change.why)
                case Turn.STALE:
                    _log.warning("revocations from %s: no token is accepted: %s", self._url, change.why)
