"""What the PostgreSQL driver promises beyond the contracts: reruns after conflicts, and outages that tell no secret."""

from __future__ import annotations

import asyncio
import time
import traceback
from pathlib import Path
from urllib.parse import urlencode

import asyncpg
import pytest

from tests.ports import free_port
from tests.postgres_front import PostgresFront
from tests.postgres_server import PostgresSchema
from tests.storage.contracts import LONGEST_WAIT, PostgresEngine, Processes, execute, rows
from tests.storage.examples import NOW, a_revocation
from tokenkeep.domain.audit import OPERATOR, Event, EventKind
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sql import postgres
from tokenkeep.storage.sql.database import SqlTransaction
from tokenkeep.storage.sql.postgres import MOST_RUNS, PostgresDatabase
from tokenkeep.storage.sql.stores import SqlStorage

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("postgres")]

PASSWORD = "canary-password-9f3"
CONFLICTS = ["40001", "40P01"]
"""The codes of a serialization failure and of a deadlock."""
TERMINATE = "SELECT pg_terminate_backend(pid, 5000) AS ended FROM pg_stat_activity WHERE application_name = 'tokenkeep'"
"""Ends every connection of Tokenkeep, and returns when they have ended."""


@pytest.fixture
def engine(postgres_schema: PostgresSchema) -> PostgresEngine:
    """PostgreSQL only."""
    return PostgresEngine(postgres_schema)


@pytest.fixture
async def shelf(processes: Processes) -> PostgresDatabase:
    """A database with one table to put things in, and two rows."""
    database = await processes.database()
    assert isinstance(database, PostgresDatabase)
    await execute(database, "CREATE TABLE things (id BIGINT NOT NULL PRIMARY KEY, label TEXT NOT NULL DEFAULT '')")
    await execute(database, "INSERT INTO things (id) VALUES (1), (2)")
    return database


async def fail(tx: SqlTransaction, code: str) -> None:
    """Make the server fail a statement with this code."""
    await tx.execute(f"DO $do$ BEGIN RAISE EXCEPTION 'a conflict' USING ERRCODE = '{code}'; END $do$")


@pytest.mark.parametrize("code", CONFLICTS)
async def test_a_transaction_that_met_a_conflict_is_run_again(shelf: PostgresDatabase, code: str):
    """The steps are run until they pass; of the runs that failed nothing remains."""
    runs = 0

    async def steps(tx: SqlTransaction) -> int:
        nonlocal runs
        runs += 1
        await tx.execute("UPDATE things SET label = label || 'x' WHERE id = 1")
        if runs < MOST_RUNS:
            await fail(tx, code)
        return runs

    assert await shelf.transact(steps) == MOST_RUNS
    assert await rows(shelf, "SELECT label FROM things WHERE id = 1") == [{"label": "x"}]


@pytest.mark.parametrize("code", CONFLICTS)
async def test_a_transaction_that_only_meets_conflicts_is_given_up(shelf: PostgresDatabase, code: str):
    """After a number of runs storage is said to be unavailable, and nothing remains."""
    runs = 0

    async def steps(tx: SqlTransaction) -> None:
        nonlocal runs
        runs += 1
        await tx.execute("UPDATE things SET label = label || 'x' WHERE id = 1")
        await fail(tx, code)

    with pytest.raises(StorageUnavailable):
        await shelf.transact(steps)
    assert runs == MOST_RUNS
    assert await rows(shelf, "SELECT label FROM things WHERE id = 1") == [{"label": ""}]


@pytest.mark.parametrize("code", CONFLICTS)
async def test_reading_is_run_again_too(shelf: PostgresDatabase, code: str):
    """A conflict met while reading is no failure either, until it has been met too often."""
    runs = 0

    async def steps(tx: SqlTransaction, most: int) -> int:
        nonlocal runs
        runs += 1
        if runs < most:
            await fail(tx, code)
        return runs

    assert await shelf.read(steps, MOST_RUNS) == MOST_RUNS
    runs = 0
    with pytest.raises(StorageUnavailable):
        await shelf.read(steps, MOST_RUNS + 1)


