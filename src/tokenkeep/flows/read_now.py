"""Have the other processes read revocations as soon as one is durable here, and read when they say so.

Only a hint: each process reads on its own schedule as well, so that a call that is lost costs a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from tokenkeep.flows.bell import Bell
from tokenkeep.flows.ports import Messenger

CALL_PAUSE: Final = 0.02
"""Seconds between two calls: what is revoked meanwhile is covered by the next one."""
SHORTEST_PAUSE: Final = 0.1
"""Seconds before listening again, after the first connection that was lost."""
LONGEST_PAUSE: Final = 5.0
"""The same, when none could be had for a while."""


class ReadNow:
    """Calls when its bell is rung, and rings for reading when it is called."""

    def __init__(self, messenger: Messenger, read: Callable[[], None]) -> None:
        """Take the messenger, and what to do when another process has called."""
        self._messenger = messenger
        self._read = read
        self._listening: asyncio.Task[None] | None = None
        self.bell: Final = Bell()
        """Rung once a revocation is durable. Whoever rings does not wait."""

    async def call(self) -> None:
        """Call the others."""
        await self._messenger.call()
        await asyncio.sleep(CALL_PAUSE)

    def start(self) -> None:
        """Begin to listen."""
        self._listening = asyncio.create_task(self._listen(), name="listening to the other processes")

    async def stop(self) -> None:
        """Listen no longer."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
            self._listening = None

    async def _listen(self) -> None:
        pause = SHORTEST_PAUSE
        while True:
            connected = await self._messenger.listen(self._read)
            pause = SHORTEST_PAUSE if connected else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)
