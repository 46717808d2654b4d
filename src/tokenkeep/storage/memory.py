"""The rate limiter inside one process (port `RateLimiter`): bounded, and empty again after a restart."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final, TypeVar

from tokenkeep.domain.limits import FORGOTTEN_AFTER, Quota, delay_after
from tokenkeep.flows.ports import Clock

MOST_KEYS: Final = 100_000
"""Addresses, and names, that are remembered; beyond that, those tried longest ago are forgotten first."""

_MICROSECONDS: Final = 1_000_000

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Attempts:
    """Attempts in a row: how many, when the last one was, and when the one before it."""

    count: int
    last: int
    before: int


class MemoryLimiter:
    """Counts the attempts that this process sees. Nothing awaits between looking and counting, so counts are exact."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_until: dict[tuple[str, bytes], int] = {}
        self._attempts: dict[bytes, _Attempts] = {}

    async def spend(self, quota: Quota, key: str) -> int:
        """Count an attempt against a key's quota; 0 if there was room, else seconds until there is.

        One number a key: when its attempts so far will have drained away, at the quota's rate (the leaky bucket known
        as the generic cell rate algorithm).
        """
        now = round(self._clock.monotonic() * _MICROSECONDS)
        kept = quota.name, _digest(key)
        level = max(now, self._full_until.get(kept, now)) + _share(quota)
        excess = level - now - quota.window * _MICROSECONDS
        if excess > 0:
            return math.ceil(excess / _MICROSECONDS)
        _remember(self._full_until, kept, level)
        return 0

    async def refund(self, quota: Quota, key: str) -> None:
        """Uncount an attempt that was counted against a key's quota."""
        kept = quota.name, _digest(key)
        level = self._full_until.get(kept)
        if level is not None:
            self._full_until[kept] = level - _share(quota)

    async def begin(self, name: str) -> int:
        """Count an attempt that will probably fail; 0 if it may be made, else seconds until one may."""
        now = int(self._clock.monotonic() * 1000)
        key = _digest(name)
        attempts = self._attempts.get(key)
        if attempts is None or now - attempts.last > FORGOTTEN_AFTER:
            attempts = _Attempts(0, now, now)
        wait = attempts.last + delay_after(attempts.count) - now
        if wait > 0:
            return math.ceil(wait / 1000)
        _remember(self._attempts, key, _Attempts(attempts.count + 1, now, attempts.last))
        return 0

    async def forgive(self, name: str) -> None:
        """Forget the attempts under a name, since one succeeded."""
        self._attempts.pop(_digest(name), None)

    async def take_back(self, name: str) -> None:
        """Uncount the attempt that was begun last under a name, since it was not made."""
        key = _digest(name)
        attempts = self._attempts.get(key)
        if attempts is not None and attempts.count > 0:
            self._attempts[key] = _Attempts(attempts.count - 1, attempts.before, attempts.before)


def _share(quota: Quota) -> int:
    """Return the microseconds in which one attempt drains away: whole ones, so that rounding takes nobody's room."""
    return quota.window * _MICROSECONDS // quota.count


def _digest(name: str) -> bytes:
    """Return what stands for a key or name, always of one size: names of strangers are as long as they like."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _remember(counts: dict[K, V], key: K, value: V) -> None:
    """Put a key last, and forget the ones longest ago when there are too many."""
    counts.pop(key, None)
    counts[key] = value
    while len(counts) > MOST_KEYS:
        del counts[next(iter(counts))]
