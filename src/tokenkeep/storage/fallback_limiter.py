"""The rate limiter that never fails (port `RateLimiter`): shared counts, or while Redis is away the process's own."""

from __future__ import annotations

from tokenkeep.domain.limits import Quota
from tokenkeep.flows.ports import RateLimiter
from tokenkeep.storage.redis_outages import RedisAway


class FallbackLimiter:
    """Asks the shared limiter; while that is away, the one of this process. Never neither."""

    def __init__(self, shared: RateLimiter, own: RateLimiter) -> None:
        self._shared = shared
        self._own = own

    async def spend(self, quota: Quota, key: str) -> int:
        """Count an attempt against a key's quota; 0 if there was room, else seconds until there is."""
        try:
            return await self._shared.spend(quota, key)
        except RedisAway:
            return await self._own.spend(quota, key)

    async def refund(self, quota: Quota, key: str) -> None:
        """Uncount an attempt that was counted against a key's quota."""
        try:
            await self._shared.refund(quota, key)
        except RedisAway:
            await self._own.refund(quota, key)

    async def begin(self, name: str) -> int:
        """Count an attempt that will probably fail; 0 if it may be made, else seconds until one may."""
        try:
            return await self._shared.begin(name)
        except RedisAway:
            return await self._own.begin(name)

    async def forgive(self, name: str) -> None:
        """Forget the attempts under a name, since one succeeded: wherever they were counted."""
        await self._own.forgive(name)
        try:
            await self._shared.forgive(name)
        except RedisAway:
            return

    async def take_back(self, name: str) -> None:
        """Uncount the attempt that was begun last under a name, since it was not made."""
        try:
            await self._shared.take_back(name)
        except RedisAway:
            await self._own.take_back(name)
