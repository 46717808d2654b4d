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
        "_tx",
        "accounts",
        "administrators",
        "audit",
        "revocations",
        "server_processes",
        "sessions",
        "signing_keys",
    )

    def __init__(self, tx: SqlTransaction, chest: KeyChest, recorded: list[Event]) -> None:
        self._tx = tx
        self.audit = SqlAuditLog(tx, recorded)
        self.accounts = SqlAccounts(tx)
        self.administrators = SqlAdministrators(tx)
        self.sessions = SqlSessions(tx, self.audit)
        self.signing_keys = SqlSigningKeys(tx, chest)
        self.revocations = SqlRevocations(tx)
        self.server_processes = SqlServerProcesses(tx)

    @property
    def now(self) -> int:
        """The instant of the transaction."""
        return self._tx.now


class SqlStorage:
    """Runs flows' steps in a database's transactions."""

    def __init__(self, database: Database, sealer: Sealer, observe: EventObserver) -> None:
        self._database = database
        self._chest = KeyChest(sealer)
        self._observe = observe

    async def transact(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` and return its result once everything it did is durable."""
        return await self._observed(self._database.transact, steps, args)

    async def change_once(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what `transact` does, for steps that find a session and end with one change of it."""
        return await self._observed(self._database.change_once, steps, args)

    async def read(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)`, which only reads, on one consistent state."""
        return await self._database.read(self._bind(steps, args, []))

    async def revision(self) -> int | str:
        """Return what differs from the last one whenever a revocation may have been added since."""
        return await self._database.revision()

    async def _observed(
        self, run: Callable[..., Awaitable[T]], steps: Callable[..., Awaitable[T]], args: tuple[object, ...]
    ) -> T:
        recorded: list[Event] = []
        result = await run(self._bind(steps, args, recorded))
        for event in recorded:
            self._observe(event)
        return result

    def _bind(
        self, steps: Callable[..., Awaitable[T]], args: tuple[object, ...], recorded: list[Event]
    ) -> Callable[[SqlTransaction], Awaitable[T]]:
        async def bound(tx: SqlTransaction) -> T:
            recorded.clear()  # what an earlier run recorded was rolled back with it
            return await steps(SqlStores(tx, self._chest, recorded), *args)

        return bound
