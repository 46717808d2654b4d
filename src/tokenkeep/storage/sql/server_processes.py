"""Server processes in SQL: one row for each, renewed while it lives."""

from __future__ import annotations

from tokenkeep.domain.server_processes import Accord, ServerProcess
from tokenkeep.storage.sql.database import Row, SqlTransaction


class SqlServerProcesses:
    """The statements of one transaction about server processes (port `ServerProcessStore`)."""

    __slots__ = ("_tx",)

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    async def take_turn(self) -> None:
        """Wait until nobody else who has taken a turn is still at it; the turn ends with the transaction."""
        # The lock of the one row that is always there; a process that is about to come has none yet.
        await self._tx.execute("UPDATE revocation_head SET number = number")

    async def note(self, process: ServerProcess) -> None:
        """Store that a process is there."""
        await self._tx.execute(
            """
            INSERT INTO server_processes (id, node, redis, seen_at, issuer, signing_algorithm)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (id) DO UPDATE SET redis = excluded.redis, seen_at = excluded.seen_at
            """,
            process.id,
            process.node,
            process.redis,
            process.seen_at,
            process.accord.issuer if process.accord else None,
            process.accord.signing_algorithm if process.accord else None,
        )

    async def all(self) -> list[ServerProcess]:
        """Return all that are stored."""
        rows = await self._tx.fetch(
            "SELECT id, node, redis, seen_at, issuer, signing_algorithm FROM server_processes ORDER BY id"
        )
        return [ServerProcess(row["id"], row["node"], row["redis"], row["seen_at"], _accord(row)) for row in rows]

    async def forget(self, process_id: str) -> None:
        """Forget one."""
        await self._tx.execute("DELETE FROM server_processes WHERE id = $1", process_id)

    async def forget_lost(self, *, before: int) -> int:
        """Forget those that were last seen before an instant; returns how many."""
        return await self._tx.execute("DELETE FROM server_processes WHERE seen_at < $1", before)


def _accord(row: Row) -> Accord | None:
    """Return what a process was told; None for one of a version that does not say, all of it or nothing."""
    issuer, algorithm = row["issuer"], row["signing_algorithm"]
    return None if issuer is None or algorithm is None else Accord(issuer, algorithm)
