"""The PostgreSQL driver, on asyncpg: a pool of connections, and reruns of transactions that met a conflict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple, cast

import asyncpg

from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.storage.sql.database import Row, SqlTransaction, Value

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

T = TypeVar("T")
Args = TypeVarTuple("Args")

MOST_RUNS: Final = 5
"""How often a transaction is tried when the database breaks a conflict at its cost."""
CONNECT_TIMEOUT: Final = 5.0
"""Seconds to wait for a connection."""
STATEMENT_TIMEOUT: Final = 10.0
"""Seconds to wait for an answer."""

_CONFLICTS: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_OUTAGES: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)


class PostgresTransaction:
    """One transaction on a connection, stamped by the database's clock."""

    __slots__ = ("_connection", "now")

    def __init__(self, connection: PoolConnectionProxy[asyncpg.Record], now: int) -> None:
        self._connection = connection
        self.now = now

    async def fetch(self, sql: str, *values: Value) -> list[Row]:
        """Run a statement and return its rows."""
        return cast("list[Row]", await self._connection.fetch(sql, *values))

    async def fetch_one(self, sql: str, *values: Value) -> Row | None:
        """Run a statement and return its first row."""
        return cast("Row | None", await self._connection.fetchrow(sql, *values))

    async def execute(self, sql: str, *values: Value) -> int:
        """Run a statement and return how many rows it changed."""
        status = await self._connection.execute(sql, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0


class PostgresDatabase:
    """A PostgreSQL database, shared by any number of processes."""

    migration_lock = "SELECT pg_advisory_xact_lock(7237716031)"
    find_table = "SELECT $1::text AS name WHERE to_regclass($1::text) IS NOT NULL"

    def __init__(self, url: str, *, connections: int = 10) -> None:
        self._url = url
        self._connections = connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            StorageUnavailable: the database does not answer or refuses the credentials.
        """
        with _outages_named():
            try:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=self._connections,
                    timeout=CONNECT_TIMEOUT,
                    command_timeout=STATEMENT_TIMEOUT,
                    server_settings={"application_name": "tokenkeep", "synchronous_commit": "on"},
                )
            except ValueError:
                # What cannot be read as an address is not repeated: it holds a password.
                raise StorageUnavailable("PostgreSQL: database_url cannot be read as an address") from None

    async def close(self) -> None:
        """Disconnect, after what is under way."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def transact(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` in a transaction that writes; returns once it is durable."""
        for _ in range(MOST_RUNS - 1):
            try:
                return await self._run(steps, args)
            except _CONFLICTS:
                continue
        try:
            return await self._run(steps, args)
        except _CONFLICTS as error:
            raise StorageUnavailable(f"PostgreSQL: {error}") from error

    async def read(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` on one consistent state; writing fails."""
        return await self._run(steps, args, isolation="repeatable_read", readonly=True)

    async def revision(self) -> int:
        """Return the number of the last revocation."""
        async with self._connection() as connection:
            return int(await connection.fetchval("SELECT number FROM revocation_head"))

    async def _run(
        self,
        steps: Callable[..., Awaitable[T]],
        args: tuple[object, ...],
        *,
        isolation: str = "read_committed",
        readonly: bool = False,
    ) -> T:
        async with (
            self._connection() as connection,
            connection.transaction(isolation=isolation, readonly=readonly),  # type: ignore[arg-type]
        ):
            now = await connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
            return await steps(PostgresTransaction(connection, now), *args)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        if self._pool is None:
            raise StorageUnavailable("the database is not open")
        with _outages_named():
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
                yield connection


class _outages_named:  # noqa: N801  (used as a context manager)
    """Turns every way in which the database can be out of reach into `StorageUnavailable`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _OUTAGES) and not isinstance(error, StorageUnavailable):
            # Only the kind is kept: the text of a connection error may repeat the address with its password.
            raise StorageUnavailable(f"PostgreSQL: {type(error).__name__}") from error
