"""The one seam between the stores and a database: open, transact, fetch, execute, and the instant of a transaction.

Statements number their parameters `$1`, `$2`, …, in any order and as often as they like, on both drivers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar, TypeVarTuple

Row = Mapping[str, Any]
"""One row; columns by name."""
Value = str | int | bytes | None
"""What a parameter may be."""

T = TypeVar("T")
Args = TypeVarTuple("Args")


class SqlTransaction(Protocol):
    """One transaction. Steps await only these methods."""

    @property
    def now(self) -> int:
        """The instant of the transaction, in milliseconds since the epoch, UTC."""

    async def fetch(self, sql: str, *values: Value) -> list[Row]:
        """Run a statement and return its rows."""

    async def fetch_one(self, sql: str, *values: Value) -> Row | None:
        """Run a statement and return its first row."""

    async def fetch_dated(self, sql: str, *values: Value) -> Row | None:
        """Run a query and return its row; from here on `now` is known where it was not."""

    async def execute(self, sql: str, *values: Value) -> int:
        """Run a statement and return how many rows it changed."""

    @property
    def nests_changes(self) -> bool:
        """Whether a statement may change two tables: a change in the WITH of another."""


class Database(Protocol):
    """A database. All methods raise `StorageUnavailable` when it does not answer."""

    @property
    def find_table(self) -> str:
        """The statement that returns a row if there is a table named `$1`."""

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect, after what is under way."""

    async def transact(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` in a transaction that writes; returns once it is durable."""

    async def change_once(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what `transact` does, for steps that look with `fetch_dated` and end with one change, made by `execute`.

        A statement that changes no row is not that change. Where a transaction costs messages, this one costs none.
        """

    async def transact_alone(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what `transact` does, while no other process does this; waits for them, and takes the time it needs."""

    async def read(self, steps: Callable[[SqlTransaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` on one consistent state; writing fails."""

    async def revision(self) -> int | str:
        """Return what differs from the last one whenever a revocation may have been added since."""
