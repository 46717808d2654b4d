"""The SQLite driver: one writing and one reading thread (`sqlite_thread`), each transaction one hop.

Settings are those of a database whose commits must survive a power cut: WAL with `synchronous=FULL`, every writing
transaction `BEGIN IMMEDIATE`, so that two never deadlock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple, cast

from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.flows.ports import Clock
from tokenkeep.storage.file_access import explain as explain_file
from tokenkeep.storage.sql.database import Row, SqlTransaction, Value
from tokenkeep.storage.sql.sqlite_thread import BUSY_TIMEOUT, ConnectionThread

T = TypeVar("T")
Args = TypeVarTuple("Args")

OLDEST_SQLITE: Final = (3, 35, 0)
"""The first version that knows RETURNING."""


class SqliteTransaction:
    """One transaction on a connection; its coroutines never suspend."""

    nests_changes = False

    __slots__ = ("_connection", "now")

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self._connection = connection
        self.now = now

    async def fetch(self, sql: str, *values: Value) -> list[Row]:
        """Run a statement and return its rows."""
        return cast("list[Row]", self._run(sql, values).fetchall())

    async def fetch_one(self, sql: str, *values: Value) -> Row | None:
        """Run a statement and return its first row."""
        rows = self._run(sql, values).fetchall()
        return cast("Row", rows[0]) if rows else None

    async def fetch_dated(self, sql: str, *values: Value) -> Row | None:
        """Run a query and return its row."""
        return await self.fetch_one(sql, *values)

    async def execute(self, sql: str, *values: Value) -> int:
        """Run a statement and return how many rows it changed."""
        return self._run(sql, values).rowcount

    def _run(self, sql: str, values: tuple[Value, ...]) -> sqlite3.Cursor:
        # SQLite reads `$1` as a parameter *named* 1; a sequence would be bound by first appearance instead.
        return self._connection.execute(sql, {str(number): value for number, value in enumerate(values, 1)})


class SqliteDatabase:
    """A database in one file, for one server process and the commands beside it."""

    find_table = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = $1"

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._writer = ConnectionThread(path, self._connect, begin="BEGIN IMMEDIATE", name="sqlite-write")
        self._reader = ConnectionThread(path, self._connect_reader, begin="BEGIN", name="sqlite-read")

    async def open(self) -> None:
        """Connect, creating the file readable by its owner only.

        Raises:
            StorageUnavailable: the file cannot be opened or is no SQLite database.
        """
        self._create_file()
        await self._writer.start()
        await self._reader.start()

    async def close(self) -> None:
        """Disconnect, after what is under way."""
        await self._reader.stop()
        await self._writer.stop()

    async def transact(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` in a transaction that writes; returns once it is durable."""
        return await self._writer.run(lambda connection: self._drive(connection, steps, args))

    async def change_once(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what `transact` does: here a transaction costs nothing but its commit."""
        return await self.transact(steps, *args)

    async def transact_alone(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what `transact` does, while no other process does this: here that is so of every transaction."""
        return await self.transact(steps, *args)

    async def read(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` on one consistent state; writing fails."""
        return await self._reader.run(lambda connection: self._drive(connection, steps, args))

    async def revision(self) -> int:
        """Return SQLite's `data_version`, which changes with every commit on another connection."""
        return await self._reader.run(_data_version, transaction=False)

    def _create_file(self) -> None:
        """Make the file, readable by its owner only, if it is not there.

        A file that is there must not be opened here: closing any descriptor of it would drop the locks that
        connections of this process hold on it (POSIX), and another process could then delete the log under them.
        """
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise StorageUnavailable(f"SQLite: {explain_file(self._path, 'made', error)}") from None

    def _drive(self, connection: sqlite3.Connection, steps: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
        return _drive_to_end(steps(SqliteTransaction(connection, self._clock.now()), *args))

    def _connect(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StorageUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or later is needed")
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None, cached_statements=256)
        connection.row_factory = sqlite3.Row
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StorageUnavailable(
                    f"SQLite: {self._path} cannot keep a write-ahead log (it says {mode}); keep it on a local disk"
                )
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _drive_to_end(steps: Awaitable[T]) -> T:
    iterator = steps.__await__()
    try:
        next(iterator)
    except StopIteration as stop:
        return cast("T", stop.value)
    raise RuntimeError("the steps of a transaction awaited something else than the transaction")
