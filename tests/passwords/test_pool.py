"""The hashing pool: equal work for everyone, off the event loop, and never more waiting than can be served."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import argon2
import pytest
from argon2.exceptions import HashingError, VerificationError

from tokenkeep.domain.errors import HashingBusy
from tokenkeep.domain.password_hashes import Argon2Cost, BcryptCost, HashCost
from tokenkeep.domain.password_strength import Strength
from tokenkeep.passwords import Argon2Parameters, HashingPool, bcrypt_hashes
from tokenkeep.passwords import pool as pool_module
from tokenkeep.passwords.argon2id import Argon2id
from tokenkeep.passwords.durations import LONGEST, Durations

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


async def test_refused_work_is_told_when_to_come_back(recorder: Recorder):
    """`Retry-After` is at least a second, and as long as the queue needs to become short enough."""
    recorder.go_on.clear()
    async with opened(longest_wait=0.0) as pool:
        for _ in range(60):
            pool._durations.note(pool._cost, 4.5)
        first = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: bool(recorder.checked))
        with pytest.raises(HashingBusy) as refusal:
            await pool.verify(None, PASSWORD)
        assert refusal.value.retry_after == 5
        recorder.go_on.set()
        await first
    assert HashingBusy().retry_after == 1


async def test_work_whose_turn_comes_too_late_is_not_done(recorder: Recorder):
    """What waited past the deadline, because the work before it took longer than expected, is refused, not done."""
    recorder.go_on.clear()
    async with opened(longest_wait=0.05) as pool:
        pool._durations = Durations()  # nothing is known yet, so that anyone is let in
        first = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: bool(recorder.checked))
        second = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: pool._pending == 2)
        await asyncio.sleep(0.06)
        recorder.go_on.set()
        assert await first is False
        with pytest.raises(HashingBusy):
            await second
        assert len(recorder.checked) == 1
        assert await pool.verify(None, PASSWORD) is False


async def test_longer_work_takes_more_room_in_the_queue(recorder: Recorder):
    """How long the queue is depends on what is in it: a bcrypt hash of two seconds is more than an Argon2id hash."""
    recorder.go_on.clear()
    async with opened(longest_wait=1.0) as pool:
        pool._durations.note(BcryptCost(14), 2.0)
        first = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: bool(recorder.checked))
        slow = asyncio.create_task(pool.verify(BCRYPT.replace("$04$", "$14$"), PASSWORD))
        await until(lambda: pool._pending == 2)
        with pytest.raises(HashingBusy):
            await pool.verify(None, PASSWORD)
        slow.cancel()
        recorder.go_on.set()
        await first
        assert await pool.verify(None, PASSWORD) is False


BCRYPT = bcrypt_hashes.make_hash(BcryptCost(4), PASSWORD)
BCRYPT_BEYOND = BCRYPT.replace("$04$", "$15$")
ARGON2_BEYOND = "$argon2id$v=19$m=262145,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$cqEcKKNc1Z4nkKzqjTtfw6V8xNXvSGUQ9Ggw7Wb0I0k"


async def test_bcrypt_hash_is_checked_and_outdated():
    """An imported hash lets its password in, and is known to need replacing."""
    async with opened() as pool:
        assert await pool.verify(BCRYPT, PASSWORD)
        assert not await pool.verify(BCRYPT, PASSWORD + "x")
        assert pool.outdated(BCRYPT)


@pytest.mark.parametrize(
    "stored",
    ["", "unreadable", BCRYPT_BEYOND, ARGON2_BEYOND, "$2b$31$" + BCRYPT[7:]],
    ids=["empty", "unreadable", "bcrypt beyond", "argon2 beyond", "bcrypt far beyond"],
)
async def test_unusable_hash_is_never_checked(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stored: str
):
    """A hash that is unreadable or costs too much counts as none: the decoy is checked, and it is logged once."""
    monkeypatch.setattr(bcrypt_hashes, "verify", lambda *_: pytest.fail("it was checked"))
    async with opened() as pool:
        for _ in range(3):
            assert not await pool.verify(stored, PASSWORD)
        assert recorder.checked == [pool._decoy] * 3
    assert [record.getMessage()[:45] for record in caplog.records] == ["at least one stored password hash cannot be r"]
    assert not stored or stored not in caplog.text


async def test_absent_hash_is_nothing_to_log(caplog: pytest.LogCaptureFixture):
    """Accounts without a password, and unknown names, are no trouble."""
    async with opened() as pool:
        await pool.verify(None, PASSWORD)
    assert caplog.records == []


@asynccontextmanager
async def opened_beside(cost: HashCost, seconds: float, **options: Any) -> AsyncIterator[HashingPool]:
    """Return a pool that knows that hashes of a cost are stored, and that they take so long."""
    async with opened(**options) as pool:
        pool._durations.note(cost, seconds)
        await pool.expect({cost, pool._cost})
        yield pool


async def test_refusal_takes_as_long_as_the_slowest_kind():
    """While a slower kind is stored, no refusal is answered before its time, whatever was checked."""
    async with opened_beside(BcryptCost(13), 0.3) as pool:
        own = await pool.hash(PASSWORD)
        for stored in (None, own, BCRYPT, "unreadable", BCRYPT_BEYOND):
            began = time.monotonic()
            assert not await pool.verify(stored, "wrong-horse-battery")
            assert time.monotonic() - began >= 0.3, stored


async def test_refusal_of_a_quicker_kind_takes_as_long_as_the_own_one():
    """Old hashes that are quicker than new ones are not known by the speed of their refusals either."""
    async with opened() as pool:
        for _ in range(60):
            pool._durations.note(pool._cost, 0.3)
        await pool.expect([BcryptCost(4)])
        began = time.monotonic()
        assert not await pool.verify(BCRYPT, "wrong-horse-battery")
        assert time.monotonic() - began >= 0.25


async def test_success_is_not_held_back():
    """Whoever knows the password waits for nothing."""
    async with opened_beside(BcryptCost(13), LONGEST) as pool:
        own = await pool.hash(PASSWORD)
        async with asyncio.timeout(5):
            assert await pool.verify(own, PASSWORD)
            assert await pool.verify(BCRYPT, PASSWORD)


async def test_waiting_takes_no_thread():
    """While refusals wait for their time, the only thread checks other passwords."""
    async with opened_beside(BcryptCost(13), LONGEST) as pool:
        refused = [asyncio.create_task(pool.verify(None, PASSWORD)) for _ in range(5)]
        own = await pool.hash(PASSWORD)
        async with asyncio.timeout(5):
            assert await pool.verify(own, PASSWORD)
        assert not any(task.done() for task in refused)
        assert pool._pending == 0
        for task in refused:
            task.cancel()
        await asyncio.gather(*refused, return_exceptions=True)


class Waits:
    """Stands for the waiting of refusals, and remembers until when."""

    def __init__(self) -> None:
        self.instants: list[float] = []

    async def __call__(self, instant: float) -> None:
        self.instants.append(instant)


async def test_nothing_is_held_back_while_all_hashes_are_alike(monkeypatch: pytest.MonkeyPatch):
    """With hashes of the current kind only, a refusal is answered when its work is done."""
    monkeypatch.setattr(pool_module, "_wait_until", record := Waits())
    async with opened() as pool:
        await pool.expect([pool._cost])
        await pool.verify(None, PASSWORD)
        await pool.verify(await pool.hash(PASSWORD), PASSWORD + "x")
        assert len(record.instants) == 2
        assert all(instant <= time.monotonic() for instant in record.instants)
        await pool.expect([pool._cost, BcryptCost(4)])
        assert pool._least_time() > 0.0
        await pool.expect([pool._cost])
        assert pool._least_time() == 0.0


async def test_time_counts_from_the_beginning_of_the_work(recorder: Recorder, monkeypatch: pytest.MonkeyPatch):
    """Time in the queue is nobody's secret and is not counted, or a full queue would show who has an old hash."""
    monkeypatch.setattr(pool_module, "_wait_until", record := Waits())
    recorder.go_on.clear()
    async with opened_beside(BcryptCost(13), 2.0, longest_wait=60.0) as pool:
        first = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: bool(recorder.checked))
        second = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: pool._pending == 2)
        queued_until = time.monotonic()
        recorder.go_on.set()
        await asyncio.gather(first, second)
    assert record.instants[1] >= queued_until + 2.0


