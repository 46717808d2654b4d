"""Audit events in SQL."""

from __future__ import annotations

from tokenkeep.domain.audit import Event
from tokenkeep.storage.sql.database import SqlTransaction


class SqlAuditLog:
    """The audit statements of one transaction (port `AuditLog`)."""

    __slots__ = ("_recorded", "_tx")

    def __init__(self, tx: SqlTransaction, recorded: list[Event]) -> None:
        self._tx = tx
        self._recorded = recorded

    async def record(self, event: Event) -> None:
        """Store an event in this transaction."""
        await self._tx.execute(
            """
            INSERT INTO audit_events (at, kind, actor, account_id, session_id, address, user_agent, detail)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            """,
            event.at,
            event.kind.value,
            event.actor,
            event.account_id,
            event.session_id,
            event.address,
            event.user_agent,
            event.detail,
        )
        self._recorded.append(event)
