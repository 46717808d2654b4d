"""Server processes on one database serve together only if they belong to one node, or share a Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.settable_clock import SettableClock
from tests.storage.contracts import Processes, SqliteEngine
from tokenkeep.domain.server_processes import LOST_AFTER, NO_REDIS, UNKNOWN_REDIS, Accord, NotShared, ServerProcess
from tokenkeep.flows import serve_together
from tokenkeep.flows.serve_together import ServeTogether
from tokenkeep.storage.sql.stores import SqlStorage

LONGEST_WAIT = 10.0
ACCORD = Accord("https://auth.example.com", "ES256")


@pytest.fixture
async def storage(tmp_path: Path, clock: SettableClock) -> AsyncIterator[SqlStorage]:
    """A database that any number of processes may be said to serve."""
    processes = Processes(SqliteEngine(tmp_path, clock))
    yield await processes.storage()
    await processes.close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a rival looks often."""
    monkeypatch.setattr(serve_together, "LOOK_AGAIN", 0.001)


def process(storage: SqlStorage, node: str, redis: str, accord: Accord = ACCORD) -> ServeTogether:
    """Return one more process of a node that uses a Redis, and was told something."""

    async def found() -> str:
        return redis

    return ServeTogether(storage, node=node, redis=found, accord=accord)


async def listed(storage: SqlStorage) -> list[ServerProcess]:
    """Return who is stored."""
    return await storage.read(lambda tx: tx.server_processes.all())


async def join_beside(first: ServeTogether, second: ServeTogether, clock: SettableClock) -> None:
    """Let the second join while the first is seen again and again."""
    joining = asyncio.ensure_future(second.join())
    async with asyncio.timeout(LONGEST_WAIT):
        while not joining.done():
            clock.advance(10)
            try:
                await first.stay()
            except NotShared:
                await joining
                raise AssertionError("the first sees a rival, the second does not") from None
            await asyncio.sleep(0)
    await joining


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("one", NO_REDIS), ("one", NO_REDIS)),
        (("one", NO_REDIS), ("one", "red")),
        (("one", "red"), ("one", "blue")),
        (("one", "red"), ("two", "red")),
        (("one", "red"), ("two", UNKNOWN_REDIS)),
        (("one", UNKNOWN_REDIS), ("two", "red")),
        (("one", UNKNOWN_REDIS), ("two", UNKNOWN_REDIS)),
    ],
    ids=str,
)
async def test_these_serve_together(
    storage: SqlStorage, clock: SettableClock, first: tuple[str, str], second: tuple[str, str]
):
    """Processes of one node, and those that share a Redis, or may do so."""
    one, two = process(storage, *first), process(storage, *second)
    await one.join()
    await join_beside(one, two, clock)
    assert len(await listed(storage)) == 2
    await one.stay()
    await two.stay()
    await one.leave()
    await two.leave()
    assert await listed(storage) == []


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (NO_REDIS, NO_REDIS, "this one has no redis_url"),
        ("red", NO_REDIS, "this one has no redis_url"),
        (UNKNOWN_REDIS, NO_REDIS, "this one has no redis_url"),
        (NO_REDIS, "red", "without a redis_url"),
        (NO_REDIS, UNKNOWN_REDIS, "without a redis_url"),
        ("red", "blue", "another Redis"),
    ],
)
async def test_these_do_not(storage: SqlStorage, clock: SettableClock, first: str, second: str, said: str):
    """A process that shares no Redis with one that lives is refused, is not stored, and the other goes on."""
    one, two = process(storage, "one", first), process(storage, "two", second)
    await one.join()
    with pytest.raises(NotShared, match=said):
        await join_beside(one, two, clock)
    assert [each.node for each in await listed(storage)] == ["one"]
    await one.leave()
    await two.join()