async def test_time_of_the_work_is_part_of_it(recorder: Recorder, monkeypatch: pytest.MonkeyPatch):
    """What has passed while the password was checked is not waited for again."""
    monkeypatch.setattr(pool_module, "_wait_until", record := Waits())
    recorder.go_on.clear()
    async with opened_beside(BcryptCost(13), 2.0) as pool:
        check = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: bool(recorder.checked))
        begun_by = time.monotonic()
        await asyncio.sleep(0.01)
        recorder.go_on.set()
        await check
        assert record.instants[0] <= begun_by + pool._least_time()


COSTS = (BcryptCost(4), Argon2Cost(8, 1, 1), Argon2Cost(16, 1, 1), Argon2Cost(64, 1, 2))


async def test_kind_that_is_stored_is_measured_once():
    """A kind never met is measured by a hash that is made for it, and not again when it is told of again."""
    async with opened() as pool:
        await pool.expect(COSTS)
        # Among as many lanes the heaviest stands for the others.
        assert {cost for cost in COSTS if cost in pool._durations} == {*COSTS} - {Argon2Cost(8, 1, 1)}
        before = pool._durations.mean(BcryptCost(4))
        await pool.expect([BcryptCost(4)])
        assert pool._durations.mean(BcryptCost(4)) == before


