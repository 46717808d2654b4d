"""Administrators in SQL: their rows are taken by an update that changes nothing, the one row lock both engines have."""

from __future__ import annotations

from tokenkeep.domain.accounts import ADMIN_ROLE
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.storage.sql.database import SqlTransaction


class SqlAdministrators:
    """The statements of one transaction that keep administrators what they are (port `AdministratorStore`)."""

    __slots__ = ("_tx",)

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    async def take(self, account_id: AccountId, *, token_version: int) -> bool:
        """Take the row of an enabled administrator; False if the account is none, or has another token version."""
        taken = await self._tx.execute(
            """
            UPDATE accounts SET role = role
            WHERE id = $1 AND token_version = $2 AND role = $3 AND disabled_at IS NULL
            """,
            account_id,
            token_version,
            ADMIN_ROLE,
        )
        return taken == 1

    async def take_all(self) -> list[AccountId]:
        """Take the rows of all who can log in and act as administrators, and return who they are.

        Who has a temporary password cannot: it may have ended, or end unused.
        """
        rows = await self._tx.fetch(
            """
            UPDATE accounts SET role = role
            WHERE role = $1 AND disabled_at IS NULL AND password_hash IS NOT NULL AND password_expires_at IS NULL
            RETURNING id
            """,
            ADMIN_ROLE,
        )
        return [AccountId(row["id"]) for row in rows]
