"""The SQLite driver: one writing and one reading thread, each transaction one hop.

Settings are those of a database whose commits must survive a power cut: WAL with `synchronous=FULL`, every writing
transaction `BEGIN IMMEDIATE`, so that two never deadlock.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple, cast

from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.flows.ports import Clock
from tokenkeep.storage.sql.database import Row, SqlTransaction, Value

T = TypeVar("T")
Args = TypeVarTuple("Args")

BUSY_TIMEOUT: Final = 5.0
"""Seconds a transaction waits for another process's before it gives up."""
OLDEST_SQLITE: Final = (3, 35, 0)
"""The first version that knows RETURNING."""


class SqliteTransaction:
    """One transaction on a connection; its coroutines never suspend."""

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
        self._writer = _Worker(self._connect, "BEGIN IMMEDIATE", "sqlite-write")
        self._reader = _Worker(self._connect_reader, "BEGIN", "sqlite-read")

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
            raise StorageUnavailable(f"SQLite: {self._path}: {error.strerror}") from None

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
                raise StorageUnavailable(f"SQLite: {self._path} cannot keep a write-ahead log (it says {mode})")
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


class _Worker:
    """A thread with a connection of its own, on which it runs one transaction after the other."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], begin: str, name: str) -> None:
        self._connect = connect
        self._begin = begin
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def start(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        await self._hop(self._open)

    async def stop(self) -> None:
        if self._thread is not None:
            await self._hop(self._close)
            self._thread.shutdown()
            self._thread = None

    async def run(self, work: Callable[[sqlite3.Connection], T], *, transaction: bool = True) -> T:
        asked_at = time.monotonic()
        return await self._hop(lambda: self._transact(work, asked_at) if transaction else work(self._held()))

    async def _hop(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            raise StorageUnavailable("the database is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.NotSupportedError):
            raise  # a mistake in a statement, and no trouble of the database
        except sqlite3.DatabaseError as error:
            raise StorageUnavailable(f"SQLite: {error}") from error

    def _transact(self, work: Callable[[sqlite3.Connection], T], asked_at: float) -> T:
        connection = self._held()
        # Those who waited in the queue while another program held the database do not begin to wait anew.
        patience = max(0.0, BUSY_TIMEOUT - (time.monotonic() - asked_at))
        if patience < BUSY_TIMEOUT - 1:
            connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        try:
            connection.execute(self._begin)
        finally:
            if patience < BUSY_TIMEOUT - 1:
                connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _held(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageUnavailable("the database is not open")
        return self._connection

    def _open(self) -> None:
        self._connection = self._connect()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _drive_to_end(steps: Awaitable[T]) -> T:
    iterator = steps.__await__()
    try:
        next(iterator)
    except StopIteration as stop:
        return cast("T", stop.value)
    raise RuntimeError("the steps of a transaction awaited something else than the transaction")