async def test_kind_that_is_met_counts_before_it_is_told():
    """A hash of another kind that is checked counts at once, though nobody told that such are stored."""
    async with opened() as pool:
        assert pool._least_time() == 0.0
        assert await pool.verify(BCRYPT, PASSWORD)
        assert pool._least_time() > 0.0


async def test_kinds_that_cannot_be_measured_now_are_measured_later(recorder: Recorder):
    """In a full queue it is refused to measure; what is known counts, and the next time it is done."""
    recorder.go_on.clear()
    async with opened(longest_wait=0.0) as pool:
        first = asyncio.create_task(pool.verify(None, PASSWORD))
        await until(lambda: bool(recorder.checked))
        with pytest.raises(HashingBusy):
            await pool.expect([BcryptCost(4)])
        assert pool._least_time() > 0.0
        recorder.go_on.set()
        await first
        await pool.expect([BcryptCost(4)])
        assert BcryptCost(4) in pool._durations


async def test_strength_is_judged_off_the_loop(monkeypatch: pytest.MonkeyPatch):
    """A password is judged on a thread of the pool, under the same admission."""
    threads: list[str] = []

    def measure(_password: str, _context: Any) -> Strength:
        threads.append(threading.current_thread().name)
        return Strength(4)

    monkeypatch.setattr(pool_module.strength, "measure", measure)
    async with opened() as pool:
        assert await pool.judge(PASSWORD, ["ada"]) == Strength(4)
    assert threads[0].startswith("hashing")


class Starved(argon2.PasswordHasher):
    """Argon2 on a machine whose memory is used up."""

    def verify(self, *_: Any) -> Any:
        """Fail as the library does."""
        raise VerificationError("Memory allocation error")

    def hash(self, *_: Any, **__: Any) -> str:
        """Fail as the library does."""
        raise HashingError("Memory allocation error")


async def test_no_memory_for_a_hash_is_no_wrong_password():
    """Where there is no memory to check or make a hash, nothing is decided: it can be tried again."""
    async with opened() as pool:
        stored = await pool.hash(PASSWORD)
        pool._argon2id._hasher = Starved()
        with pytest.raises(HashingBusy):
            await pool.verify(stored, PASSWORD)
        with pytest.raises(HashingBusy):
            await pool.hash(PASSWORD)