async def test_a_table_that_another_process_changes_is_read_anew(shelf: PostgresDatabase, processes: Processes):
    """What the driver remembers of a statement may be out of date after a migration elsewhere: it is asked again."""
    query = "SELECT label FROM things WHERE id = 1"
    assert await rows(shelf, query) == [{"label": ""}]
    await execute(await processes.database(), "ALTER TABLE things ALTER COLUMN label TYPE VARCHAR(50)")
    assert await rows(shelf, query) == [{"label": ""}]


async def test_other_failures_are_not_tried_again(shelf: PostgresDatabase):
    """Only conflicts are worth another run: a broken constraint would be broken again."""
    runs = 0

    async def steps(tx: SqlTransaction) -> None:
        nonlocal runs
        runs += 1
        await tx.execute("INSERT INTO things (id) VALUES (1)")

    with pytest.raises(asyncpg.UniqueViolationError):
        await shelf.transact(steps)
    assert runs == 1


async def test_two_transactions_in_each_others_way_both_succeed(shelf: PostgresDatabase, processes: Processes):
    """When two take the same rows in opposite order, the server breaks the deadlock and both are done in the end."""
    other = await processes.database()
    both_hold_one = asyncio.Barrier(2)
    runs = 0

    async def take(tx: SqlTransaction, first: int, second: int, mark: str) -> None:
        nonlocal runs
        runs += 1
        await tx.execute("UPDATE things SET label = label || $2 WHERE id = $1", first, mark)
        if runs <= 2:
            await both_hold_one.wait()
        await tx.execute("UPDATE things SET label = label || $2 WHERE id = $1", second, mark)

    await asyncio.gather(shelf.transact(take, 1, 2, "a"), other.transact(take, 2, 1, "b"))
    # Seldom the one that lost takes its row again before the other has got it, and both meet once more.
    assert 3 <= runs < 2 * MOST_RUNS
    labels = [row["label"] for row in await rows(shelf, "SELECT label FROM things ORDER BY id")]
    assert labels in (["ab", "ab"], ["ba", "ba"])


async def test_what_a_run_recorded_is_not_told_when_the_run_was_undone(storage: SqlStorage, processes: Processes):
    """Observers hear of each event of the run that was committed, once."""
    runs = 0
    event = Event(EventKind.ACCOUNT_CREATED, NOW, OPERATOR)

    async def steps(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        await tx.audit.record(event)
        await tx.revocations.append(a_revocation())
        if runs == 1:
            raise asyncpg.SerializationError("a conflict")

    await storage.transact(steps)
    assert runs == 2
    assert processes.observed == [event]
    assert [each.number for each in await storage.read(lambda tx: tx.revocations.after(0, now=NOW))] == [1]


async def test_a_transaction_happens_at_the_instant_of_the_database(shelf: PostgresDatabase):
    """`tx.now` is the server's clock, in milliseconds, the same for every process whatever its own clock says."""

    async def instant(tx: SqlTransaction) -> int:
        return tx.now

    for run in (shelf.transact, shelf.read):
        before = time.time_ns() // 1_000_000
        assert before - 1_000 <= await run(instant) <= time.time_ns() // 1_000_000 + 1_000


async def test_commits_are_durable_whatever_the_address_asks_for(engine: PostgresEngine):
    """`synchronous_commit` is on, in every connection."""
    hasty = PostgresDatabase(f"{engine.schema.url}&synchronous_commit=off")
    await hasty.open()
    assert await rows(hasty, "SELECT current_setting('synchronous_commit') AS value") == [{"value": "on"}]
    await hasty.close()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:{password}@127.0.0.1:{port}/name",
        "postgresql://user:{password}@/name?host={directory}",
        "postgresql://user:{password}@no-such-host.invalid/name",
        "{server}/no-such-database?host={host}&password={password}",
        "postgresql://no-such-role:{password}@/postgres?host={host}",
    ],
    ids=["closed port", "no socket", "unknown host", "unknown database", "unknown role"],
)
async def test_a_server_that_cannot_be_reached_is_unavailable(engine: PostgresEngine, tmp_path: Path, address: str):
    """Opening says so, with a text and a chain of causes that hold no password; closing afterwards is no mistake."""
    server, _, query = engine.schema.url.partition("?")
    host = query.partition("host=")[2].partition("&")[0]
    if "{host}" in address and not host:
        pytest.skip("the server is reached over TCP")
    url = address.format(
        password=PASSWORD, port=free_port(), directory=tmp_path, server=server.rpartition("/")[0], host=host
    )
    database = PostgresDatabase(url)
    with pytest.raises(StorageUnavailable) as caught:
        await database.open()
    await database.close()
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:{password}/more@127.0.0.1/name",
        "postgresql://user:{password}@127.0.0.1:port/name",
        "postgresql://user:{password}@[::1/name",
        "postgresql://user:[{password}]@127.0.0.1:1/name",
        "postgresql://user:{password}@127.0.0.1:1/name?sslmode={password}",
        "postgresql://user:{password}#@127.0.0.1:1/name",
    ],
)
async def test_an_address_that_cannot_be_read_is_not_repeated(address: str):
    """A mistyped address, or one whose password should have been escaped, is refused without the password."""
    database = PostgresDatabase(address.format(password=PASSWORD))
    with pytest.raises(StorageUnavailable) as caught:
        await database.open()
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