async def test_one_that_was_killed_is_waited_for(
    storage: SqlStorage, clock: SettableClock, caplog: pytest.LogCaptureFixture
):
    """A process that is not seen again counts as gone after ten seconds; until then the next one waits, and says so."""
    await process(storage, "one", NO_REDIS).join()
    clock.advance(LOST_AFTER - 1)
    joining = asyncio.ensure_future(process(storage, "two", NO_REDIS).join())
    for _ in range(20):
        await asyncio.sleep(0.002)
        assert not joining.done()
    clock.advance(1)
    async with asyncio.timeout(LONGEST_WAIT):
        await joining
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "waiting" in caplog.text


async def test_a_rival_that_came_unseen_is_told(storage: SqlStorage, clock: SettableClock):
    """A process that could not be seen for a while, as its database was away, finds the one that came meanwhile."""
    one, two = process(storage, "one", NO_REDIS), process(storage, "two", NO_REDIS)
    await one.join()
    clock.advance(LOST_AFTER)
    await two.join()
    for each in (one, two):
        with pytest.raises(NotShared):
            await each.stay()
    await two.leave()
    await one.stay()


async def test_the_lost_are_forgotten(storage: SqlStorage, clock: SettableClock):
    """Rows of killed processes do not pile up."""
    for _ in range(5):
        await process(storage, "one", NO_REDIS).join()
    clock.advance(LOST_AFTER + 1)
    last = process(storage, "one", NO_REDIS)
    await last.join()
    await last.stay()
    assert len(await listed(storage)) == 1


@pytest.mark.parametrize("redis", ["red", UNKNOWN_REDIS], ids=["one Redis", "Redis away"])
async def test_another_issuer_is_refused(storage: SqlStorage, clock: SettableClock, redis: str):
    """A node with another issuer than one that lives is told both and what to do, is not stored, and may come later."""
    one = process(storage, "one", redis)
    two = process(storage, "two", redis, replace(ACCORD, issuer="https://other.example.com"))
    await one.join()
    with pytest.raises(
        NotShared,
        match=r"with the issuer https://auth\.example\.com, and this one has https://other\.example\.com: "
        r".* Set the same issuer .* stop all of them",
    ):
        await join_beside(one, two, clock)
    assert [each.node for each in await listed(storage)] == ["one"]
    await one.leave()
    await two.join()
    with pytest.raises(NotShared, match=r"issuer https://other\.example\.com, and this one has https://auth"):
        await one.stay()


async def test_a_node_with_an_issuer_of_its_own_passes(storage: SqlStorage, clock: SettableClock):
    """What the processes of one node disagree about is their main process's affair, which replaces them."""
    one = process(storage, "one", "red")
    await one.join()
    await join_beside(one, process(storage, "one", "red", Accord("https://other.example.com", "EdDSA")), clock)


async def test_a_version_that_says_nothing_does_not_disagree(
    storage: SqlStorage, clock: SettableClock, caplog: pytest.LogCaptureFixture
):
    """Rows of the version before, which have neither, stop nobody, and cause no warning: a rolling deploy goes on."""
    old = ServerProcess("old", "one", "red", clock.now())
    await storage.transact(lambda tx: tx.server_processes.note(old))
    new = process(storage, "two", "red")
    async with asyncio.timeout(LONGEST_WAIT):
        await new.join()
    await new.stay()
    assert not caplog.records


async def test_another_signing_algorithm_is_told(
    storage: SqlStorage, clock: SettableClock, caplog: pytest.LogCaptureFixture
):
    """Both nodes serve, and each warns once, until it is over; then again."""
    one = process(storage, "one", "red")
    await one.join()
    for _ in range(2):
        two = process(storage, "two", "red", replace(ACCORD, signing_algorithm="EdDSA"))
        caplog.clear()
        await two.join()
        for _ in range(3):
            await one.stay()
            await two.stay()
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
        for record, named in zip(caplog.records, (("ES256", "EdDSA"), ("EdDSA", "ES256")), strict=True):
            assert "with the signing_algorithm {}, and this one has {}:".format(*named) in record.getMessage()
        await two.leave()
        await one.stay()
