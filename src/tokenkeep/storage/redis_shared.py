"""What server processes share through one Redis or Valkey: counts of attempts, and calls to read now."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final, Self

from tokenkeep.domain.server_processes import UNKNOWN_REDIS
from tokenkeep.flows.ports import RateLimiter
from tokenkeep.storage.fallback_limiter import FallbackLimiter
from tokenkeep.storage.redis import RedisAway, RedisLink, Script
from tokenkeep.storage.redis_address import RedisAddress
from tokenkeep.storage.redis_limiter import RedisLimiter
from tokenkeep.storage.redis_messenger import RedisMessenger

_IDENTITY: Final = Script(
    """
local kept = redis.call('GET', KEYS[1]) or ARGV[1]
redis.call('SET', KEYS[1], kept, 'PX', ARGV[2])
return kept
"""
)
_A_DAY: Final = 86_400_000
_CONSEQUENCE: Final = "until it works again, each process limits attempts by itself and reads revocations on schedule"


@dataclass(frozen=True, slots=True)
class RedisShared:
    """Everything on one link."""

    link: RedisLink
    limiter: RateLimiter
    messenger: RedisMessenger

    async def identity(self) -> str:
        """Return what names the place that is shared: the same for all who use it, another after a flush."""
        try:
            return str(await self.link.run(_IDENTITY, self.link.name("identity"), secrets.token_urlsafe(9), _A_DAY))
        except RedisAway:
            return UNKNOWN_REDIS

    @classmethod
    def over(cls, address: RedisAddress, *, prefix: str, key: bytes, own: RateLimiter) -> Self:
        """Return what is shared over a Redis that is not connected yet.

        Args:
            prefix: what the names of an installation begin with.
            key: makes the digests under which attempts are counted.
            own: counts while Redis is away.

        Raises:
            RedisAddressError: a file that the address names cannot be used.
        """
        link = RedisLink(address, prefix=prefix, consequence=_CONSEQUENCE)
        return cls(link, FallbackLimiter(RedisLimiter(link, key=key), own), RedisMessenger(link))


def installation_prefix(prefix: str, issuer: str) -> str:
    """Return what the names of one installation begin with, so that two of them may use one Redis."""
    return f"{prefix}{hashlib.sha256(issuer.encode()).hexdigest()[:12]}:"
