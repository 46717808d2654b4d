"""Transactions on a connection to PostgreSQL: one between BEGIN and COMMIT, and one that is a single statement.

Not here: connections, and when a transaction is run again (`postgres`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from tokenkeep.storage.sql.database import Row, Value

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

CLOCK: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
"""The instant, by the database's clock."""


class PostgresTransaction:
    """One transaction on a connection, stamped by the database's clock."""

    nests_changes = True

    __slots__ = ("_connection", "_patience", "now")

    def __init__(self, connection: PoolConnectionProxy[asyncpg.Record], now: int, patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self.now = now

    async def fetch(self, sql: str, *values: Value) -> list[Row]:
        """Run a statement and return its rows."""
        return cast("list[Row]", await self._connection.fetch(sql, *values, timeout=self._patience))

    async def fetch_one(self, sql: str, *values: Value) -> Row | None:
        """Run a statement and return its first row."""
        return cast("Row | None", await self._connection.fetchrow(sql, *values, timeout=self._patience))

    async def fetch_dated(self, sql: str, *values: Value) -> Row | None:
        """Run a query and return its row."""
        return await self.fetch_one(sql, *values)

    async def execute(self, sql: str, *values: Value) -> int:
        """Run a statement and return how many rows it changed."""
        return _count(await self._connection.execute(sql, *values, timeout=self._patience))


class PostgresChange:
    """Looks, each by itself, and then one statement that is a transaction of its own.

    A transaction between BEGIN and COMMIT that reads before it writes would find and lock nothing else: at READ
    COMMITTED each statement sees what was committed before it, and the one that writes looks at its row again.
    """

    nests_changes = True

    __slots__ = ("_changed", "_connection", "_now", "_patience")

    def __init__(self, connection: PoolConnectionProxy[asyncpg.Record], patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self._now: int | None = None
        self._changed = False

    @property
    def now(self) -> int:
        """The instant of the last look that found something."""
        if self._now is None:
            raise RuntimeError("the instant is not known before something was found")
        return self._now

    async def fetch(self, *_: object) -> list[Row]:
        """Refuse: a statement that changes something and returns rows would not be noticed."""
        raise RuntimeError("a transaction of one change looks with fetch_dated only")

    async def fetch_one(self, *_: object) -> Row | None:
        """Refuse, as `fetch` does."""
        raise RuntimeError("a transaction of one change looks with fetch_dated only")

    async def fetch_dated(self, sql: str, *values: Value) -> Row | None:
        """Run a query and return its row, whose instant is `now` from here on."""
        self._check_unchanged()
        dated = f"SELECT found.*, {CLOCK} AS dated FROM ({sql}) AS found"
        row = await self._connection.fetchrow(dated, *values, timeout=self._patience)
        if row is not None:
            self._now = row["dated"]
        return cast("Row | None", row)

    async def execute(self, sql: str, *values: Value) -> int:
        """Run the statement that is the transaction; returns how many rows it changed, durably."""
        self._check_unchanged()
        count = _count(await self._connection.execute(sql, *values, timeout=self._patience))
        self._changed = count > 0
        return count

    def _check_unchanged(self) -> None:
        if self._changed:
            raise RuntimeError("nothing may follow the one change, which is durable already")


def _count(status: str) -> int:
    count = status.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0
