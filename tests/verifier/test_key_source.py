"""The two drivers of the key cache: who fetches, who waits, and what is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from datetime import timedelta

import pytest

from tests.settable_clock import SettableClock
from tests.system.server_process import wait_until
from tests.verifier.requests_to_judge import KEY
from tokenkeep.jose import KeySet
from tokenkeep.verifier import CannotTell, KeyFetching
from tokenkeep.verifier.jwks import KeySetUnavailable, Publication
from tokenkeep.verifier.key_source import AsyncKeySource, Keeping, KeySource

KEYS = KeySet([KEY.public()])
AGE = 300.0
PATIENCE = 10.0
"""Seconds after which a test has failed."""


class Issuer:
    """Answers threads when it is told to."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked = 0
        self.threads: list[str] = []
        self.error: BaseException | None = None

    def fetch(self, _: str | None) -> Publication:
        """Wait until it may answer."""
        self.asked += 1
        self.threads.append(threading.current_thread().name)
        assert self.may_answer.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return Publication(KEYS, None, AGE)


class AsyncIssuer:
    """Answers tasks when it is told to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = 0
        self.error: Exception | None = None

    async def fetch(self, _: str | None) -> Publication:
        """Wait until it may answer."""
        self.asked += 1
        async with asyncio.timeout(PATIENCE):
            await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return Publication(KEYS, None, AGE)


def keeping(clock: SettableClock, **fetching: timedelta) -> Keeping:
    """Return what both drivers share, without jitter."""
    return Keeping("https://auth.example", KeyFetching(**fetching), monotonic=clock.monotonic, jitter=lambda: 0.0)


class Threads:
    """Threads that ask for keys, each once."""

    def __init__(self, source: KeySource, clock: SettableClock, number: int) -> None:
        self.outcomes: list[KeySet | CannotTell] = []
        self._all = [threading.Thread(target=self._ask, args=(source, clock)) for _ in range(number)]
        for thread in self._all:
            thread.start()

    def _ask(self, source: KeySource, clock: SettableClock) -> None:
        try:
            self.outcomes.append(source.keys(clock.monotonic()))
        except CannotTell as refusal:
            self.outcomes.append(refusal)

    def join(self) -> list[KeySet | CannotTell]:
        """Wait for all."""
        for thread in self._all:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        return self.outcomes


def test_threads_wait_for_one_of_them(clock: SettableClock):
    """The first thread fetches by itself, the others wait, and all get the same keys."""
    issuer = Issuer()
    source = KeySource(keeping(clock), issuer.fetch)
    threads = Threads(source, clock, 20)
    wait_until(lambda: issuer.asked == 1, "somebody fetches")
    assert threads.outcomes == []
    issuer.may_answer.set()
    assert threads.join() == [KEYS] * 20
    assert issuer.asked == 1


@pytest.mark.parametrize("error", [KeySetUnavailable("down"), ZeroDivisionError("a defect")])
def test_threads_that_waited_in_vain_are_refused(clock: SettableClock, error: Exception):
    """If the fetch fails, for whatever reason, everybody who waited is refused, and nobody tries again at once."""
    issuer = Issuer()
    issuer.error = error
    source = KeySource(keeping(clock), issuer.fetch)
    threads = Threads(source, clock, 20)
    issuer.may_answer.set()
    refusals = threads.join()
    assert {type(refusal) for refusal in refusals} == {CannotTell}
    assert {str(refusal) for refusal in refusals} == {
        "down" if isinstance(error, KeySetUnavailable) else "ZeroDivisionError"
    }
    assert issuer.asked == 1


def test_interrupted_thread_leaves_nobody_waiting(clock: SettableClock):
    """A fetch that is ended by an interrupt has failed for those who wait, and the interrupt goes on."""
    issuer = Issuer()
    issuer.error = KeyboardInterrupt()
    issuer.may_answer.set()
    source = KeySource(keeping(clock), issuer.fetch)
    with pytest.raises(KeyboardInterrupt):
        source.keys(clock.monotonic())
    with pytest.raises(CannotTell):
        source.keys(clock.monotonic() + 0.001)


def test_threads_go_on_while_one_fetches_in_the_background(clock: SettableClock):
    """An early refresh has a thread of its own, which is gone when it is done; closing waits for it."""
    issuer = Issuer()
    issuer.may_answer.set()
    source = KeySource(keeping(clock), issuer.fetch)
    source.keys(clock.monotonic())
    issuer.may_answer.clear()
    clock.elapse(AGE - 1.0)
    assert Threads(source, clock, 20).join() == [KEYS] * 20
    wait_until(lambda: issuer.asked == 2, "somebody fetches")
    assert issuer.threads[1] == "tokenkeep keys"
    threading.Timer(0.05, issuer.may_answer.set).start()
    source.close()
    assert "tokenkeep keys" not in {thread.name for thread in threading.enumerate()}
    assert source.status().age == 0.0


def test_missing_thread_is_a_failed_fetch(clock: SettableClock, monkeypatch: pytest.MonkeyPatch):
    """If no thread can be had for the background, keys go on, and the next try comes after the cooldown."""
    issuer = Issuer()
    issuer.may_answer.set()
    source = KeySource(keeping(clock), issuer.fetch)
    source.keys(clock.monotonic())
    clock.elapse(AGE - 1.0)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert source.keys(clock.monotonic()) is KEYS
    assert source.status().failures == 1
    source.close()


async def test_tasks_wait_for_one_fetch(clock: SettableClock):
    """The first task has the keys fetched, the others wait, and all get the same keys."""
    issuer = AsyncIssuer()
    source = AsyncKeySource(keeping(clock), issuer.fetch)
    waiting = [asyncio.create_task(source.keys(clock.monotonic())) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert issuer.asked == 1
    issuer.may_answer.set()
    assert await asyncio.gather(*waiting) == [KEYS] * 100
    assert issuer.asked == 1


async def test_request_that_is_cancelled_does_not_end_the_fetch(clock: SettableClock):
    """A client that hangs up does not take the keys from those who wait for the same fetch."""
    issuer = AsyncIssuer()
    source = AsyncKeySource(keeping(clock), issuer.fetch)
    first, second = (asyncio.create_task(source.keys(clock.monotonic())) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    issuer.may_answer.set()
    assert await second is KEYS
    assert issuer.asked == 1


@pytest.mark.parametrize("error", [KeySetUnavailable("down"), ZeroDivisionError("a defect")])
async def test_tasks_that_waited_in_vain_are_refused(clock: SettableClock, error: Exception):
    """If the fetch fails, for whatever reason, everybody who waited is refused, and nobody tries again at once."""
    issuer = AsyncIssuer()
    issuer.error = error
    issuer.may_answer.set()
    source = AsyncKeySource(keeping(clock), issuer.fetch)
    outcomes = await asyncio.gather(*(source.keys(clock.monotonic()) for _ in range(20)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {CannotTell}
    assert issuer.asked == 1


async def test_closing_ends_the_fetch(clock: SettableClock):
    """No task is left behind, and whoever waits is refused."""
    issuer = AsyncIssuer()
    source = AsyncKeySource(keeping(clock), issuer.fetch)
    waiting = asyncio.create_task(source.keys(clock.monotonic()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    before = {task for task in asyncio.all_tasks() if task.get_name() == "tokenkeep keys"}
    assert len(before) == 1
    async with asyncio.timeout(PATIENCE / 2):
        await source.aclose()
    with pytest.raises(CannotTell, match="closed"):
        await waiting
    assert not {task for task in asyncio.all_tasks() if task.get_name() == "tokenkeep keys"}
    await source.aclose()


async def test_task_that_never_began_is_a_failed_fetch(clock: SettableClock):
    """A fetch that is cancelled before its first step holds nobody up."""
    issuer = AsyncIssuer()
    source = AsyncKeySource(keeping(clock), issuer.fetch)
    waiting = asyncio.create_task(source.keys(clock.monotonic()))
    while source._task is None:
        await asyncio.sleep(0)
        if source._task is not None:
            source._task.cancel()
    with pytest.raises(CannotTell, match="cancelled"):
        await waiting


async def test_fetch_knows_nothing_of_the_request(clock: SettableClock):
    """What a request keeps in its context does not live on in a fetch that it happened to begin."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    seen = []

    async def fetch(_: str | None) -> Publication:
        seen.append(variable.get())
        return Publication(KEYS, None, AGE)

    variable.set("a request")
    await AsyncKeySource(keeping(clock), fetch).keys(clock.monotonic())
    assert seen == ["none"]


