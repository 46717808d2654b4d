"""The engines that every storage contract is run on, each with one empty database and a look at it from outside."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

from tests.postgres_server import PostgresSchema
from tests.settable_clock import SettableClock
from tokenkeep.domain.audit import Event
from tokenkeep.domain.secrets import SecretRing
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.database import Database, Row, SqlTransaction, Value
from tokenkeep.storage.sql.migrate import migrate
from tokenkeep.storage.sql.postgres import PostgresDatabase
from tokenkeep.storage.sql.sqlite import SqliteDatabase
from tokenkeep.storage.sql.stores import SqlStorage

A = TypeVar("A")
B = TypeVar("B")

SECRET: Final = b"a server secret of thirty-two bytes or more"
LONGEST_WAIT: Final = 30.0
"""Seconds that a transaction is held before the test that holds it is called stuck."""


class Gate:
    """Holds a transaction in the middle of its steps until the test lets it go on."""

    def __init__(self, *, in_thread: bool) -> None:
        self._in_thread = in_thread
        self._arrived = threading.Event()
        self._opened = threading.Event()

    async def hold(self) -> None:
        """Await in the steps: on SQLite they may wait in their thread only, elsewhere in the event loop only."""
        self._arrived.set()
        opened = self._opened.wait(LONGEST_WAIT) if self._in_thread else await _wait(self._opened)
        assert opened, "the test never opened the gate"

    async def arrived(self) -> None:
        """Return when the transaction is held."""
        assert await _wait(self._arrived), "the transaction never came to its gate"

    def open(self) -> None:
        """Let the transaction go on."""
        self._opened.set()


class Engine(Protocol):
    """A kind of database with one empty database in it."""

    def database(self) -> Database:
        """Return a new handle on the database, as another process would have; not open."""

    def gate(self) -> Gate:
        """Return a gate for a transaction of this engine."""

    async def tables(self) -> set[str]:
        """Return the names of all tables, as seen from outside."""

    async def dump(self) -> bytes:
        """Return everything that is kept, byte for byte."""

    async def wait_until_blocked(self) -> None:
        """Return when a transaction waits for another's, where that can be seen."""

    async def prove_idle(self) -> None:
        """Fail if a transaction is open."""

    async def prove_closed(self) -> None:
        """Fail if a connection is open."""


class SqliteEngine:
    """SQLite, in a directory of its own."""

    def __init__(self, directory: Path, clock: SettableClock) -> None:
        self.path = directory / "tokenkeep.db"
        self.clock = clock

    def database(self) -> SqliteDatabase:
        """Return a new handle on the file."""
        return SqliteDatabase(self.path, self.clock)

    def gate(self) -> Gate:
        """Return a gate that holds the writing thread."""
        return Gate(in_thread=True)

    async def tables(self) -> set[str]:
        """Return the names of all tables."""
        connection = sqlite3.connect(self.path)
        try:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        finally:
            connection.close()

    async def dump(self) -> bytes:
        """Return the file, its write-ahead log and its index."""
        # Read by another process: to close a file here would drop the locks that open connections hold on it.
        files = sorted(self.path.parent.glob("tokenkeep.db*"))
        return subprocess.run(["cat", *files], capture_output=True, check=True).stdout

    async def wait_until_blocked(self) -> None:
        """Return at once: a waiting transaction of SQLite cannot be seen, and none can overtake another."""

    async def prove_idle(self) -> None:
        """Fail if a writing transaction is open, or a reading one holds back the write-ahead log."""
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert not busy, "a reading transaction is still open"
        finally:
            connection.close()

    async def prove_closed(self) -> None:
        """Fail if a connection is open: the last one to close removes the write-ahead log."""
        assert not [path.name for path in self.path.parent.glob("tokenkeep.db-*")]
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("sqlite-")]


async def overlapped(
    engine: Engine,
    first: tuple[SqlStorage, Callable[[Transaction], Awaitable[A]]],
    second: tuple[SqlStorage, Callable[[Transaction], Awaitable[B]]],
) -> tuple[A, B]:
    """Run two transactions, the second begun when the first has done all but commit; return what both returned."""
    gate = engine.gate()
    (storage, act), (other, follow) = first, second

    async def act_slowly(tx: Transaction) -> A:
        result = await act(tx)
        await gate.hold()
        return result

    acting = asyncio.create_task(storage.transact(act_slowly))
    await gate.arrived()
    following = asyncio.create_task(other.transact(follow))
    await engine.wait_until_blocked()
    gate.open()
    return await acting, await following


class PostgresEngine:
    """PostgreSQL, in a schema of its own."""

    def __init__(self, schema: PostgresSchema) -> None:
        self.schema = schema

    def database(self) -> PostgresDatabase:
        """Return a new pool."""
        return PostgresDatabase(self.schema.url)

    def gate(self) -> Gate:
        """Return a gate that holds one connection, not the event loop."""
        return Gate(in_thread=False)

    async def tables(self) -> set[str]:
        """Return the names of all tables."""
        return await self.schema.tables()

    async def dump(self) -> bytes:
        """Return every row."""
        return await self.schema.dump()

    async def wait_until_blocked(self) -> None:
        """Return when a transaction waits for a lock."""
        await self.schema.wait_until_blocked()

    async def prove_idle(self) -> None:
        """Fail if a connection is inside a transaction."""
        assert not await self.schema.open_transactions()

    async def prove_closed(self) -> None:
        """Fail if the server still has a connection after a while."""
        await self.schema.wait_until_left()


class PgbouncerEngine(PostgresEngine):
    """PostgreSQL behind a PgBouncer in transaction mode, whose few connections all processes share."""

    def __init__(self, schema: PostgresSchema, url: str) -> None:
        super().__init__(schema)
        self._url = url

    def database(self) -> PostgresDatabase:
        """Return a new pool that leads through it."""
        return PostgresDatabase(self._url)

    async def prove_closed(self) -> None:
        """Return at once: its connections to the server outlive ours, and end with it."""


class Processes:
    """Opens handles on one database, each as a process of its own would, and proves in the end that none leaked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._opened: list[Database] = []
        self.observed: list[Event] = []
        """The events that any of them told of, in order."""

    async def database(self) -> Database:
        """Return an open database without a schema, if nobody has made one."""
        database = self._engine.database()
        self._opened.append(database)
        await database.open()
        return database

    async def storage(self, *, secret: bytes = SECRET, previous: Sequence[bytes] = ()) -> SqlStorage:
        """Return storage with the schema of this version."""
        database = await self.database()
        await migrate(database)
        return SqlStorage(database, Sealer(SecretRing(secret, previous)), self.observed.append)

    async def close(self) -> None:
        """Close them all; nothing may be under way any more."""
        if not self._opened:
            return
        try:
            await self._engine.prove_idle()
        finally:
            for database in self._opened:
                await database.close()
        await self._engine.prove_closed()


async def rows(database: Database, sql: str, *values: Value) -> list[dict[str, Value]]:
    """Return what a query finds."""

    async def steps(tx: SqlTransaction) -> list[Row]:
        return await tx.fetch(sql, *values)

    return [dict(row) for row in await database.read(steps)]


async def execute(database: Database, sql: str, *values: Value) -> int:
    """Run a statement in a transaction of its own; returns how many rows it changed."""

    async def steps(tx: SqlTransaction) -> int:
        return await tx.execute(sql, *values)

    return await database.transact(steps)


async def _wait(event: threading.Event) -> bool:
    return await asyncio.to_thread(event.wait, LONGEST_WAIT)
