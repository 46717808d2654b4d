"""What stands before a real server of a test, and serves in a thread of its own, so that the test may block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar


class Front(Protocol):
    """Something that listens."""

    async def serve(self, ready: threading.Event, ending: asyncio.Event) -> None:
        """Listen until the end; say when it has begun."""


F = TypeVar("F", bound=Front)


@contextmanager
def serving(front: F) -> Iterator[F]:
    """Have a front serve for a while."""
    ready, ending = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await front.serve(ready, ending)

    thread = threading.Thread(target=asyncio.run, args=(main(),), name=type(front).__name__)
    thread.start()
    assert ready.wait(10)
    try:
        yield front
    finally:
        loops[0].call_soon_threadsafe(ending.set)
        thread.join(10)
        assert not thread.is_alive()


async def pass_both_ways(*ways: Coroutine[Any, Any, None]) -> None:
    """Pass on what comes, each way by itself, until one of them has ended."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
