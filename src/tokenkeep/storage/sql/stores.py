"""All stores in one transaction, on any database (port `Storage`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

from tokenkeep.domain.audit import Event
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.accounts import SqlAccounts
from tokenkeep.storage.sql.administrators import SqlAdministrators
from tokenkeep.storage.sql.audit import SqlAuditLog
from tokenkeep.storage.sql.database import Database, SqlTransaction
from tokenkeep.storage.sql.revocations import SqlRevocations
from tokenkeep.storage.sql.server_processes import SqlServerProcesses
from tokenkeep.storage.sql.sessions import SqlSessions
from tokenkeep.storage.sql.signing_keys import KeyChest, SqlSigningKeys

T = TypeVar("T")
Args = TypeVarTuple("Args")


EventObserver = Callable[[Event], None]
"""Told of each event once it is committed."""


class SqlStores:
    """The stores of one transaction (port `Transaction`)."""

    __slots__ = (
        "accounts",
        "administrators",
        "audit",
        "now",
        "revocations",
        "server_processes",
        "sessions",
        "signing_keys",
    )

    def __init__(self, tx: SqlTransaction, chest: KeyChest, recorded: list[Event]) -> None:
        self.now = tx.now
        self.accounts = SqlAccounts(tx)
        self.administrators = SqlAdministrators(tx)
        self.sessions = SqlSessions(tx)
        self.signing_keys = SqlSigningKeys(tx, chest)
        self.revocations = SqlRevocations(tx)
        self.server_processes = SqlServerProcesses(tx)
        self.audit = SqlAuditLog(tx, recorded)


class SqlStorage:
    """Runs flows' steps in a database's transactions."""

    def __init__(self, database: Database, sealer: Sealer, observe: EventObserver) -> None:
        self._database = database
        self._chest = KeyChest(sealer)
        self._observe = observe

    async def transact(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` and return its result once everything it did is durable."""
        recorded: list[Event] = []
        result = await self._database.transact(self._bind(steps, args, recorded))
        for event in recorded:
            self._observe(event)
        return result

    async def read(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)`, which only reads, on one consistent state."""
        return await self._database.read(self._bind(steps, args, []))

    async def revision(self) -> int:
        """Return a number that differs from the last one whenever a revocation may have been added since."""
        return await self._database.revision()

    def _bind(
        self, steps: Callable[..., Awaitable[T]], args: tuple[object, ...], recorded: list[Event]
    ) -> Callable[[SqlTransaction], Awaitable[T]]:
        async def bound(tx: SqlTransaction) -> T:
            recorded.clear()  # what an earlier run recorded was rolled back with it
            return await steps(SqlStores(tx, self._chest, recorded), *args)

        return bound
