"""The high-water mark in Redis: seen by every node, and lost without harm.

It expires long after the last process that served has ended; each renews it all the time.
"""

from __future__ import annotations

import re
from typing import Final

from tokenkeep.domain.history import Position
from tokenkeep.storage.redis import RedisLink, Script
from tokenkeep.storage.redis_outages import RedisAway

_KEPT_FOR: Final = 400 * 86_400_000
"""Milliseconds."""

_MARK: Final = re.compile(r"[0-9]{1,15} [A-Za-z0-9_-]{1,64}")
"""What a mark looks like; anything else is none."""

_READ: Final = Script(
    """
local kept = redis.pcall('GET', KEYS[1])
return type(kept) == 'string' and #kept < 100 and kept or ''
"""
)
_BEGIN: Final = Script("redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[1], 'PX', ARGV[3]) return ''")
_ADVANCE: Final = Script(
    """
local kept = redis.pcall('GET', KEYS[1])
local number, epoch = string.match(type(kept) == 'string' and kept or '', '^(%d+) ([%w_-]+)$')
if number and (#number > 15 or #epoch > 64) then number = nil end
if number and epoch ~= ARGV[1] then return epoch end
if number and tonumber(number) > tonumber(ARGV[2]) then return '' end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[1], 'PX', ARGV[3])
return ''
"""
)
"""Moves it on within an epoch, never back; tells of another epoch that is kept, and leaves it."""


class RedisMark:
    """Keeps the mark of one installation, as far as Redis is there."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._foreign = ""

    @property
    def place(self) -> str:
        """Where it is kept, for an operator."""
        return f"the key {self._link.name('mark')} in Redis"

    async def read(self) -> Position | None:
        """Return the mark; None if there is none, or Redis is away."""
        try:
            number, _, epoch = str(await self._link.run(_READ, self._link.name("mark")) or "").partition(" ")
        except RedisAway:
            return None
        # Whoever else writes there may have left anything.
        return Position(epoch, int(number)) if _MARK.fullmatch(f"{number} {epoch}") else None

    async def begin(self, position: Position) -> None:
        """Replace the mark, whatever it is."""
        await self._write(_BEGIN, position)
        self._foreign = ""

    async def advance(self, position: Position) -> None:
        """Move the mark on. That of another epoch is replaced only if it is still there at the next call.

        Redis may have come back with old data. But it may be newer than what the caller has seen: somebody has just
        recovered the database, and then there is no next call.
        """
        foreign = await self._write(_ADVANCE, position)
        if foreign and foreign == self._foreign:
            await self.begin(position)
        else:
            self._foreign = foreign

    async def _write(self, script: Script, position: Position) -> str:
        name = self._link.name("mark")
        try:
            return str(await self._link.run(script, name, position.epoch, position.number, _KEPT_FOR))
        except RedisAway:
            return ""
