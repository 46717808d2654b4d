"""The PostgreSQL driver, on asyncpg: a pool of connections, and reruns of transactions that met a conflict."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.storage.address_error import AddressError
from tokenkeep.storage.sql.database import SqlTransaction
from tokenkeep.storage.sql.postgres_address import UNREADABLE, PostgresAddress
from tokenkeep.storage.sql.postgres_connections import Connections
from tokenkeep.storage.sql.postgres_outages import OUTAGES, explain_outage
from tokenkeep.storage.sql.postgres_transaction import CLOCK, PostgresChange, PostgresTransaction
from tokenkeep.storage.sql.revocations import HEADLESS

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    _Connection = PoolConnectionProxy[asyncpg.Record]

T = TypeVar("T")
Args = TypeVarTuple("Args")

STATEMENTS: Final = 100
"""How many statements a connection keeps prepared; there are fewer."""
MOST_RUNS: Final = 5
"""How often a transaction is tried when the database breaks a conflict at its cost."""
LONGEST_PAUSE: Final = 0.05
"""Seconds between two runs, at most."""
CONNECT_TIMEOUT: Final = 5.0
"""Seconds to wait for a connection."""
STATEMENT_TIMEOUT: Final = 10.0
"""Seconds to wait for an answer."""
ALONE_TIMEOUT: Final = 3600.0
"""Seconds to wait for an answer where the time it takes depends on how much is stored, or on another process."""
ALONE_RUNS: Final = 60
"""How often such a transaction is tried when what it wants to change is in use."""
LOCK_TIMEOUT: Final = 2.0
"""Seconds that such a transaction may wait for a table, since everyone else who wants the table waits behind it."""
LONGEST_ALONE_PAUSE: Final = 1.0
"""Seconds between two runs of such a transaction, at most."""
CLOSE_TIMEOUT: Final = 3.0
"""Seconds that transactions under way get to come to their end."""
IDLE_TIMEOUT: Final = 15.0
"""Seconds after which the server undoes a transaction from which it hears nothing."""

_CONFLICTS: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    # After another process has migrated the database.
    asyncpg.InvalidCachedStatementError,
)
"""What another run may not meet again."""
_ALONE: Final = 7237716031
"""The advisory lock of those who want to be alone."""
_LAST_REVOCATION: Final = """
SELECT concat_ws(' ', head.number, found.revoked_at, found.value)
FROM revocation_head AS head LEFT JOIN revocations AS found ON found.number = head.number
"""
_NAME: Final = {"application_name": "tokenkeep"}
_SESSION: Final = {
    "synchronous_commit": "on",
    # A process that stops in the middle of a transaction, or is cut off, must not keep its locks for ever.
    "idle_in_transaction_session_timeout": f"{IDLE_TIMEOUT:.0f}s",
}
"""What every transaction relies on: set for the session or, where a transaction may get any session, in each."""


async def _nothing_to_reset(_connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Do nothing."""


