"""What the SQLite driver promises beyond the contracts: its settings, its file, its waiting, its refusals."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.settable_clock import SettableClock
from tests.storage.contracts import Processes, SqliteEngine, execute, rows
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.storage.sql import sqlite
from tokenkeep.storage.sql.database import SqlTransaction
from tokenkeep.storage.sql.sqlite import SqliteDatabase


@pytest.fixture
def engine(tmp_path: Path, clock: SettableClock) -> SqliteEngine:
    """SQLite only."""
    return SqliteEngine(tmp_path, clock)


@pytest.fixture
async def shelf(processes: Processes) -> SqliteDatabase:
    """A database with one table to put things in."""
    database = await processes.database()
    assert isinstance(database, SqliteDatabase)
    await execute(database, "CREATE TABLE things (id BIGINT NOT NULL PRIMARY KEY, raw BYTEA)")
    return database


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)],
)
async def test_both_connections_keep_what_was_committed(shelf: SqliteDatabase, pragma: str, value: object):
    """A commit survives a power cut (a write-ahead log, synced in full), and references are enforced."""
    for worker in (shelf._writer, shelf._reader):
        assert await worker.run(lambda connection: connection.execute(f"PRAGMA {pragma}").fetchone()[0]) == value


async def test_the_reading_connection_cannot_write(shelf: SqliteDatabase):
    """The connection of `read` is one that refuses to write."""
    assert await shelf._reader.run(lambda connection: connection.execute("PRAGMA query_only").fetchone()[0]) == 1
    assert await shelf._writer.run(lambda connection: connection.execute("PRAGMA query_only").fetchone()[0]) == 0


async def test_the_files_are_their_owners_only(tmp_path: Path, clock: SettableClock):
    """Database, write-ahead log and index are 0600, whatever the process's umask says."""
    before = os.umask(0)
    try:
        database = SqliteDatabase(tmp_path / "tokenkeep.db", clock)
        await database.open()
        await execute(database, "CREATE TABLE things (id BIGINT)")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        await database.close()
    finally:
        os.umask(before)
    assert modes == {"tokenkeep.db": 0o600, "tokenkeep.db-wal": 0o600, "tokenkeep.db-shm": 0o600}


async def test_a_file_that_is_replaced_is_not_written_any_more(shelf: SqliteDatabase):
    """What would go into a file that has no name any more is refused; when the file is back, it goes on."""
    aside = shelf._path.with_name("aside")
    for replacement in (None, b"another database"):
        shelf._path.rename(aside)
        if replacement is not None:
            shelf._path.write_bytes(replacement)
        for refused in (
            execute(shelf, "INSERT INTO things (id) VALUES (1)"),
            rows(shelf, "SELECT * FROM things"),
            shelf.revision(),
        ):
            with pytest.raises(StorageUnavailable, match=r"moved or replaced .* tokenkeep recover"):
                await refused
        aside.rename(shelf._path)
        assert await rows(shelf, "SELECT * FROM things") == []


async def test_a_transaction_happens_at_the_instant_of_the_clock(shelf: SqliteDatabase, clock: SettableClock):
    """`tx.now` is what the injected clock says, in both kinds of transaction."""

    async def instant(tx: SqlTransaction) -> int:
        return tx.now

    for _ in range(2):
        assert await shelf.transact(instant) == await shelf.read(instant) == clock.now()
        clock.advance(1_234)


@pytest.mark.parametrize("kind", ["transact", "read"])
async def test_steps_that_await_something_else_are_a_mistake(shelf: SqliteDatabase, kind: str):
    """Steps may await the transaction only; whatever else they wait for, they are stopped with an explanation."""
    future = asyncio.get_running_loop().create_future()

    async def steps(tx: SqlTransaction, other: Awaitable[None]) -> None:
        await tx.fetch("SELECT 1")
        await other

    for other in (asyncio.sleep(0), future):
        with pytest.raises(RuntimeError, match="something else than the transaction"):
            await getattr(shelf, kind)(steps, other)
    assert await execute(shelf, "INSERT INTO things (id) VALUES (1)") == 1


async def test_nothing_remains_of_steps_that_await_something_else(shelf: SqliteDatabase):
    """What they had changed before the mistake is undone."""

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("INSERT INTO things (id) VALUES (1)")
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError):
        await shelf.transact(steps)
    assert await rows(shelf, "SELECT id FROM things") == []


