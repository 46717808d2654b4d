"""The rate limiter inside one process (port `RateLimiter`): bounded, and empty again after a restart."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from tokenkeep.domain.limits import FORGOTTEN_AFTER, Quota, delay_after
from tokenkeep.flows.ports import Clock

MOST_NAMES: Final = 100_000
"""Names whose attempts are remembered; beyond that, those tried longest ago are forgotten first."""


@dataclass(slots=True)
class _Attempts:
    count: int
    last: int


class MemoryLimiter:
    """Counts the attempts that this process sees. Nothing awaits between looking and counting, so counts are exact."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows = MovingWindowRateLimiter(MemoryStorage())
        self._attempts: dict[str, _Attempts] = {}

    async def spend(self, quota: Quota, key: str) -> int:
        """Count an attempt against a key's quota; 0 if there was room, else seconds until there is."""
        item = RateLimitItemPerSecond(quota.count, quota.window, namespace=quota.name)
        if await self._windows.hit(item, key):
            return 0
        stats = await self._windows.get_window_stats(item, key)
        return max(1, math.ceil(stats.reset_time - time.time()))

    async def begin(self, name: str) -> int:
        """Count an attempt that will probably fail; 0 if it may be made, else seconds until one may."""
        now = self._clock.now()
        attempts = self._attempts.pop(name, None)
        if attempts is None or now - attempts.last > FORGOTTEN_AFTER:
            attempts = _Attempts(0, now)
        wait = attempts.last + delay_after(attempts.count) - now
        if wait <= 0:
            attempts = _Attempts(attempts.count + 1, now)
        self._attempts[name] = attempts
        while len(self._attempts) > MOST_NAMES:
            del self._attempts[next(iter(self._attempts))]
        return max(0, math.ceil(wait / 1000))

    async def forgive(self, name: str) -> None:
        """Forget the attempts under a name, since one succeeded."""
        self._attempts.pop(name, None)
