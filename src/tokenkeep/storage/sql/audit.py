"""Audit events in SQL."""

from __future__ import annotations

import itertools
import secrets
from functools import cache
from typing import Final

from tokenkeep.domain.audit import Event, EventFilter, EventKind
from tokenkeep.storage.sql.database import Row, SqlTransaction, Value

_INSTANT_DIGITS: Final = 12
"""Hexadecimal digits of an event's instant, with which its id begins."""

_COLUMNS: Final = "id, at, kind, actor, account_id, session_id, address, user_agent, detail"

_sequence = itertools.count()
"""Keeps events of one millisecond in the order in which this process recorded them."""


class SqlAuditLog:
    """The audit statements of one transaction (port `AuditLog`)."""

    __slots__ = ("_recorded", "_tx")

    def __init__(self, tx: SqlTransaction, recorded: list[Event]) -> None:
        self._tx = tx
        self._recorded = recorded

    async def record(self, event: Event) -> None:
        """Store an event in this transaction."""
        await self._tx.execute(
            f"INSERT INTO audit_events ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", *_values(event)
        )
        self._recorded.append(event)

    async def record_change(self, change: str, *values: Value, event: Event) -> bool:
        """Make a conditional change of one row, and store the event that tells of it; False if no row was changed."""
        if self._tx.nests_changes:
            changed = await self._tx.execute(_with_event(change, len(values)), *values, *_values(event))
            if changed:
                self._recorded.append(event)
        else:
            changed = await self._tx.execute(change, *values)
            if changed:
                await self.record(event)
        return changed == 1

    async def search(self, wanted: EventFilter) -> list[Event]:
        """Return the newest events that fit, the newest first."""
        clauses: list[str] = []
        values: list[Value] = []
        for clause, value in (
            ("kind = ${}", wanted.kind),
            ("actor = ${}", wanted.actor),
            ("account_id = ${}", wanted.account_id),
            ("session_id = ${}", wanted.session_id),
            ("address = ${}", wanted.address),
            ("at >= ${}", wanted.since),
            ("at < ${}", wanted.before),
        ):
            if value is not None:
                values.append(value)
                clauses.append(clause.format(len(values)))
        if wanted.older_than is not None:
            # An id begins with its event's instant; both are compared, as the index has them.
            values += [int(wanted.older_than[:_INSTANT_DIGITS], 16), wanted.older_than]
            clauses.append(f"(at, id) < (${len(values) - 1}, ${len(values)})")
        values.append(wanted.limit)
        rows = await self._tx.fetch(
            f"""
            SELECT {_COLUMNS} FROM audit_events
            {"WHERE " + " AND ".join(clauses) if clauses else ""}
            ORDER BY at DESC, id DESC LIMIT ${len(values)}
            """,
            *values,
        )
        return [_event(row) for row in rows]

    async def purge(self, *, before: int, limit: int) -> int:
        """Forget up to `limit` events older than an instant; returns how many."""
        return await self._tx.execute(
            "DELETE FROM audit_events WHERE id IN (SELECT id FROM audit_events WHERE at < $1 LIMIT $2)", before, limit
        )


@cache
def _with_event(change: str, parameters: int) -> str:
    """Return a change of one row and the event of it as one statement: the change's parameters, then the event's."""
    given = [f"${parameters + number}" for number in range(1, 10)]
    given[1] += "::bigint"  # unlike VALUES, a SELECT takes parameters for text
    return f"""
        WITH changed AS ({change} RETURNING 1)
        INSERT INTO audit_events ({_COLUMNS}) SELECT {", ".join(given)} FROM changed
        """


def _values(event: Event) -> tuple[Value, ...]:
    return (
        f"{event.at:0{_INSTANT_DIGITS}x}-{next(_sequence):08x}-{secrets.token_hex(4)}",
        event.at,
        event.kind.value,
        event.actor,
        event.account_id,
        event.session_id,
        event.address,
        event.user_agent,
        event.detail,
    )


def _event(row: Row) -> Event:
    return Event(
        kind=EventKind(row["kind"]),
        at=row["at"],
        actor=row["actor"],
        account_id=row["account_id"],
        session_id=row["session_id"],
        address=row["address"],
        user_agent=row["user_agent"],
        detail=row["detail"],
        id=row["id"],
    )
