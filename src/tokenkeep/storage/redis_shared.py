"""What server processes share through one Redis: counts of attempts, calls to read now, the high-water mark."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final, Self

from tokenkeep.domain.server_processes import UNKNOWN_REDIS
from tokenkeep.flows.ports import RateLimiter
from tokenkeep.storage.fallback_limiter import FallbackLimiter
from tokenkeep.storage.redis import RedisLink, Script
from tokenkeep.storage.redis_address import RedisAddress
from tokenkeep.storage.redis_limiter import RedisLimiter
from tokenkeep.storage.redis_mark import RedisMark
from tokenkeep.storage.redis_messenger import RedisMessenger
from tokenkeep.storage.redis_outages import RedisAway

_IDENTITY: Final = Script(
    """
local kept = redis.pcall('GET', KEYS[1])
if type(kept) ~= 'string' or #kept > 64 or not string.match(kept, '^[%w_-]+$') then kept = ARGV[1] end
redis.call('SET', KEYS[1], kept, 'PX', ARGV[2])
return kept
"""
)
"""What is not of its making is replaced: it would be written into the database as it is."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a name looks like; whatever else answers in the place of a Redis has none."""
_A_DAY: Final = 86_400_000
_CONSEQUENCE: Final = "until it works again, each process limits attempts by itself and reads revocations on schedule"


@dataclass(frozen=True, slots=True)
class RedisShared:
    """Everything on one link."""

    link: RedisLink
    limiter: RateLimiter
    messenger: RedisMessenger
    mark: RedisMark

    async def identity(self) -> str:
        """Return what names the place that is shared: the same for all who use it, another after a flush."""
        try:
            named = await self.link.run(_IDENTITY, self.link.name("identity"), secrets.token_urlsafe(9), _A_DAY)
        except RedisAway:
            return UNKNOWN_REDIS
        return named if isinstance(named, str) and _NAME.fullmatch(named) else UNKNOWN_REDIS

    @classmethod
    def over(cls, link: RedisLink, *, key: bytes, own: RateLimiter) -> Self:
        """Return what is shared over a link.

        Args:
            key: makes the digests under which attempts are counted.
            own: counts while Redis is away.
        """
        limiter = FallbackLimiter(RedisLimiter(link, key=key), own)
        return cls(link, limiter, RedisMessenger(link), RedisMark(link))


def link_to(address: RedisAddress, *, prefix: str, issuer: str) -> RedisLink:
    """Return the link of an installation to its Redis, not yet connected.

    A digest of the issuer follows the prefix in all names, so that two installations may use one Redis.

    Raises:
        AddressError: a file that the address names cannot be used.
    """
    digest = hashlib.sha256(issuer.encode()).hexdigest()[:12]
    return RedisLink(address, prefix=f"{prefix}{digest}:", consequence=_CONSEQUENCE)
