"""The seam between stores and databases: what `Database` promises, on every engine."""

from __future__ import annotations

import asyncio
import sqlite3

import asyncpg
import pytest

from tests.storage.contracts import Engine, Processes, execute, rows
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.storage.sql.database import Database, Row, SqlTransaction, Value

UNIQUENESS_BROKEN = (sqlite3.IntegrityError, asyncpg.UniqueViolationError)


@pytest.fixture
async def shelf(database: Database) -> Database:
    """A database with one table to put things in."""
    await execute(database, "CREATE TABLE things (id BIGINT NOT NULL PRIMARY KEY, label TEXT, raw BYTEA)")
    return database


async def test_parameters_are_numbered_and_not_taken_in_the_order_of_their_appearance(shelf: Database):
    """`$2` may stand before `$1`, and `$1` may stand twice."""
    await execute(shelf, "INSERT INTO things (label, id, raw) VALUES ($2, $1, $3)", 7, "seven", b"\x07")
    assert await rows(shelf, "SELECT id, label, raw FROM things") == [{"id": 7, "label": "seven", "raw": b"\x07"}]
    await execute(shelf, "UPDATE things SET id = $3, label = $2 WHERE label = $1 OR raw = $4", "seven", "n", 8, b"")
    repeated = "SELECT id FROM things WHERE label = $2 AND (id = $1 OR id < $1)"
    assert await rows(shelf, repeated, 8, "n") == [{"id": 8}]


@pytest.mark.parametrize(
    ("label", "raw"),
    [
        (None, None),
        ("", b""),
        ("ünï \N{SNOWMAN} \U0001f511 '; --", bytes(range(256))),
        ("$1 :1 ?1 %s", b"\x00"),
    ],
)
@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, -(2**63)])
async def test_values_come_back_as_they_were_stored(shelf: Database, number: int, label: str | None, raw: bytes | None):
    """Numbers of 64 bits, any text, any bytes and null survive storage unchanged."""
    await execute(shelf, "INSERT INTO things (id, label, raw) VALUES ($1, $2, $3)", number, label, raw)
    assert await rows(shelf, "SELECT id, label, raw FROM things") == [{"id": number, "label": label, "raw": raw}]


async def test_execute_returns_how_many_rows_it_changed(shelf: Database):
    """The row count decides every race, so it is exact: also when it is 0, and on a conflict that does nothing."""
    insert = "INSERT INTO things (id, label) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"
    assert [await execute(shelf, insert, number, "x") for number in (1, 2, 3, 3)] == [1, 1, 1, 0]
    assert await execute(shelf, "UPDATE things SET label = 'y' WHERE id > $1", 1) == 2
    assert await execute(shelf, "UPDATE things SET label = 'y' WHERE id > $1", 1) == 2
    assert await execute(shelf, "UPDATE things SET label = 'z' WHERE id = $1", 9) == 0
    assert await execute(shelf, "DELETE FROM things") == 3


async def test_returning_gives_the_row_as_it_is_after_the_change(shelf: Database):
    """`UPDATE … RETURNING` tells the new values, and nothing when no row was met."""
    await execute(shelf, "INSERT INTO things (id, label) VALUES ($1, $2)", 1, "old")

    async def rename(tx: SqlTransaction, number: int) -> Row | None:
        return await tx.fetch_one("UPDATE things SET label = $2 WHERE id = $1 RETURNING id, label", number, "new")

    row = await shelf.transact(rename, 1)
    assert row is not None
    assert dict(row) == {"id": 1, "label": "new"}
    assert await shelf.transact(rename, 2) is None
    assert await rows(shelf, "SELECT label FROM things") == [{"label": "new"}]


async def test_steps_are_given_their_arguments_and_their_result_is_returned(shelf: Database):
    """`transact` and `read` pass arguments through and return what the steps return."""

    async def steps(tx: SqlTransaction, first: int, second: str) -> tuple[int, str]:
        return first, second

    assert await shelf.transact(steps, 1, "a") == (1, "a")
    assert await shelf.read(steps, 2, "b") == (2, "b")


@pytest.mark.parametrize("raised", [ValueError("no"), StorageUnavailable("lost"), KeyError("x")])
async def test_nothing_remains_of_steps_that_raise(shelf: Database, raised: Exception):
    """When steps raise, the exception comes out as it is, and nothing they did remains."""

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("INSERT INTO things (id) VALUES (1)")
        await tx.execute("CREATE TABLE more (id BIGINT)")
        raise raised

    with pytest.raises(type(raised)) as caught:
        await shelf.transact(steps)
    assert caught.value is raised
    assert await rows(shelf, "SELECT * FROM things") == []
    with pytest.raises(Exception, match="more"):
        await rows(shelf, "SELECT * FROM more")
    assert await execute(shelf, "INSERT INTO things (id) VALUES (1)") == 1


async def test_nothing_remains_when_a_statement_fails(shelf: Database):
    """A broken constraint undoes the whole transaction, and the next one works."""

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("INSERT INTO things (id) VALUES (1)")
        await tx.execute("INSERT INTO things (id) VALUES (1)")

    with pytest.raises(UNIQUENESS_BROKEN):
        await shelf.transact(steps)
    assert await rows(shelf, "SELECT * FROM things") == []
    assert await execute(shelf, "INSERT INTO things (id) VALUES (1)") == 1


