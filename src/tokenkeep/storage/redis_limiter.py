"""The rate limiter that processes share (port `RateLimiter`): each step is one script, so that counts are exact.

It counts as `storage.memory` does. Every key expires when what it holds no longer matters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import count, takewhile
from typing import Final

from tokenkeep.domain.limits import FORGOTTEN_AFTER, LONGEST_DELAY, Quota, delay_after
from tokenkeep.storage.redis import RedisLink, Script

_NOW: Final = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local kept = redis.pcall('GET', KEYS[1])
if type(kept) ~= 'string' then kept = '' end
"""
"""The instant in microseconds, by the one clock that all processes share, and what is kept; of another type: nothing.

A clock that was set back must not make anybody wait longer than a right one could: what is ahead of it is moved back.
"""
_SPEND: Final = Script(
    _NOW
    + """
local window, share = tonumber(ARGV[2]), tonumber(ARGV[3])
local function keep(level)
  redis.call('SET', KEYS[1], string.format('%.0f', level), 'PX', math.ceil((level - now) / 1000))
end
local level = math.max(now, tonumber(kept) or now)
if level > now + window then
  level = now + window
  keep(level)
end
level = level + share
if level - now > window then return math.ceil((level - now - window) / 1000000) end
keep(level)
return 0
"""
)
_REFUND: Final = Script(
    _NOW
    + """
local level = (tonumber(kept) or 0) - tonumber(ARGV[2])
if level <= now then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], string.format('%.0f', level), 'PX', math.ceil((level - now) / 1000))
return 0
"""
)
_ATTEMPTS: Final = (
    _NOW
    + """
local attempts, last, before = string.match(kept, '^(%d+) (%d+) (%d+)$')
attempts, last, before = tonumber(attempts or 0), tonumber(last or now), tonumber(before or now)
local forgotten = tonumber(ARGV[2])
local function keep(number, at, earlier)
  local left = math.ceil((at + forgotten - now) / 1000) + 1
  if left <= 1 then return redis.call('DEL', KEYS[1]) end
  redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', number, at, earlier), 'PX', left)
  return 0
end
"""
)
_BEGIN: Final = Script(
    _ATTEMPTS
    + """
if now - last > forgotten then attempts, last = 0, now end
if last > now then
  last = now
  keep(attempts, now, now)
end
local delay = tonumber(ARGV[math.min(attempts + 3, #ARGV)])
local wait = last + delay - now
if wait > 0 then return math.ceil(wait / 1000000) end
keep(attempts + 1, now, last)
return 0
"""
)
_TAKE_BACK: Final = Script(
    _ATTEMPTS
    + """
if attempts == 0 then return 0 end
return keep(attempts - 1, before, before)
"""
)
_FORGET: Final = Script("return redis.call('DEL', KEYS[1])")

_MICROSECONDS: Final = 1_000_000
_FORGOTTEN: Final = FORGOTTEN_AFTER * 1000
_DELAYS: Final = (
    *(1000 * delay for delay in takewhile(lambda delay: delay < LONGEST_DELAY, map(delay_after, count()))),
    1000 * LONGEST_DELAY,
)
"""The microseconds that an attempt must rest after so many before it; after more of them, the last."""


class RedisLimiter:
    """Counts the attempts that all processes see. Raises `RedisAway` instead of an answer."""

    def __init__(self, link: RedisLink, *, key: bytes, instant: Callable[[], int] | None = None) -> None:
        """Count over `link`.

        Args:
            key: makes digests that nobody can reproduce who reads what is kept there.
            instant: microseconds on a clock for tests; by default the clock of Redis itself.
        """
        self._link = link
        self._key = key
        self._instant = instant

    async def spend(self, quota: Quota, key: str) -> int:
        """Count an attempt against a key's quota; 0 if there was room, else seconds until there is."""
        window = quota.window * _MICROSECONDS
        return await self._count(_SPEND, self._level(quota, key), window, window // quota.count, most=quota.window)

    async def refund(self, quota: Quota, key: str) -> None:
        """Uncount an attempt that was counted against a key's quota."""
        await self._count(_REFUND, self._level(quota, key), quota.window * _MICROSECONDS // quota.count, most=1)

    async def begin(self, name: str) -> int:
        """Count an attempt that will probably fail; 0 if it may be made, else seconds until one may."""
        return await self._count(_BEGIN, self._attempts(name), _FORGOTTEN, *_DELAYS, most=LONGEST_DELAY // 1000)

    async def forgive(self, name: str) -> None:
        """Forget the attempts under a name, since one succeeded."""
        await self._link.count(_FORGET, self._attempts(name), most=1)

    async def take_back(self, name: str) -> None:
        """Uncount the attempt that was begun last under a name, since it was not made."""
        await self._count(_TAKE_BACK, self._attempts(name), _FORGOTTEN, most=1)

    async def _count(self, script: Script, key: str, *values: int, most: int) -> int:
        now = self._instant() if self._instant is not None else ""
        return await self._link.count(script, key, now, *values, most=most)

    def _level(self, quota: Quota, key: str) -> str:
        return self._link.name("level", quota.name, self._digest(key))

    def _attempts(self, name: str) -> str:
        return self._link.name("attempts", self._digest(name))

    def _digest(self, name: str) -> str:
        """Return what stands for a key or name, always of one size: names of strangers are as long as they like."""
        return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16, key=self._key).hexdigest()
