"""Shared work: done once for all who ask for it at the same time, and never older than the asking."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedWork(Generic[T]):
    """Each call returns what came of a run that began after the call.

    At most one run is under way, and at most one more is agreed upon, for all who came after it began. A caller that
    goes away leaves the run to the others.
    """

    __slots__ = ("_next", "_run", "_turn", "_under_way")

    def __init__(self, run: Callable[[], Awaitable[T]]) -> None:
        self._run = run
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None
        self._under_way: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Return what comes of it.

        Raises:
            Exception: whatever ended the run.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._take_turn())
            self._next.add_done_callback(look_at)
        return await asyncio.shield(self._next)

    async def _take_turn(self) -> T:
        async with self._turn:
            self._under_way, self._next = self._next, None
            return await self._run()


def look_at(done: asyncio.Task[T]) -> None:
    """Have an error that nobody waits for any more not be reported as one that was overlooked."""
    if not done.cancelled():
        done.exception()