def run_elsewhere(path: Path, sql: str) -> list[list[object]]:
    """Run a statement in another process, which opens the database, commits and closes it, as a command does."""
    script = (
        "import json, sqlite3, sys; connection = sqlite3.connect(sys.argv[1]); "
        "found = connection.execute(sys.argv[2]).fetchall(); connection.commit(); connection.close(); "
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path), sql], capture_output=True, check=True)
    found: list[list[object]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("opened", ["when it was made", "again", "twice"])
async def test_other_processes_come_and_go_while_the_database_is_open(
    engine: SqliteEngine, processes: Processes, shelf: SqliteDatabase, opened: str
):
    """A process that closes the database leaves it to those that have it open: each sees what the others commit.

    A process whose locks were lost would have its write-ahead log deleted by the next one that closes the database,
    and would go on writing to a file that nobody else has.
    """
    if opened == "again":
        await shelf.close()
        await shelf.open()
    if opened == "twice":
        await rows(shelf, "SELECT id FROM things")
        await processes.database()
    for number in (1, 3, 5):
        await execute(shelf, "INSERT INTO things (id) VALUES ($1)", number)
        run_elsewhere(engine.path, f"INSERT INTO things (id) VALUES ({number + 1})")
        assert await rows(shelf, "SELECT max(id) AS last FROM things") == [{"last": number + 1}]
        assert run_elsewhere(engine.path, "SELECT count(*) FROM things") == [[number + 1]]
        assert engine.path.with_name("tokenkeep.db-wal").exists()


async def test_a_writer_waits_for_another_process_and_then_gives_up(
    engine: SqliteEngine, shelf: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
):
    """While another process writes, reading goes on; writing waits, and is refused when it takes too long."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    hasty = engine.database()
    await hasty.open()
    connection = sqlite3.connect(engine.path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO things (id) VALUES (1)")
        assert await rows(hasty, "SELECT id FROM things") == []
        with pytest.raises(StorageUnavailable, match="locked"):
            await execute(hasty, "INSERT INTO things (id) VALUES (2)")
        patient = asyncio.create_task(execute(shelf, "INSERT INTO things (id) VALUES (3)"))
        connection.execute("COMMIT")
        assert await patient == 1
    finally:
        connection.close()
        await hasty.close()
    assert await rows(shelf, "SELECT id FROM things ORDER BY id") == [{"id": 1}, {"id": 3}]


async def test_a_full_disk_refuses_and_loses_nothing(shelf: SqliteDatabase):
    """When there is no room, a change is refused as unavailable; what was there stays, and room makes it work again."""
    await execute(shelf, "INSERT INTO things (id, raw) VALUES (1, $1)", b"kept")
    pages = await shelf._writer.run(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])

    def set_limit(most: int) -> Callable[[sqlite3.Connection], object]:
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {most}").fetchone()

    await shelf._writer.run(set_limit(pages), transaction=False)
    large = "INSERT INTO things (id, raw) VALUES (2, $1)"
    with pytest.raises(StorageUnavailable, match="full"):
        await execute(shelf, large, bytes(100_000))
    assert await rows(shelf, "SELECT id, raw FROM things") == [{"id": 1, "raw": b"kept"}]
    await shelf._writer.run(set_limit(pages + 100), transaction=False)
    assert await execute(shelf, large, bytes(100_000)) == 1


@pytest.mark.parametrize("obstacle", ["no database", "no directory", "a directory"])
async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, clock: SettableClock, obstacle: str):
    """What cannot be opened is said to be unavailable, and is left as it is; closing afterwards is no mistake."""
    path = tmp_path / "tokenkeep.db"
    if obstacle == "no database":
        path.write_bytes(b"this is a letter to a friend, and no database\n" * 50)
    elif obstacle == "a directory":
        path.mkdir()
    else:
        path = tmp_path / "nowhere" / "tokenkeep.db"
    before = path.read_bytes() if path.is_file() else None
    database = SqliteDatabase(path, clock)
    with pytest.raises(StorageUnavailable):
        await database.open()
    await database.close()
    assert (path.read_bytes() if path.is_file() else None) == before


async def test_an_old_library_is_refused(tmp_path: Path, clock: SettableClock, monkeypatch: pytest.MonkeyPatch):
    """A SQLite that does not know RETURNING is refused when the database is opened, with its version."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    database = SqliteDatabase(tmp_path / "tokenkeep.db", clock)
    with pytest.raises(StorageUnavailable, match=r"3\.35 or later"):
        await database.open()
    await database.close()
