"""PostgreSQL behind a PgBouncer in transaction mode: nothing is left to a session, and nothing is left in one."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.pgbouncer import pooled
from tests.postgres_server import PostgresSchema
from tests.storage.contracts import LONGEST_WAIT, execute, rows
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.storage.sql import postgres
from tokenkeep.storage.sql.database import SqlTransaction
from tokenkeep.storage.sql.postgres import PostgresDatabase

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("postgres")]

HASTY = "SET synchronous_commit TO off"
SETTINGS = """
    SELECT current_setting('synchronous_commit') AS commits, current_setting('lock_timeout') AS locks,
        current_setting('idle_in_transaction_session_timeout') AS idle
    """
LOCKS = "SELECT count(*) AS held FROM pg_locks WHERE locktype = 'advisory'"


async def seen_by_others(url: str) -> asyncpg.Record:
    """Return the settings of the one session, as another program of the same PgBouncer finds them."""
    connection = await asyncpg.connect(url.partition("?")[0], statement_cache_size=0, timeout=LONGEST_WAIT)
    try:
        return await connection.fetchrow(SETTINGS)
    finally:
        await connection.close()


async def test_a_session_is_left_as_it_was(postgres_schema: PostgresSchema):
    """Each transaction is durable and lets go of its locks whatever the session is set to, and sets it to nothing."""
    with pooled(postgres_schema, sessions=1, first=HASTY) as url:
        before = await seen_by_others(url)
        database = PostgresDatabase(url)
        await database.open()
        for run in (database.transact, database.read, database.change_once, database.transact_alone):

            async def settings(tx: SqlTransaction) -> dict[str, str]:
                row = await tx.fetch_dated(SETTINGS)
                assert row is not None
                return dict(row)

            found = await run(settings)
            assert (found["commits"], found["idle"]) == ("on", f"{postgres.IDLE_TIMEOUT:.0f}s")
            assert (found["locks"] != "0") == (run == database.transact_alone)
            assert await seen_by_others(url) == before
        assert before["commits"] == "off"
        assert await rows(database, LOCKS) == [{"held": 0}]
        await database.close()


async def test_a_statement_is_not_looked_for_where_it_was_not_prepared(postgres_schema: PostgresSchema):
    """The same statements run again and again in transactions that meet whatever session is free."""
    with pooled(postgres_schema) as url:
        databases = [PostgresDatabase(url) for _ in range(4)]
        for database in databases:
            await database.open()
        await execute(databases[0], "CREATE TABLE things (id BIGINT NOT NULL)")
        for _ in range(5):
            crowd = [
                each
                for database in databases
                for each in (
                    execute(database, "INSERT INTO things (id) VALUES ($1)", 1),
                    rows(database, "SELECT id FROM things WHERE id = $1 LIMIT 1", 1),
                )
            ]
            await asyncio.gather(*crowd)
        assert await rows(databases[0], "SELECT count(*) AS things FROM things") == [{"things": 20}]
        for database in databases:
            await database.close()


async def test_who_does_not_say_that_there_is_a_pooler_is_told(postgres_schema: PostgresSchema):
    """Without `pgbouncer=true` nothing starts, with a sentence that names it."""
    with pooled(postgres_schema) as url:
        database = PostgresDatabase(url.partition("?")[0])
        with pytest.raises(StorageUnavailable, match="needs pgbouncer=true in database_url"):
            await database.open()
        await database.close()
