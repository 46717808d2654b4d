"""Connections that are lent again and again: none is lent in disorder, none is kept from whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.postgres_front import PostgresFront
from tests.postgres_server import PostgresSchema
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.storage.sql import postgres, postgres_connections
from tokenkeep.storage.sql.database import SqlTransaction
from tokenkeep.storage.sql.postgres import PostgresDatabase
from tokenkeep.storage.sql.postgres_connections import Connections

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("postgres")]

LONGEST_WAIT = 10.0


@pytest.fixture
async def narrow(postgres_schema: PostgresSchema) -> AsyncIterator[PostgresDatabase]:
    """A database over two connections."""
    database = PostgresDatabase(postgres_schema.url, connections=2)
    await database.open()
    yield database
    await database.close()


def lending(database: PostgresDatabase) -> Connections:
    """Return what lends the database's connections."""
    assert database._lending is not None
    return database._lending


async def backend(tx: SqlTransaction) -> int:
    """Return what names the connection in the server."""
    row = await tx.fetch_one("SELECT pg_backend_pid() AS pid")
    assert row is not None
    return int(row["pid"])


async def test_one_after_the_other_use_the_same(narrow: PostgresDatabase):
    """Whoever comes next is lent the connection that came back last."""
    first = await narrow.transact(backend)
    assert {await narrow.transact(backend) for _ in range(5)} == {first}
    assert len(lending(narrow)._at_hand) == 1


async def test_nobody_waits_for_what_has_come_back(narrow: PostgresDatabase):
    """Of many who want two connections at once each gets its turn, in a moment and not after a deadline."""

    async def briefly(tx: SqlTransaction) -> int:
        await tx.fetch_one("SELECT pg_sleep(0.005)")
        return await backend(tx)

    async with asyncio.timeout(0.9 * postgres.CONNECT_TIMEOUT):
        used = await asyncio.gather(*(narrow.transact(briefly) for _ in range(40)))
    assert len(set(used)) == 2
    assert lending(narrow)._waiting == 0


async def test_a_connection_that_was_ended_there_is_lost_and_no_defect(
    postgres_front: PostgresFront, postgres_schema: PostgresSchema
):
    """One that hears its end while nobody uses it, and no more, costs one refusal, and is not lent again."""
    place = postgres_schema.url.partition("?")[2]
    database = PostgresDatabase(f"postgresql://postgres@127.0.0.1:{postgres_front.port}/postgres?{place}")
    await database.open()
    ended = await database.transact(backend)
    postgres_front.lingering = True
    await postgres_schema.run("SELECT pg_terminate_backend($1)", ended)
    assert await asyncio.to_thread(postgres_front.left.wait, LONGEST_WAIT)
    await asyncio.sleep(0.1)  # the last words are on their way, and nothing tells when they are read
    with pytest.raises(StorageUnavailable, match="the connection was lost"):
        await database.change_once(lambda tx: tx.execute("CREATE TABLE things (id BIGINT)"))
    async with asyncio.timeout(LONGEST_WAIT):
        for _ in range(3):
            assert await database.transact(backend) != ended
    assert await postgres_schema.tables() == set()
    await database.close()


async def test_what_ended_badly_is_not_kept(narrow: PostgresDatabase, postgres_schema: PostgresSchema):
    """A connection on which something failed, or was given up, goes back to the pool; the next transaction is whole."""

    async def fails(tx: SqlTransaction) -> None:
        await tx.execute("CREATE TABLE things (id BIGINT)")
        raise RuntimeError("no")

    async def hangs(tx: SqlTransaction) -> None:
        await tx.execute("CREATE TABLE things (id BIGINT)")
        await tx.fetch_one("SELECT pg_sleep(60)")

    with pytest.raises(RuntimeError):
        await narrow.transact(fails)
    assert lending(narrow)._at_hand == []
    hanging = asyncio.create_task(narrow.transact(hangs))
    async with asyncio.timeout(LONGEST_WAIT):
        while not await postgres_schema.run("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"):
            await asyncio.sleep(0.005)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert lending(narrow)._at_hand == []
    async with asyncio.timeout(LONGEST_WAIT):
        for _ in range(3):
            await narrow.transact(backend)
    assert await postgres_schema.tables() == set()
    assert await postgres_schema.open_transactions() == []


async def test_an_open_transaction_is_not_kept(narrow: PostgresDatabase, postgres_schema: PostgresSchema):
    """A connection that comes back inside a transaction goes to the pool, which undoes it."""
    async with lending(narrow).lent(LONGEST_WAIT) as connection:
        await connection.execute("BEGIN")
    assert lending(narrow)._at_hand == []
    await narrow.transact(backend)
    assert await postgres_schema.open_transactions() == []


async def test_one_that_was_closed_meanwhile_is_not_lent(narrow: PostgresDatabase, postgres_schema: PostgresSchema):
    """A connection that the server ends while it is kept is replaced without anybody noticing."""
    before = await narrow.transact(backend)
    [(_, kept)] = lending(narrow)._at_hand
    await postgres_schema.run("SELECT pg_terminate_backend($1)", before)
    async with asyncio.timeout(LONGEST_WAIT):
        while postgres_connections._is_open(kept):
            await asyncio.sleep(0.005)
    assert await narrow.transact(backend) != before


async def test_what_nobody_wants_goes_back_to_the_pool(narrow: PostgresDatabase, monkeypatch: pytest.MonkeyPatch):
    """After a crowd, connections that were not wanted for a while are given to the pool, which closes them in time."""
    gate = asyncio.Barrier(2)

    async def meet(tx: SqlTransaction) -> int:
        await gate.wait()
        return await backend(tx)

    await asyncio.gather(narrow.transact(meet), narrow.transact(meet))
    assert len(lending(narrow)._at_hand) == 2
    monkeypatch.setattr(postgres_connections, "AT_HAND", 0.0)
    await narrow.transact(backend)
    assert len(lending(narrow)._at_hand) == 1
