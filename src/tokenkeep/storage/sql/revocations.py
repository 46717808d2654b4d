"""Revocations in SQL: an append-only list, numbered without gaps in commit order."""

from __future__ import annotations

from typing import Final

from tokenkeep.contract.revocation import RevocationKind
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.domain.history import Position
from tokenkeep.domain.revocations import NumberedRevocation, Revocation, expiry_of
from tokenkeep.storage.sql.database import Row, SqlTransaction

HEADLESS: Final = "the table revocation_head has lost its row: put back a backup, and run: tokenkeep recover"


class SqlRevocations:
    """The revocation statements of one transaction (port `RevocationStore`)."""

    __slots__ = ("_tx",)

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    async def append(self, revocation: Revocation) -> None:
        """Append one. The last operation of its transaction: from here on others wait for the commit."""
        head = await self._head("UPDATE revocation_head SET number = number + 1 RETURNING number, longest_access_life")
        await self._tx.execute(
            """
            INSERT INTO revocations (number, kind, value, version, revoked_at, expires_at, reason, actor)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            """,
            head["number"],
            revocation.kind.value,
            revocation.value,
            revocation.version,
            revocation.revoked_at,
            expiry_of(revocation, head["longest_access_life"]),
            revocation.reason,
            revocation.actor,
        )

    async def after(self, number: int, *, now: int) -> list[NumberedRevocation]:
        """Return the unexpired ones with a greater number, in order."""
        rows = await self._tx.fetch(
            """
            SELECT number, kind, value, version, revoked_at, expires_at, reason, actor FROM revocations
            WHERE number > $1 AND expires_at > $2
            ORDER BY number
            """,
            number,
            now,
        )
        return [_numbered(row) for row in rows]

    async def position(self) -> Position:
        """Return where the list stands; the epoch is empty in a database that has never been served."""
        head = await self._head("SELECT epoch, number FROM revocation_head")
        return Position(head["epoch"], head["number"])

    async def begin_first_epoch(self, epoch: str) -> bool:
        """Begin the history of a new database under this name; False if it has begun."""
        return await self._tx.execute("UPDATE revocation_head SET epoch = $1 WHERE epoch = ''", epoch) == 1

    async def begin_epoch(self, epoch: str) -> None:
        """Begin a new history under this name."""
        await self._tx.execute("UPDATE revocation_head SET epoch = $1", epoch)

    async def longest_access_life(self) -> int:
        """Return the longest access-token life, in milliseconds, ever configured on this database."""
        head = await self._head("SELECT longest_access_life FROM revocation_head")
        return int(head["longest_access_life"])

    async def register_access_life(self, life: int) -> None:
        """Remember the longest access-token life, in milliseconds, ever configured on this database."""
        await self._tx.execute(
            "UPDATE revocation_head SET longest_access_life = $1 WHERE longest_access_life < $1", life
        )

    async def purge(self, *, before: int, limit: int) -> int:
        """Forget up to `limit` revocations that expired before an instant; returns how many."""
        return await self._tx.execute(
            "DELETE FROM revocations WHERE number IN (SELECT number FROM revocations WHERE expires_at < $1 LIMIT $2)",
            before,
            limit,
        )

    async def _head(self, sql: str) -> Row:
        head = await self._tx.fetch_one(sql)
        if head is None:
            raise StorageUnavailable(HEADLESS)
        return head


def _numbered(row: Row) -> NumberedRevocation:
    revocation = Revocation(
        kind=RevocationKind(row["kind"]),
        value=row["value"],
        version=row["version"],
        revoked_at=row["revoked_at"],
        reason=row["reason"],
        actor=row["actor"],
    )
    return NumberedRevocation(row["number"], row["expires_at"], revocation)