OUTAGES = {
    "08P01": r"refuses to go on \(told by the server\): .*pgbouncer=true",
    "08006": r"the connection was lost: .*log",
    "25006": r"cannot be written.*: name the primary",
    "25P03": r"too slow for a transaction",
    "28000": r"not let in: make the role, .*pg_hba.conf",
    "28P01": r"password is refused: correct database_url",
    "3D000": r"there is no database .*: create it",
    "3F000": r"schema is missing: restore",
    "42501": r"may not do this \(told by the server\): run tokenkeep migrate .*, or grant",
    "42P01": r"a table is missing \(told by the server\): restore the database, or run tokenkeep migrate",
    "53100": r"disk is full: make room",
    "53200": r"run out of something \(told by the server\)",
    "53300": r"no connection left: raise its max_connections",
    "57014": r"a statement was cancelled",
    "57P01": r"the connection was ended there",
    "57P03": r"starting or ending: wait",
    "58030": r"disk or machine failed",
    "XX001": r"damaged: see its log",
}


@pytest.mark.parametrize("code", OUTAGES)
async def test_trouble_of_the_database_is_named_with_the_way_out(shelf: PostgresDatabase, code: str):
    """Whatever the server has against working is a refusal in one line; details that may hold data are left out."""

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("INSERT INTO things (id) VALUES (3)")
        told = "MESSAGE = 'told by the server', DETAIL = 'data of somebody', HINT = 'and more'"
        await tx.execute(f"DO $do$ BEGIN RAISE EXCEPTION USING {told}, ERRCODE = '{code}'; END $do$")

    with pytest.raises(StorageUnavailable, match=OUTAGES[code]) as caught:
        await shelf.transact(steps)
    assert str(caught.value).startswith("PostgreSQL at ")
    assert len(str(caught.value).splitlines()) == 1
    assert "somebody" not in str(caught.value)
    assert await rows(shelf, "SELECT id FROM things ORDER BY id") == [{"id": 1}, {"id": 2}]


async def test_a_connection_lost_in_a_transaction_is_an_outage(shelf: PostgresDatabase):
    """When the server ends the connection, the caller is told, nothing remains, and the next transaction works."""

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("INSERT INTO things (id) VALUES (3)")
        await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StorageUnavailable):
        await shelf.transact(steps)
    assert await execute(shelf, "INSERT INTO things (id) VALUES (4)") == 1
    assert await rows(shelf, "SELECT id FROM things ORDER BY id") == [{"id": 1}, {"id": 2}, {"id": 4}]


