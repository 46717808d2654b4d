"""What runs by itself: one chore that fails stops neither the others nor itself, and all end when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tokenkeep.flows import background
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

    running = Background([Chore("counting", 0.0, run)])
    running.start()
    await until(lambda: len(runs) > 3)
    await running.stop()
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

    running = Background([Chore("writing", 0.0, run)])
    with caplog.at_level("INFO"):
        running.start()
        await until(lambda: len(runs) > 6)
        await running.stop()
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

    running = Background([Chore("failing", 0.0, fail), Chore("counting", 0.0, run)])
    running.start()
    await until(lambda: len(runs) > 3)
    await running.stop()


async def test_chore_that_waits_is_cancelled(monkeypatch: pytest.MonkeyPatch):
    """Stopping waits for the end of a chore, but not for long."""
    assert background.LONGEST_END == 5.0
    monkeypatch.setattr(background, "LONGEST_END", 0.05)
    started = asyncio.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    waiting = Background([Chore("waiting", 0.0, wait)])
    waiting.start()
    await started.wait()
    async with asyncio.timeout(10):
        await waiting.stop()
        await waiting.stop()


async def test_a_bell_calls_a_chore_before_its_turn():
    """A chore that rests for an hour runs as soon as its bell rings, once for all rings of one rest."""
    runs: list[int] = []
    bell = Bell()

    async def run() -> None:
        runs.append(1)

    running = Background([Chore("reading", 3600.0, run, bell)])
    running.start()
    bell.ring()
    bell.ring()
    await until(lambda: len(runs) == 1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(runs) == 1
    bell.ring()
    await until(lambda: len(runs) == 2)
    await running.stop()
    assert len(runs) == 2
