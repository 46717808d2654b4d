"""The contract of rate limiters (port `RateLimiter`): counts are exact, drain away, and go by their keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.redis_server import PROGRAMS, RedisServer
from tests.settable_clock import SettableClock
from tokenkeep.domain.limits import FREE_FAILURES, Quota
from tokenkeep.flows.ports import RateLimiter
from tokenkeep.storage import memory
from tokenkeep.storage.memory import MemoryLimiter
from tokenkeep.storage.redis import RedisLink
from tokenkeep.storage.redis_limiter import RedisLimiter

QUOTA = Quota("few", 3, 60)
OTHER = Quota("other", 3, 60)
ODD_KEYS = ["", "\0", "a" * 100_000, "\ud800", "Ada\0192.0.2.1"]
pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture(params=["memory", *(pytest.param(each, marks=pytest.mark.xdist_group("redis")) for each in PROGRAMS)])
async def limiter(request: pytest.FixtureRequest, clock: SettableClock) -> AsyncIterator[RateLimiter]:
    """Each implementation in turn, with nothing counted yet."""
    if request.param == "memory":
        yield MemoryLimiter(clock)
        return
    with RedisServer.shared(request.param) as redis:
        link = RedisLink(redis.address, prefix=redis.new_prefix(), consequence="")
        yield RedisLimiter(link, key=b"key", instant=lambda: round(clock.monotonic() * 1_000_000))
        await link.close()


async def test_a_quota_has_room_for_so_many_and_says_when_for_one_more(limiter: RateLimiter, clock: SettableClock):
    """So many attempts at once are let in; the next is told after how many seconds it will be, and then is."""
    assert [await limiter.spend(QUOTA, "key") for _ in range(5)] == [0, 0, 0, 20, 20]
    clock.elapse(19.5)
    assert await limiter.spend(QUOTA, "key") == 1
    clock.elapse(0.5)
    assert [await limiter.spend(QUOTA, "key") for _ in range(2)] == [0, 20]
    clock.elapse(60)
    assert [await limiter.spend(QUOTA, "key") for _ in range(4)] == [0, 0, 0, 20]


async def test_refused_attempts_are_not_counted(limiter: RateLimiter, clock: SettableClock):
    """Whoever keeps trying while there is no room is let in no later for it."""
    for _ in range(100):
        await limiter.spend(QUOTA, "key")
    clock.elapse(20)
    assert await limiter.spend(QUOTA, "key") == 0


async def test_keys_and_quotas_are_counted_apart(limiter: RateLimiter):
    """A full key takes nothing from another key, nor from the same key's other quota."""
    for _ in range(4):
        await limiter.spend(QUOTA, "key")
    assert await limiter.spend(QUOTA, "another") == 0
    assert await limiter.spend(OTHER, "key") == 0
    assert await limiter.spend(QUOTA, "key") > 0


async def test_attempts_at_once_are_counted_one_by_one(limiter: RateLimiter):
    """Of many parallel attempts exactly as many are let in as there is room for."""
    waits = await asyncio.gather(*(limiter.spend(QUOTA, "key") for _ in range(50)))
    assert waits.count(0) == QUOTA.count
    begun = await asyncio.gather(*(limiter.begin("Ada") for _ in range(50)))
    assert begun.count(0) == FREE_FAILURES + 1


async def test_attempts_on_a_name_must_rest_longer_and_longer(limiter: RateLimiter, clock: SettableClock):
    """After the free ones each attempt is let in only when the last has rested 1, 2, 4 … and at most 300 seconds."""
    for _ in range(FREE_FAILURES + 1):
        assert await limiter.begin("Ada") == 0
    waits = []
    for _ in range(12):
        wait = await limiter.begin("Ada")
        waits.append(wait)
        clock.elapse(wait - 0.001)
        assert await limiter.begin("Ada") == 1
        clock.elapse(0.001)
        assert await limiter.begin("Ada") == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


