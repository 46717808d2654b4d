"""What runs by itself while the server is open: one table of name, interval and flow."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """Something done again and again; `interval` is the pause between two runs in seconds."""

    name: str
    interval: float
    run: Callable[[], Awaitable[object]]


class Background:
    """Runs chores, each in a task of its own; one that fails is logged and tried again at its next turn."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = tuple(chores)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; each chore waits its interval before its first run."""
        self._tasks = [asyncio.create_task(_repeat(chore), name=chore.name) for chore in self._chores]

    async def stop(self) -> None:
        """Cancel all chores and wait until none is running."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []


async def _repeat(chore: Chore) -> None:
    failing = False
    while True:
        await asyncio.sleep(chore.interval)
        try:
            await chore.run()
        except Exception as error:  # noqa: BLE001  (a chore that fails once must not end for good)
            if not failing:
                _log.error("%s failed: %s", chore.name, error)
            failing = True
        else:
            if failing:
                _log.info("%s works again", chore.name)
            failing = False
