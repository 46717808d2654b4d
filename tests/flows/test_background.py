"""What runs by itself: one chore that fails stops neither the others nor itself, and all end when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tokenkeep.flows.background import Background, Chore
from tokenkeep.flows.bell import Bell


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_chore_is_done_again_and_again():
    """A chore runs at every turn until the background is stopped, and never after."""
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)

    background = Background([Chore("counting", 0.0, run)])
    background.start()
    await until(lambda: len(runs) > 3)
    await background.stop()
    done = len(runs)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(runs) == done


async def test_failing_chore_is_tried_again(caplog: pytest.LogCaptureFixture):
    """A failure is logged once, the chore goes on, and its recovery is logged."""
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)
        if len(runs) <= 3:
            raise OSError("the disk is full")

    background = Background([Chore("writing", 0.0, run)])
    with caplog.at_level("INFO"):
        background.start()
        await until(lambda: len(runs) > 6)
        await background.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "writing failed: the disk is full",
        "writing works again",
    ]


async def test_failing_chore_leaves_the_others_alone():
    """Each chore has a task of its own."""
    runs: list[int] = []

    async def fail() -> None:
        raise RuntimeError("always")

    async def run() -> None:
        runs.append(1)

    background = Background([Chore("failing", 0.0, fail), Chore("counting", 0.0, run)])
    background.start()
    await until(lambda: len(runs) > 3)
    await background.stop()


async def test_chore_that_waits_is_cancelled():
    """Stopping does not wait for the end of a chore."""
    started = asyncio.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    background = Background([Chore("waiting", 0.0, wait)])
    background.start()
    await started.wait()
    async with asyncio.timeout(10):
        await background.stop()
        await background.stop()


async def test_a_bell_calls_a_chore_before_its_turn():
    """A chore that rests for an hour runs as soon as its bell rings, once for all rings of one rest."""
    runs: list[int] = []
    bell = Bell()

    async def run() -> None:
        runs.append(1)

    background = Background([Chore("reading", 3600.0, run, bell)])
    background.start()
    bell.ring()
    bell.ring()
    await until(lambda: len(runs) == 1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(runs) == 1
    bell.ring()
    await until(lambda: len(runs) == 2)
    await background.stop()
    assert len(runs) == 2
