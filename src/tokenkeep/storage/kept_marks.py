"""The high-water mark in all its places (port `HighWaterMark`): the data directory, and Redis where one is used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tokenkeep.domain.history import MarkUnavailable, Position
from tokenkeep.storage.high_water_mark import FileMark, MemoryMark

if TYPE_CHECKING:
    from tokenkeep.storage.redis_shared import RedisShared

OWN = "the data directory"
"""What the place of this node's own mark is called."""


class KeptMarks:
    """A mark of this node, and one that all nodes share, which is made anew whenever Redis has lost it."""

    def __init__(self, own: FileMark | MemoryMark, shared: RedisShared | None) -> None:
        self._own = own
        self._shared = shared
        self._written: Position | None = None

    async def require(self) -> None:
        """Return if every place can be written.

        Raises:
            MarkUnavailable: one cannot, and why.
        """
        if self._shared is not None and (away := await self._shared.link.ask()) is not None:
            raise MarkUnavailable(f"{away}; the high-water mark there must be replaced, or redis_url be left out")

    async def read(self) -> dict[str, Position]:
        """Return the marks by their places.

        Raises:
            MarkUnavailable: the one of this node cannot be read.
        """
        marks = {OWN: await asyncio.to_thread(self._own.read)}
        if self._shared is not None:
            await self._shared.link.ask()
            marks[self._shared.mark.place] = await self._shared.mark.read()
        return {place: mark for place, mark in marks.items() if mark is not None}

    async def promise(self, position: Position) -> None:
        """Replace this node's own mark, before a history begins.

        Raises:
            MarkUnavailable: it cannot be written.
        """
        await self._write_own(position)

    async def begin(self, position: Position) -> None:
        """Replace the marks, whatever they are.

        Raises:
            MarkUnavailable: the one of this node cannot be written.
        """
        await self._write_own(position)
        if self._shared is not None:
            await self._shared.mark.begin(position)

    async def advance(self, position: Position) -> None:
        """Move the marks on; within an epoch they never move back, whoever else writes them.

        Raises:
            MarkUnavailable: the one of this node cannot be written.
        """
        await self._write_own(position)
        if self._shared is not None:
            # Each time, since it may have been lost meanwhile.
            await self._shared.mark.advance(position)

    async def _write_own(self, position: Position) -> None:
        if position != self._written:
            await asyncio.to_thread(self._own.write, position)
            self._written = position