async def test_a_name_is_forgiven_after_a_success_and_forgotten_after_an_hour(
    limiter: RateLimiter, clock: SettableClock
):
    """A success, or an hour of rest, gives the free attempts back; other names keep their counts."""
    for name in ("Ada", "Bob"):
        for _ in range(FREE_FAILURES + 1):
            await limiter.begin(name)
    await limiter.forgive("Ada")
    assert [await limiter.begin("Ada") for _ in range(FREE_FAILURES + 1)] == [0] * (FREE_FAILURES + 1)
    assert await limiter.begin("Bob") == 1
    clock.elapse(3_600.001)
    assert [await limiter.begin("Bob") for _ in range(FREE_FAILURES + 2)] == [0] * (FREE_FAILURES + 1) + [1]
    await limiter.forgive("Nobody")


@pytest.mark.parametrize("key", ODD_KEYS, ids=["empty", "NUL", "long", "surrogate", "joined"])
async def test_a_key_may_be_any_text(limiter: RateLimiter, key: str):
    """Keys come from strangers: none is an error, and each has a count of its own."""
    assert [await limiter.spend(QUOTA, key) for _ in range(4)] == [0, 0, 0, 20]
    assert await limiter.spend(QUOTA, key + "x") == 0
    assert await limiter.begin(key) == 0


async def test_a_quota_that_does_not_divide_its_window_has_all_its_room(limiter: RateLimiter):
    """Rounding takes nobody's attempt: of seven a minute, seven are let in at once, and the eighth after nine."""
    quota = Quota("odd", 7, 60)
    assert [await limiter.spend(quota, "key") for _ in range(8)] == [0] * 7 + [9]


async def test_a_refund_gives_room_for_one(limiter: RateLimiter, clock: SettableClock):
    """What is uncounted may be used once more, by the same key; where nothing is counted, nothing happens."""
    await limiter.refund(QUOTA, "key")
    for _ in range(4):
        await limiter.spend(QUOTA, "key")
    await limiter.refund(OTHER, "key")
    await limiter.refund(QUOTA, "another")
    assert await limiter.spend(QUOTA, "key") == 20
    await limiter.refund(QUOTA, "key")
    assert [await limiter.spend(QUOTA, "key") for _ in range(2)] == [0, 20]
    clock.elapse(59)
    await limiter.refund(QUOTA, "key")
    assert [await limiter.spend(QUOTA, "key") for _ in range(4)] == [0, 0, 0, 20]


async def test_an_attempt_that_is_taken_back_costs_nothing(limiter: RateLimiter, clock: SettableClock):
    """After it, the name must rest only as long as before it, counted from the attempt before."""
    await limiter.take_back("Ada")
    for _ in range(FREE_FAILURES + 1):
        assert await limiter.begin("Ada") == 0
        clock.elapse(0.1)
    clock.elapse(0.9)
    assert await limiter.begin("Ada") == 0
    await limiter.take_back("Bob")
    await limiter.take_back("Ada")
    assert await limiter.begin("Ada") == 0
    assert await limiter.begin("Ada") == 2
    for _ in range(20):
        await limiter.take_back("Ada")
    assert [await limiter.begin("Ada") for _ in range(FREE_FAILURES + 2)] == [0] * (FREE_FAILURES + 1) + [1]


async def test_memory_is_bounded(clock: SettableClock, monkeypatch: pytest.MonkeyPatch):
    """What is kept of a key is small whatever its length, and beyond a number of keys the oldest is forgotten."""
    monkeypatch.setattr(memory, "MOST_KEYS", 10)
    limiter = MemoryLimiter(clock)
    for number in range(50):
        await limiter.spend(QUOTA, f"{number}" + "x" * 10_000)
        await limiter.begin(f"{number}" + "x" * 10_000)
    assert len(limiter._full_until) == len(limiter._attempts) == 10
    assert all(len(key) == 16 for _, key in limiter._full_until)
    assert all(len(key) == 16 for key in limiter._attempts)
