"""What is held of an issuer's key set, and what is to be done next: a state machine without clock, network and lock.

`now` is an argument, in seconds of a clock that never steps. Whoever drives it (`key_source`) does what it decides,
and tells it how a fetch went.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final

from tokenkeep.jose import KeySet
from tokenkeep.verifier.jwks import KeyFetching, Publication

SHORTEST_AGE: Final = 30.0
"""Seconds for which a key set is used at least, whatever the issuer says."""
LONGEST_AGE: Final = 86_400.0
"""Seconds for which a key set is used at most, whatever the issuer says."""
USUAL_AGE: Final = 300.0
"""Seconds for which a key set is used if the issuer does not say."""
REFRESH_FROM: Final = 0.75
"""Share of its age from which a key set may be fetched anew, in the background."""
REFRESH_SPREAD: Final = 0.15
"""Share of its age over which the processes of a service are spread, so that they do not all ask at once."""
EXCUSE: Final = 60.0
"""Seconds for which one failed fetch excuses the use of a key set past its age, without waiting for the next."""
LOST_AFTER: Final = 4.0
"""How many times the timeout a fetch may be under way; then whoever made it is taken to be gone."""
MOST_MISSING: Final = 1_000
"""Tokens that are remembered for having been looked up in vain."""


@dataclass(frozen=True, slots=True, eq=False)
class Fetch:
    """A fetch that is under way. `etag` names what is held already."""

    began: float
    etag: str | None
    in_background: bool


@dataclass(frozen=True, slots=True)
class Use:
    """Judge with these keys; if there is a fetch, it is to be begun and not waited for."""

    keys: KeySet
    begin: Fetch | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the fetch has ended, then ask again; `begin` tells whether it is to be begun."""

    fetch: Fetch
    begin: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """The key is not in the set, which was fetched after the token came: the token is invalid."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing can be decided now; `detail` says why, and `retry_after` in how many seconds to try again."""

    detail: str
    retry_after: int


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """How it stands with the keys of an issuer, for health checks and metrics."""

    usable: bool
    """Whether tokens can be judged now."""
    age: float | None
    """Seconds since the keys were last known to be the issuer's; None if they never were."""
    fetches: int
    failures: int
    """How many fetches there were, and how many of them failed."""
    trouble: str | None
    """Why the last fetch failed; None if it did not."""


KEYS_GIVEN: Final = KeyStatus(usable=True, age=None, fetches=0, failures=0, trouble=None)
"""How it stands with keys that need not be fetched."""


@dataclass(frozen=True, slots=True)
class _Held:
    keys: KeySet
    etag: str | None
    #: When the request was sent that these keys answered.
    asked: float
    refresh_at: float
    expires_at: float
    useless_at: float