async def test_read_refuses_to_write(shelf: Database):
    """A change inside `read` fails, and changes nothing."""
    await execute(shelf, "INSERT INTO things (id, label) VALUES (1, 'kept')")

    async def steps(tx: SqlTransaction, sql: str) -> None:
        await tx.execute(sql)

    for sql in (
        "INSERT INTO things (id) VALUES (2)",
        "UPDATE things SET label = 'changed'",
        "DELETE FROM things",
        "CREATE TABLE more (id BIGINT)",
        "DROP TABLE things",
    ):
        with pytest.raises(StorageUnavailable):
            await shelf.read(steps, sql)
    assert await rows(shelf, "SELECT id, label FROM things") == [{"id": 1, "label": "kept"}]


async def test_read_sees_one_state_from_its_first_statement_to_its_last(
    shelf: Database, processes: Processes, engine: Engine
):
    """What another process commits during a `read` is not seen by it, and is seen by the next."""
    other = await processes.database()
    gate = engine.gate()

    async def count_twice(tx: SqlTransaction) -> list[Value]:
        count = "SELECT count(*) AS things FROM things"
        before = await tx.fetch_one(count)
        await gate.hold()
        after = await tx.fetch_one(count)
        assert before is not None
        assert after is not None
        return [before["things"], after["things"]]

    reading = asyncio.create_task(shelf.read(count_twice))
    await gate.arrived()
    await execute(other, "INSERT INTO things (id) VALUES (1)")
    gate.open()
    assert await reading == [0, 0]
    assert await rows(shelf, "SELECT id FROM things") == [{"id": 1}]


async def test_an_open_transaction_is_not_seen_by_others_until_it_commits(
    shelf: Database, processes: Processes, engine: Engine
):
    """Reads of every process see a change from the moment `transact` returns, not before."""
    other = await processes.database()
    gate = engine.gate()

    async def add_slowly(tx: SqlTransaction) -> None:
        await tx.execute("INSERT INTO things (id) VALUES (1)")
        await gate.hold()

    adding = asyncio.create_task(shelf.transact(add_slowly))
    await gate.arrived()
    assert await rows(shelf, "SELECT id FROM things") == await rows(other, "SELECT id FROM things") == []
    gate.open()
    await adding
    assert await rows(shelf, "SELECT id FROM things") == await rows(other, "SELECT id FROM things") == [{"id": 1}]


async def test_no_update_is_lost_between_processes(shelf: Database, processes: Processes):
    """Forty transactions of two processes that each add one come to forty."""
    other = await processes.database()
    await execute(shelf, "INSERT INTO things (id, label) VALUES (1, '')")
    append = "UPDATE things SET label = label || 'x' WHERE id = 1"
    counts = await asyncio.gather(*(execute(each, append) for each in [shelf, other] * 20))
    assert counts == [1] * 40
    assert await rows(shelf, "SELECT length(label) AS length FROM things") == [{"length": 40}]


async def test_who_wants_to_be_alone_is(shelf: Database, processes: Processes, engine: Engine):
    """A second process that wants to be alone waits for the first one's commit, and sees what it did."""
    other, gate = await processes.database(), engine.gate()
    seen: list[int] = []

    async def steps(tx: SqlTransaction, hold: bool) -> None:
        row = await tx.fetch_one("SELECT count(*) AS number FROM things")
        assert row is not None
        seen.append(row["number"])
        if hold:
            await gate.hold()
        await tx.execute("INSERT INTO things (id) VALUES ($1)", 100 + len(seen))

    before = len(await rows(shelf, "SELECT id FROM things"))
    first = asyncio.create_task(shelf.transact_alone(steps, True))
    await gate.arrived()
    second = asyncio.create_task(other.transact_alone(steps, False))
    await engine.wait_until_blocked()
    gate.open()
    await asyncio.gather(first, second)
    assert seen == [before, before + 1]


async def test_a_caller_that_is_cancelled_leaves_the_database_usable(shelf: Database, engine: Engine):
    """After a request was cancelled in the middle of its transaction, the next transactions run."""
    gate = engine.gate()

    async def add_slowly(tx: SqlTransaction) -> None:
        await tx.execute("INSERT INTO things (id) VALUES (1)")
        await gate.hold()

    adding = asyncio.create_task(shelf.transact(add_slowly))
    await gate.arrived()
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    gate.open()
    assert await execute(shelf, "INSERT INTO things (id) VALUES (2)") == 1
    assert {"id": 2} in await rows(shelf, "SELECT id FROM things")


async def test_closing_waits_for_what_is_under_way(engine: Engine, shelf: Database):
    """A transaction that has begun when the database is closed is finished, and lasts."""
    closing = engine.database()
    await closing.open()
    gate = engine.gate()

    async def add_slowly(tx: SqlTransaction) -> None:
        await gate.hold()
        await tx.execute("INSERT INTO things (id) VALUES (1)")

    adding = asyncio.create_task(closing.transact(add_slowly))
    await gate.arrived()
    closed = asyncio.create_task(closing.close())
    gate.open()
    await asyncio.gather(adding, closed)
    assert await rows(shelf, "SELECT id FROM things") == [{"id": 1}]


async def test_a_database_that_is_not_open_is_unavailable(engine: Engine, processes: Processes):
    """Before `open` and after `close` every call says that storage is unavailable; closing twice is no mistake."""
    opened = await processes.database()
    closed = engine.database()
    for _ in range(2):
        for call in (closed.revision(), rows(closed, "SELECT 1 AS one"), execute(closed, "SELECT 1")):
            with pytest.raises(StorageUnavailable):
                await call
        await closed.open()
        assert await rows(closed, "SELECT 1 AS one") == [{"one": 1}]
        await closed.close()
        await closed.close()
    assert await rows(opened, "SELECT 1 AS one") == [{"one": 1}]