def test_another_event_loop_does_not_hang(clock: SettableClock):
    """A fetch that another event loop left behind is refused there, given up after a while, and made anew."""
    issuers: list[AsyncIssuer] = []

    async def fetch(etag: str | None) -> Publication:
        return await issuers[-1].fetch(etag)

    source = AsyncKeySource(keeping(clock, timeout=timedelta(seconds=5)), fetch)
    left = asyncio.new_event_loop()

    async def leave() -> None:
        issuers.append(AsyncIssuer())
        source_task = asyncio.ensure_future(source.keys(clock.monotonic()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        source_task.cancel()

    left.run_until_complete(leave())

    async def ask() -> KeySet:
        issuers.append(AsyncIssuer())
        issuers[-1].may_answer.set()
        return await source.keys(clock.monotonic())

    with pytest.raises(CannotTell, match="another event loop"):
        asyncio.run(ask())
    clock.elapse(20.0)
    assert asyncio.run(ask()) is KEYS
    for task in asyncio.all_tasks(left):
        task.cancel()
    left.run_until_complete(asyncio.sleep(0))
    left.close()


def test_child_of_a_fork_is_not_held_up(clock: SettableClock):
    """A fetch whose thread is gone, as in the child of a fork, is made anew after a while."""
    issuer = Issuer()
    kept = keeping(clock, timeout=timedelta(seconds=5))
    kept.cache.keys_for(clock.monotonic(), clock.monotonic())  # somebody began, and is never heard of again
    issuer.may_answer.set()
    source = KeySource(kept, issuer.fetch)
    clock.elapse(20.0)
    assert source.keys(clock.monotonic()) is KEYS
