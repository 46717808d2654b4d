"""News: wakes everybody who waits for it, at once."""

from __future__ import annotations

import asyncio


class News:
    """Told once, heard by all who wait at that moment; whoever begins to wait later waits for the next one."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Wake all who wait. From the thread of the event loop only."""
        told, self._event = self._event, asyncio.Event()
        told.set()

    async def heard_within(self, seconds: float) -> bool:
        """Wait for news at most so long; tells whether there was any."""
        event = self._event
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True