class PostgresDatabase:
    """A PostgreSQL database, shared by any number of processes."""

    find_table = "SELECT $1::text AS name WHERE to_regclass($1::text) IS NOT NULL"

    def __init__(self, url: str, *, connections: int = 10) -> None:
        self._url = url
        self._connections = connections
        self._address: PostgresAddress | None = None
        self._lending: Connections | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            StorageUnavailable: the address cannot be read, or the database does not answer or does not let us in.
        """
        try:
            self._address = PostgresAddress.parse(self._url)
            pooled = self._address.pooled
            pool = await asyncpg.create_pool(
                self._address.url,
                # What the address says of these was read already; the driver would read it otherwise.
                host=[host for host, _ in self._address.hosts],
                port=[port for _, port in self._address.hosts],
                ssl=self._address.tls(),
                target_session_attrs=SessionAttribute.primary,
                # Connections are made when they are wanted: the pool tells of those it keeps up itself with a trace.
                min_size=0,
                max_size=self._connections,
                # Transactions leave nothing behind in their session, and a commit is not to be followed by a failure.
                reset=_nothing_to_reset,
                command_timeout=STATEMENT_TIMEOUT,
                server_settings=_NAME if pooled else _NAME | _SESSION,
                # The next transaction may get a session in which a statement was not prepared, or as another one.
                statement_cache_size=0 if pooled else STATEMENTS,
                max_cached_statement_lifetime=0,  # for ever: to prepare one again is a message more
            )
            self._lending = Connections(pool)
            async with self._connection():
                pass
        except AddressError as error:
            raise StorageUnavailable(f"PostgreSQL: {error}") from None
        except ValueError:
            # The driver's text may repeat what it cannot read.
            raise StorageUnavailable(f"PostgreSQL: {AddressError(*UNREADABLE)}") from None

    async def close(self) -> None:
        """Disconnect, after what is under way; what does not come to its end soon is cut off and undone."""
        if self._lending is not None:
            lending, self._lending = self._lending, None
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await lending.close()
            except TimeoutError:
                lending.terminate()

    async def transact(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` in a transaction that writes; returns once it is durable."""

        async def attempt(connection: _Connection) -> T:
            async with self._transaction(connection, patience=STATEMENT_TIMEOUT) as tx:
                return await steps(tx, *args)

        return await self._run_until_it_passes(attempt)

    async def change_once(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what `transact` does for steps that end with their one change, in one message for each statement."""

        if self._pooled:
            return await self.transact(steps, *args)  # a statement by itself would have none of the settings

        async def attempt(connection: _Connection) -> T:
            return await steps(PostgresChange(connection, STATEMENT_TIMEOUT), *args)

        return await self._run_until_it_passes(attempt)

    async def transact_alone(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what `transact` does, while no other process does this; waits for them, and takes the time it needs."""

        async def attempt(connection: _Connection) -> T:
            async with self._transaction(connection, patience=ALONE_TIMEOUT) as tx:
                await tx.execute("SELECT pg_advisory_xact_lock($1)", _ALONE)
                await tx.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
                return await steps(tx, *args)

        return await self._run_until_it_passes(attempt, runs=ALONE_RUNS, longest_pause=LONGEST_ALONE_PAUSE)

    async def read(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` on one consistent state; writing fails."""

        async def attempt(connection: _Connection) -> T:
            async with self._transaction(connection, patience=STATEMENT_TIMEOUT, reading=True) as tx:
                return await steps(tx, *args)

        return await self._run_until_it_passes(attempt)

    async def revision(self) -> str:
        """Return the number of the last revocation, and what tells that one from another which had it before."""
        async with self._connection() as connection:
            found: str | None = await connection.fetchval(_LAST_REVOCATION)
        if found is None:
            raise StorageUnavailable(HEADLESS)
        return found

    async def _run_until_it_passes(
        self,
        attempt: Callable[[_Connection], Awaitable[T]],
        *,
        runs: int = MOST_RUNS,
        longest_pause: float = LONGEST_PAUSE,
    ) -> T:
        for run in range(runs):
            if run > 0:
                # Time for the other one to finish: whoever runs again at once may take the same row before it again.
                await asyncio.sleep(random.random() * longest_pause)  # noqa: S311 - jitter, not a secret
            try:
                async with self._connection() as connection:
                    return await attempt(connection)
            except _CONFLICTS:
                continue
        raise StorageUnavailable(
            f"PostgreSQL: a transaction met another in its way in each of {runs} runs: "
            "look in pg_stat_activity for one that does not end, such as a backup"
        )

    @property
    def _pooled(self) -> bool:
        return self._address is not None and self._address.pooled

    @asynccontextmanager
    async def _transaction(
        self, connection: _Connection, *, patience: float, reading: bool = False
    ) -> AsyncIterator[PostgresTransaction]:
        async with connection.transaction(
            isolation="repeatable_read" if reading else "read_committed", readonly=reading
        ):
            if self._pooled:
                await connection.execute("; ".join(f"SET LOCAL {name} = '{to}'" for name, to in _SESSION.items()))
            now = await connection.fetchval(f"SELECT {CLOCK}")
            yield PostgresTransaction(connection, now, patience)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        if self._lending is None:
            raise StorageUnavailable("the database is not open")
        with self._outages_named():
            async with self._lending.lent(CONNECT_TIMEOUT) as connection:
                yield connection

    @contextmanager
    def _outages_named(self) -> Iterator[None]:
        """Turn every way in which the database can be out of reach into `StorageUnavailable`."""
        try:
            yield
        except OUTAGES as error:
            assert self._address is not None
            raise explain_outage(error, self._address) from error