async def test_a_transaction_that_stops_in_the_middle_keeps_no_locks(
    engine: PostgresEngine, shelf: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
):
    """When nothing is heard of a transaction for long, the server undoes it: others go on, and it is refused."""
    assert await rows(shelf, "SELECT current_setting('idle_in_transaction_session_timeout') AS value") == [
        {"value": f"{postgres.IDLE_TIMEOUT:.0f}s"}
    ]
    monkeypatch.setitem(postgres._SESSION, "idle_in_transaction_session_timeout", "50ms")
    stopping = engine.database()
    await stopping.open()
    gate = engine.gate()

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("UPDATE things SET label = 'mine' WHERE id = 1")
        await gate.hold()
        await tx.execute("UPDATE things SET label = 'mine' WHERE id = 2")

    stopped = asyncio.create_task(stopping.transact(steps))
    await gate.arrived()
    assert await execute(shelf, "UPDATE things SET label = 'theirs' WHERE id = 1") == 1
    gate.open()
    with pytest.raises(StorageUnavailable):
        await stopped
    await stopping.close()
    assert await rows(shelf, "SELECT label FROM things ORDER BY id") == [{"label": "theirs"}, {"label": ""}]


async def test_a_transaction_whose_caller_leaves_is_undone(engine: PostgresEngine, shelf: PostgresDatabase):
    """A cancelled caller leaves no statement running, no lock and no half transaction; its connection is used again."""
    narrow = PostgresDatabase(engine.schema.url, connections=1)
    await narrow.open()

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("UPDATE things SET label = 'mine' WHERE id = 1")
        await tx.execute("SELECT pg_sleep(60)")

    leaving = asyncio.create_task(narrow.transact(steps))
    async with asyncio.timeout(LONGEST_WAIT):
        while not await engine.schema.run("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
            await asyncio.sleep(0.005)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    async with asyncio.timeout(LONGEST_WAIT):
        assert await execute(narrow, "UPDATE things SET label = label || 'next' WHERE id = 1") == 1
    assert await rows(shelf, "SELECT label FROM things WHERE id = 1") == [{"label": "next"}]
    await narrow.close()


async def test_nothing_follows_a_commit(engine: PostgresEngine, shelf: PostgresDatabase):
    """The commit is a transaction's last word to the server: no later failure makes a refusal of what was done."""
    await execute(shelf, "INSERT INTO things (id) VALUES (3)")
    spoken = await engine.schema.run("SELECT query FROM pg_stat_activity WHERE application_name = 'tokenkeep'")
    assert {row["query"].strip(";") for row in spoken} == {"COMMIT"}


async def test_a_restarted_server_is_noticed(shelf: PostgresDatabase, engine: PostgresEngine):
    """When connections were lost while nobody used them, the next transactions get new ones."""
    await asyncio.gather(*(rows(shelf, "SELECT pg_sleep(0.01)") for _ in range(3)))
    lost = await engine.schema.run(TERMINATE)
    assert len(lost) >= 1
    assert all(row["ended"] for row in lost)
    assert await execute(shelf, "INSERT INTO things (id) VALUES (3)") == 1
    assert len(await rows(shelf, "SELECT id FROM things")) == 3


async def test_more_transactions_than_connections_wait_for_their_turn(shelf: PostgresDatabase):
    """Fifty transactions on ten connections are all done."""
    append = "UPDATE things SET label = label || 'x' WHERE id = 1"
    assert await asyncio.gather(*(execute(shelf, append) for _ in range(50))) == [1] * 50
    assert await rows(shelf, "SELECT length(label) AS length FROM things WHERE id = 1") == [{"length": 50}]


async def test_a_transaction_that_gets_no_connection_in_time_is_refused(
    engine: PostgresEngine, shelf: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
):
    """When all connections are taken for too long, the caller is told instead of waiting for ever."""
    narrow = PostgresDatabase(engine.schema.url, connections=1)
    await narrow.open()
    monkeypatch.setattr(postgres, "CONNECT_TIMEOUT", 0.05)
    gate = engine.gate()

    async def hold(tx: SqlTransaction) -> None:
        await gate.hold()

    holding = asyncio.create_task(narrow.transact(hold))
    await gate.arrived()
    with pytest.raises(StorageUnavailable):
        await rows(narrow, "SELECT id FROM things")
    gate.open()
    await holding
    assert len(await rows(narrow, "SELECT id FROM things")) == 2
    await narrow.close()


def behind(postgres_front: PostgresFront, engine: PostgresEngine) -> PostgresDatabase:
    """Return a handle on the engine's database that goes through the front."""
    place = urlencode({"search_path": engine.schema.name, "sslmode": "disable"})
    return PostgresDatabase(f"postgresql://postgres@127.0.0.1:{postgres_front.port}/postgres?{place}")


async def test_a_silent_server_is_not_waited_for_at_the_start(
    postgres_front: PostgresFront, engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
):
    """A server that takes the connection and then says nothing is given up in time, and named."""
    monkeypatch.setattr(postgres, "CONNECT_TIMEOUT", 0.2)
    postgres_front.silent = True
    database = behind(postgres_front, engine)
    async with asyncio.timeout(LONGEST_WAIT):
        with pytest.raises(StorageUnavailable, match="does not answer in time"):
            await database.open()
        await database.close()


async def test_a_server_that_falls_silent_costs_a_bounded_time(
    postgres_front: PostgresFront, engine: PostgresEngine, shelf: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
):
    """Each transaction is refused in time, however many there are; when the server speaks again, all goes on."""
    monkeypatch.setattr(postgres, "CONNECT_TIMEOUT", 0.3)
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT", 0.3)
    database = behind(postgres_front, engine)
    await database.open()
    await asyncio.gather(*(rows(database, "SELECT pg_sleep(0.01)") for _ in range(5)))
    postgres_front.silent = True
    async with asyncio.timeout(LONGEST_WAIT):
        crowd = [execute(database, "INSERT INTO things (id) VALUES ($1)", number) for number in range(10, 40)]
        refused = await asyncio.gather(*crowd, return_exceptions=True)
    assert [type(each) for each in refused] == [StorageUnavailable] * 30
    postgres_front.silent = False
    async with asyncio.timeout(LONGEST_WAIT):
        assert await execute(database, "INSERT INTO things (id) VALUES (3)") == 1
        await database.close()
    assert await rows(shelf, "SELECT id FROM things ORDER BY id") == [{"id": 1}, {"id": 2}, {"id": 3}]


async def test_who_migrates_is_waited_for_however_long_it_takes(
    engine: PostgresEngine, shelf: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
):
    """Neither a long statement of a migration nor the wait for another process's is cut short like others."""
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT", 0.1)
    one, other = engine.database(), engine.database()
    for database in (one, other):
        await database.open()
    started = asyncio.Event()

    async def steps(tx: SqlTransaction, number: int) -> None:
        started.set()
        await tx.execute("SELECT pg_sleep(0.3)")
        await tx.execute("INSERT INTO things (id) VALUES ($1)", number)

    first = asyncio.create_task(one.transact_alone(steps, 3))
    await started.wait()
    async with asyncio.timeout(LONGEST_WAIT):
        await asyncio.gather(first, other.transact_alone(steps, 4))
    assert len(await rows(shelf, "SELECT id FROM things")) == 4
    for database in (one, other):
        await database.close()


async def test_who_migrates_holds_up_nobody_while_a_table_is_in_use(
    engine: PostgresEngine, shelf: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
):
    """It waits for a table in short turns, between which others use it, and goes on when it is free."""
    monkeypatch.setattr(postgres, "LOCK_TIMEOUT", 0.1)
    monkeypatch.setattr(postgres, "LONGEST_ALONE_PAUSE", 0.1)
    migrating = engine.database()
    await migrating.open()
    gate = engine.gate()

    async def back_up(tx: SqlTransaction) -> None:
        await tx.fetch("SELECT id FROM things")
        await gate.hold()

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("ALTER TABLE things ADD COLUMN size BIGINT")

    backing_up = asyncio.create_task(shelf.read(back_up))
    await gate.arrived()
    migration = asyncio.create_task(migrating.transact_alone(steps))
    await engine.wait_until_blocked()
    async with asyncio.timeout(LONGEST_WAIT):
        assert await execute(shelf, "UPDATE things SET label = 'in time' WHERE id = 1") == 1
    assert not migration.done()
    gate.open()
    await backing_up
    async with asyncio.timeout(LONGEST_WAIT):
        await migration
    assert await rows(shelf, "SELECT size, label FROM things WHERE id = 1") == [{"size": None, "label": "in time"}]
    await migrating.close()


async def test_who_migrates_gives_up_in_the_end(
    engine: PostgresEngine, shelf: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
):
    """A table that stays in use ends the attempt with a refusal that tells what to look for, and nothing changed."""
    monkeypatch.setattr(postgres, "LOCK_TIMEOUT", 0.05)
    monkeypatch.setattr(postgres, "LONGEST_ALONE_PAUSE", 0.01)
    monkeypatch.setattr(postgres, "ALONE_RUNS", 3)
    gate = engine.gate()

    async def back_up(tx: SqlTransaction) -> None:
        await tx.fetch("SELECT id FROM things")
        await gate.hold()

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("CREATE TABLE others (id BIGINT)")
        await tx.execute("DROP TABLE things")

    backing_up = asyncio.create_task(shelf.read(back_up))
    await gate.arrived()
    async with asyncio.timeout(LONGEST_WAIT):
        with pytest.raises(StorageUnavailable, match=r"in each of 3 runs: .*pg_stat_activity"):
            await shelf.transact_alone(steps)
    gate.open()
    await backing_up
    assert "others" not in await engine.tables()
    assert len(await rows(shelf, "SELECT id FROM things")) == 2


async def test_runs_are_apart_by_a_pause_of_chance(shelf: PostgresDatabase, monkeypatch: pytest.MonkeyPatch):
    """Who met a conflict waits up to the longest pause before the next run, so that two do not meet again and again."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(postgres.asyncio, "sleep", noted)
    with pytest.raises(StorageUnavailable):
        await shelf.transact(fail, CONFLICTS[0])
    pauses = [pause for pause in pauses if pause]
    assert len(set(pauses)) == len(pauses) == MOST_RUNS - 1
    assert 0 < min(pauses) < max(pauses) < postgres.LONGEST_PAUSE


async def test_what_does_not_end_does_not_hold_up_the_close(
    engine: PostgresEngine, shelf: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
):
    """A transaction that is still under way some time after the close is cut off, told so, and undone."""
    monkeypatch.setattr(postgres, "CLOSE_TIMEOUT", 0.1)
    ending = engine.database()
    await ending.open()
    held, never = asyncio.Event(), asyncio.Event()

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("UPDATE things SET label = 'mine' WHERE id = 1")
        held.set()
        await never.wait()
        await tx.execute("UPDATE things SET label = 'mine' WHERE id = 2")

    under_way = asyncio.create_task(ending.transact(steps))
    await held.wait()
    async with asyncio.timeout(LONGEST_WAIT):
        await ending.close()
        never.set()
        with pytest.raises(StorageUnavailable):
            await under_way
        assert await execute(shelf, "UPDATE things SET label = 'theirs' WHERE id = 1") == 1
    assert await rows(shelf, "SELECT label FROM things ORDER BY id") == [{"label": "theirs"}, {"label": ""}]


async def test_a_statement_that_takes_too_long_is_refused(
    engine: PostgresEngine, shelf: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
):
    """A statement without an answer ends with a refusal, and is stopped in the server too; nothing remains."""
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT", 0.1)
    hasty = PostgresDatabase(engine.schema.url)
    await hasty.open()

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("INSERT INTO things (id) VALUES (3)")
        await tx.execute("SELECT pg_sleep(60)")

    with pytest.raises(StorageUnavailable):
        await hasty.transact(steps)
    await engine.prove_idle()
    assert len(await rows(hasty, "SELECT id FROM things")) == 2
    await hasty.close()
