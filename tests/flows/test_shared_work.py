"""Shared work: one run for all who ask at the same time, and none that began before the asking."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tokenkeep.flows.shared_work import SharedWork


class Runs:
    """Work whose runs end when the test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.endings: list[asyncio.Future[int]] = []
        self.shared = SharedWork(self._run)

    async def _run(self) -> int:
        self.begun += 1
        self.endings.append(asyncio.get_running_loop().create_future())
        return await self.endings[-1]

    def ask(self) -> asyncio.Task[int]:
        """Ask for the work."""
        return asyncio.create_task(self.shared())


async def settle() -> None:
    """Let everything come as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_all_who_ask_before_a_run_share_it():
    """A hundred at once cost one run."""
    runs = Runs()
    asked = [runs.ask() for _ in range(100)]
    await settle()
    assert runs.begun == 1
    runs.endings[0].set_result(7)
    assert await asyncio.gather(*asked) == [7] * 100


async def test_who_comes_later_gets_a_run_of_its_own():
    """Whoever asks while a run is under way waits for the next one, however many they are; no two run at once."""
    runs = Runs()
    first = runs.ask()
    await settle()
    later = [runs.ask() for _ in range(100)]
    await settle()
    assert runs.begun == 1
    runs.endings[0].set_result(1)
    assert await first == 1
    await settle()
    assert runs.begun == 2
    runs.endings[1].set_result(2)
    assert await asyncio.gather(*later) == [2] * 100


async def test_one_who_leaves_ends_nothing():
    """A caller that is cancelled leaves the run to the others."""
    runs = Runs()
    leaving, staying = runs.ask(), runs.ask()
    await settle()
    leaving.cancel()
    await settle()
    runs.endings[0].set_result(1)
    assert await staying == 1
    assert leaving.cancelled()


async def test_an_error_reaches_all_and_the_next_run_begins_anew():
    """What ends a run is raised to each who shared it, and to nobody after them."""
    runs = Runs()
    asked = [runs.ask() for _ in range(3)]
    await settle()
    runs.endings[0].set_exception(OSError("lost"))
    assert [str(error) for error in await asyncio.gather(*asked, return_exceptions=True)] == ["lost"] * 3
    again = runs.ask()
    await settle()
    runs.endings[1].set_result(2)
    assert await again == 2


async def test_an_error_that_nobody_waits_for_is_no_alarm(caplog: pytest.LogCaptureFixture):
    """When all have gone, the error of the run they left is not reported as overlooked."""
    runs = Runs()
    leaving = runs.ask()
    await settle()
    leaving.cancel()
    await settle()
    runs.endings[0].set_exception(OSError("lost"))
    runs.endings.clear()
    await settle()
    gc.collect()
    assert not caplog.records
