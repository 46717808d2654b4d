"""The hashing pool: equal work for everyone, off the event loop, and never more waiting than can be served."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tokenkeep.domain.errors import HashingBusy
from tokenkeep.passwords import Argon2Parameters, HashingPool
from tokenkeep.passwords.argon2id import Argon2id

PASSWORD = "correct-horse-battery"


@asynccontextmanager
async def opened(
    *, concurrency: int = 1, longest_wait: float = 5.0, prepared: bool = True
) -> AsyncIterator[HashingPool]:
    """Return a pool that is closed in the end."""
    pool = HashingPool(Argon2Parameters(), concurrency=concurrency, longest_wait=longest_wait)
    try:
        if prepared:
            await pool.prepare()
        yield pool
    finally:
        pool.close()


class Recorder:
    """Stands in front of the checking of hashes and remembers each call; may hold them until told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checked: list[str] = []
        self.threads: set[int] = set()
        self.most_at_once = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self._under_way = 0
        self._counting = threading.Lock()
        self._verify: Callable[[Argon2id, str, str], bool] = Argon2id.verify

        def verify(argon2id: Argon2id, stored: str, password: str) -> bool:
            return self._record(argon2id, stored, password)

        monkeypatch.setattr(Argon2id, "verify", verify)

    def _record(self, argon2id: Argon2id, stored: str, password: str) -> bool:
        with self._counting:
            self.checked.append(stored)
            self.threads.add(threading.get_ident())
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        self.go_on.wait(5)
        try:
            return self._verify(argon2id, stored, password)
        finally:
            with self._counting:
                self._under_way -= 1


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A recorder of all checks."""
    return Recorder(monkeypatch)


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_password_has_its_hash():
    """A hash that the pool made is right for its password only."""
    async with opened() as pool:
        stored = await pool.hash(PASSWORD)
        assert await pool.verify(stored, PASSWORD)
        assert not await pool.verify(stored, PASSWORD + "x")
        assert not pool.outdated(stored)


async def test_account_without_a_hash_costs_the_same(recorder: Recorder):
    """Without a stored hash exactly one check is done all the same, against a hash of the current cost."""
    async with opened() as pool:
        assert not await pool.verify(None, PASSWORD)
        assert len(recorder.checked) == 1
        assert "$argon2id$v=19$m=19456,t=2,p=1$" in recorder.checked[0]
        stored = await pool.hash(PASSWORD)
        assert await pool.verify(stored, PASSWORD)
        assert recorder.checked[1:] == [stored]


async def test_nobody_knows_the_password_of_the_decoy():
    """The hash that stands for no account is another one in each process, so that no password opens it."""
    async with opened() as one, opened() as other:
        assert one._decoy != other._decoy
        for guess in ("", "decoy", "password", PASSWORD):
            assert not await one.verify(None, guess)


async def test_absent_account_is_refused_even_with_the_decoys_password(monkeypatch: pytest.MonkeyPatch):
    """The answer for an absent account does not depend on what the check says."""
    monkeypatch.setattr(Argon2id, "verify", lambda *_: True)
    async with opened() as pool:
        assert not await pool.verify(None, PASSWORD)


async def test_hashing_leaves_the_event_loop_free(recorder: Recorder):
    """While a password is being checked the loop goes on, and the check is in another thread."""
    recorder.go_on.clear()
    async with opened() as pool:
        check = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: bool(recorder.checked))
        beats = 0
        for _ in range(1_000):
            await asyncio.sleep(0)
            beats += 1
        assert not check.done()
        recorder.go_on.set()
        await check
    assert beats == 1_000
    assert threading.get_ident() not in recorder.threads


async def test_loop_is_not_starved_by_real_hashing():
    """During real hashing the loop turns many times for each hash."""
    beats = 0
    done = False

    async def heart() -> None:
        nonlocal beats
        while not done:
            beats += 1
            await asyncio.sleep(0.001)

    async with opened() as pool:
        beating = asyncio.create_task(heart())
        for _ in range(4):
            await pool.verify(None, PASSWORD)
        done = True
        await beating
    assert beats > 8


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_no_more_are_hashed_at_once_than_allowed(recorder: Recorder, concurrency: int):
    """However many wait, only so many are under way: each takes 19 MiB."""
    async with opened(concurrency=concurrency, longest_wait=60.0) as pool:
        await asyncio.gather(*(pool.verify(None, PASSWORD) for _ in range(6)))
    assert len(recorder.checked) == 6
    assert 1 <= recorder.most_at_once <= concurrency


async def test_queue_that_is_too_long_refuses(recorder: Recorder):
    """What would have to wait too long is refused at once, before any hashing, and the others are served."""
    recorder.go_on.clear()
    async with opened(longest_wait=0.0) as pool:
        first = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: bool(recorder.checked))
        for work in (pool.verify(None, PASSWORD), pool.verify("stored", PASSWORD), pool.hash(PASSWORD)):
            with pytest.raises(HashingBusy):
                await work
        assert len(recorder.checked) == 1
        recorder.go_on.set()
        assert await first is False


async def test_pool_recovers_from_a_full_queue(recorder: Recorder):
    """Once the queue is short again the next one is served."""
    recorder.go_on.clear()
    async with opened(longest_wait=0.0) as pool:
        first = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: bool(recorder.checked))
        with pytest.raises(HashingBusy):
            await pool.verify(None, PASSWORD)
        recorder.go_on.set()
        await first
        assert await pool.verify(None, PASSWORD) is False


async def test_queue_length_follows_the_time_a_hash_takes():
    """With a wait of ten thousand hashes' time a dozen wait, with one of a hundredth of a hash's none does."""
    async with opened() as pool:
        took = pool._durations.mean(pool._cost)
    async with opened(longest_wait=10_000 * took) as patient:
        assert await asyncio.gather(*(patient.verify(None, PASSWORD) for _ in range(12))) == [False] * 12
    async with opened(longest_wait=took / 100) as impatient:
        answers = await asyncio.gather(*(impatient.verify(None, PASSWORD) for _ in range(12)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [bool] + [HashingBusy] * 11


async def test_cancelled_request_frees_its_place(recorder: Recorder):
    """A client that goes away while it waits does not take a place in the queue for ever."""
    recorder.go_on.clear()
    async with opened(longest_wait=0.0) as pool:
        first = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: bool(recorder.checked))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        recorder.go_on.set()
        assert await pool.verify(None, PASSWORD) is False


async def test_error_while_hashing_frees_its_place(monkeypatch: pytest.MonkeyPatch):
    """A hash that fails is not counted as waiting for ever."""
    async with opened(longest_wait=0.0) as pool:
        monkeypatch.setattr(Argon2id, "hash", lambda *_: 1 / 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await pool.hash(PASSWORD)
        assert await pool.verify(None, PASSWORD) is False
