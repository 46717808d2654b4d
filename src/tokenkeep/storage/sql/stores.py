"""All stores in one transaction, on any database (port `Storage`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.accounts import SqlAccounts
from tokenkeep.storage.sql.audit import SqlAuditLog
from tokenkeep.storage.sql.database import Database, SqlTransaction
from tokenkeep.storage.sql.revocations import SqlRevocations
from tokenkeep.storage.sql.sessions import SqlSessions
from tokenkeep.storage.sql.signing_keys import SqlSigningKeys

T = TypeVar("T")
Args = TypeVarTuple("Args")


class SqlStores:
    """The stores of one transaction (port `Transaction`)."""

    __slots__ = ("accounts", "audit", "now", "revocations", "sessions", "signing_keys")

    def __init__(self, tx: SqlTransaction, sealer: Sealer) -> None:
        self.now = tx.now
        self.accounts = SqlAccounts(tx)
        self.sessions = SqlSessions(tx)
        self.signing_keys = SqlSigningKeys(tx, sealer)
        self.revocations = SqlRevocations(tx)
        self.audit = SqlAuditLog(tx)


class SqlStorage:
    """Runs flows' steps in a database's transactions."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def transact(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` and return its result once everything it did is durable."""
        return await self._database.transact(self._bind(steps, args))

    async def read(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)`, which only reads, on one consistent state."""
        return await self._database.read(self._bind(steps, args))

    async def revision(self) -> int:
        """Return a number that differs from the last one whenever a revocation may have been added since."""
        return await self._database.revision()

    def _bind(
        self, steps: Callable[..., Awaitable[T]], args: tuple[object, ...]
    ) -> Callable[[SqlTransaction], Awaitable[T]]:
        async def bound(tx: SqlTransaction) -> T:
            return await steps(SqlStores(tx, self._sealer), *args)

        return bound
