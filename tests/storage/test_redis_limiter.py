"""What the contract of limiters does not say of the shared one: what it leaves in Redis, and by which clock it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.redis_server import RedisServer
from tests.settable_clock import SettableClock
from tokenkeep.domain.limits import FORGOTTEN_AFTER, FREE_FAILURES, Quota
from tokenkeep.storage.redis import RedisLink
from tokenkeep.storage.redis_limiter import RedisLimiter

QUOTA = Quota("few", 3, 60)
NAME = "a name that must not be seen"
pytestmark = [pytest.mark.xdist_group("redis"), pytest.mark.usefixtures("patient")]

Process = Callable[..., RedisLimiter]
"""Makes the limiter of one more process."""


@pytest.fixture
def prefix(each_redis_server: RedisServer) -> str:
    """The prefix that the processes of a test share."""
    return each_redis_server.new_prefix()


@pytest.fixture
async def process(each_redis_server: RedisServer, prefix: str) -> AsyncIterator[Process]:
    """Limiters of several processes on one Redis."""
    links: list[RedisLink] = []

    def begin(key: bytes = b"key", *, clock: SettableClock | None = None) -> RedisLimiter:
        links.append(RedisLink(each_redis_server.address, prefix=prefix, consequence=""))
        return RedisLimiter(links[-1], key=key, instant=(lambda: clock.now() * 1000) if clock else None)

    yield begin
    for link in links:
        await link.close()


async def use(limiter: RedisLimiter) -> None:
    """Leave a key of each kind."""
    await limiter.spend(QUOTA, NAME)
    await limiter.begin(NAME)
    await limiter.begin(NAME)
    await limiter.take_back(NAME)


async def test_processes_share_their_counts(process: Process):
    """What one process counts takes room from the others, and what one forgives is forgiven by all."""
    first, second = process(), process()
    assert [await each.spend(QUOTA, NAME) for each in (first, second, first)] == [0, 0, 0]
    assert 0 < await second.spend(QUOTA, NAME) <= 20
    for turn in range(FREE_FAILURES + 1):
        assert await (first, second)[turn % 2].begin(NAME) == 0
    assert await first.begin(NAME) == await second.begin(NAME) == 1
    await first.forgive(NAME)
    assert await second.begin(NAME) == 0


async def test_what_is_kept_names_nobody_and_goes_by_itself(
    process: Process, each_redis_server: RedisServer, prefix: str
):
    """Keys are digests that only this installation can make, under its prefix, and each has its end."""
    await use(process())
    with each_redis_server.client() as client:
        kept = {key: client.pttl(key) for key in client.scan_iter(f"{prefix}*")}
        assert len(kept) == 2
        assert all(0 < left <= FORGOTTEN_AFTER + 1 for left in kept.values())
        assert 0 < min(kept.values()) <= 20_000
        assert not any(NAME in key or NAME in str(client.get(key)) for key in kept)
        await use(process(b"another key"))
        assert len(list(client.scan_iter(f"{prefix}*"))) == 4


async def test_a_clock_that_was_set_back_makes_nobody_wait_longer(process: Process, clock: SettableClock):
    """After it, a full quota has room again, and a name has rested, as soon as if both had begun then."""
    limiter = process(clock=clock)
    for _ in range(3):
        await limiter.spend(QUOTA, NAME)
    for _ in range(FREE_FAILURES + 1):
        await limiter.begin(NAME)
    clock.advance(-86_400_000)
    assert await limiter.spend(QUOTA, NAME) == 20
    assert await limiter.begin(NAME) == 1
    clock.advance(1_000)
    assert await limiter.begin(NAME) == 0
    clock.advance(19_000)
    assert [await limiter.spend(QUOTA, NAME) for _ in range(2)] == [0, 20]


@pytest.mark.parametrize("value", ["", "x", "-1", "1 2", "9" * 40 + "x"], ids=["empty", "x", "minus", "pair", "long"])
async def test_what_somebody_else_left_there_counts_as_nothing(
    process: Process, each_redis_server: RedisServer, prefix: str, value: str
):
    """A value or type that was not written by a limiter is replaced, and is no error."""
    limiter = process()
    await use(limiter)
    with each_redis_server.client() as client:
        for key in list(client.scan_iter(f"{prefix}*")):
            client.set(key, value)
        assert await limiter.spend(QUOTA, NAME) == await limiter.begin(NAME) == 0
        for key in list(client.scan_iter(f"{prefix}*")):
            client.delete(key)
            client.rpush(key, "item")
    assert await limiter.spend(QUOTA, NAME) == await limiter.begin(NAME) == 0


async def test_scripts_that_redis_has_forgotten_are_sent_again(process: Process, each_redis_server: RedisServer):
    """A flush of its scripts, or a restart, is not noticed by anybody."""
    limiter = process()
    await use(limiter)
    each_redis_server.ask("SCRIPT", "FLUSH")
    assert await limiter.spend(QUOTA, NAME) == 0