class KeyCache:
    """Decides for each token whether to use what is held, to fetch, to wait or to refuse.

    At most one fetch is under way, and none begins sooner than the cooldown after the beginning of the one before.
    """

    def __init__(self, fetching: KeyFetching) -> None:
        """Take the policy; nothing is held yet."""
        self._cooldown = fetching.cooldown.total_seconds()
        self._stale_limit = fetching.stale_limit.total_seconds()
        self.lost_after = fetching.timeout.total_seconds() * LOST_AFTER
        """Seconds that a fetch may be under way."""
        self._held: _Held | None = None
        self._fetch: Fetch | None = None
        self._last: Fetch | None = None
        self._trouble: str | None = None
        self._excused_until = -math.inf
        self._missing: set[bytes] = set()
        self._fetches = 0
        self._failures = 0
        self._closed = False

    def fresh_keys(self, now: float) -> KeySet | None:
        """Return what is held if it may be used without any doubt; None if that is to be decided."""
        held = self._held
        return held.keys if held is not None and now < held.refresh_at else None

    def keys_for(self, arrived: float, now: float) -> Use | Wait | Refuse:
        """Decide with which keys to judge a token that came at `arrived`."""
        held = self._held
        if held is not None and now < held.refresh_at:
            return Use(held.keys)
        fetch = self._under_way(now)
        if held is not None and now < held.useless_at:
            if held.asked >= arrived:
                return Use(held.keys)
            # Past their age, keys are used only if the issuer was asked in vain just now, or is being asked since
            # before. Without that a key which it took back would live longer than it said.
            if now < max(held.expires_at, self._excused_until) or (fetch is not None and fetch.in_background):
                begin = self._begin(now, in_background=True) if self._may_fetch(now) else None
                return Use(held.keys, begin)
        return self._wait_or_refuse(fetch, arrived, now)

    def newer_keys_for(self, token: str, than: KeySet, arrived: float, *, now: float) -> Use | Wait | Unknown | Refuse:
        """Decide about a token that came at `arrived`, and whose key is not among those it was judged with."""
        held = self._held
        if held is not None and held.keys is not than:
            return Use(held.keys)
        fetch = self._under_way(now)
        name = hashlib.sha256(token.encode()).digest()
        if held is not None and held.asked >= arrived:
            if len(self._missing) < MOST_MISSING:
                self._missing.add(name)
            return Unknown()
        if name in self._missing and not self._may_fetch(now):
            return Unknown()
        return self._wait_or_refuse(fetch, arrived, now)

    def succeed(self, fetch: Fetch, publication: Publication, *, asked: float, jitter: float) -> None:
        """Take what a fetch brought.

        Args:
            fetch: the one that ended.
            publication: what the issuer publishes.
            asked: when the request was sent.
            jitter: from 0 to 1, by which the processes of a service differ.
        """
        if fetch is not self._fetch:
            return
        keys, etag = publication.keys, publication.etag
        if keys is None:  # not modified, which is an answer only to somebody who holds something
            assert self._held is not None
            keys, etag = self._held.keys, etag or fetch.etag
        age = USUAL_AGE if publication.age is None else min(max(publication.age, SHORTEST_AGE), LONGEST_AGE)
        self._held = _Held(
            keys=keys,
            etag=etag,
            asked=asked,
            refresh_at=asked + age * (REFRESH_FROM + REFRESH_SPREAD * jitter),
            expires_at=asked + age,
            useless_at=asked + age + self._stale_limit,
        )
        self._fetch = None
        self._trouble = None
        self._excused_until = -math.inf

    def fail(self, fetch: Fetch, why: str, now: float) -> None:
        """Take note that a fetch brought nothing: what is held stays."""
        if fetch is not self._fetch:
            return
        self._fetch = None
        self._failures += 1
        self._trouble = why
        self._excused_until = now + max(EXCUSE, self._cooldown)

    def is_under_way(self, fetch: Fetch, now: float) -> bool:
        """Tell whether a fetch has not ended yet."""
        return self._under_way(now) is fetch

    def close(self) -> None:
        """Begin no fetch any more. What is held is still used, for as long as it may be."""
        self._closed = True

    def status(self, now: float) -> KeyStatus:
        """Return how it stands with the keys."""
        held = self._held
        return KeyStatus(
            usable=held is not None and now < held.useless_at,
            age=None if held is None else now - held.asked,
            fetches=self._fetches,
            failures=self._failures,
            trouble=self._trouble,
        )

    def _wait_or_refuse(self, fetch: Fetch | None, arrived: float, now: float) -> Wait | Refuse:
        if fetch is not None:
            return Wait(fetch, begin=False)
        in_vain = self._trouble is not None and self._last is not None and self._last.began >= arrived
        if not in_vain and self._may_fetch(now):
            return Wait(self._begin(now, in_background=False), begin=True)
        if self._closed:
            detail = "the verifier is closed"
        elif self._trouble is not None:
            detail = self._trouble
        else:
            detail = "the key is unknown, and the key set was fetched a moment ago"
        rest = 0.0 if self._last is None else self._cooldown - (now - self._last.began)
        return Refuse(detail, max(1, math.ceil(rest)))

    def _under_way(self, now: float) -> Fetch | None:
        fetch = self._fetch
        if fetch is not None and now >= fetch.began + self.lost_after:
            # Its thread or event loop is gone, as after a fork.
            self.fail(fetch, "whoever fetched it is gone", now)
            return None
        return fetch

    def _may_fetch(self, now: float) -> bool:
        rested = self._last is None or now - self._last.began >= self._cooldown
        return rested and self._fetch is None and not self._closed

    def _begin(self, now: float, *, in_background: bool) -> Fetch:
        fetch = Fetch(now, None if self._held is None else self._held.etag, in_background)
        self._fetch = self._last = fetch
        self._fetches += 1
        self._missing.clear()
        return fetch
