"""A bell: calls for a chore before its turn."""

from __future__ import annotations

import asyncio


class Bell:
    """Rung by whoever knows that there is something to do; a chore that rests until its next turn hears it.

    Rings add up to one: what was rung for before the chore began is covered by its run.
    """

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Call. From the thread of the event loop only."""
        self._rung.set()

    async def heard_within(self, seconds: float) -> bool:
        """Wait for a ring at most so long; tells whether there was one, and is silent again."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True
