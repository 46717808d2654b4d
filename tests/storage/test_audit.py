"""What `SqlAuditLog` promises, on every engine."""

from __future__ import annotations

import pytest

from tests.storage.contracts import Processes, rows
from tests.storage.examples import NOW
from tokenkeep.domain.audit import OPERATOR, SYSTEM, Event, EventKind
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.stores import SqlStorage

COLUMNS = "at, kind, actor, account_id, session_id, address, user_agent, detail"
FULL = Event(
    EventKind.REFRESH_REUSED,
    NOW,
    SYSTEM,
    account_id="an-account",
    session_id="a-session",
    address="192.0.2.7",
    user_agent="Browser/1.0 (ünï)",
    detail="word",
)


@pytest.mark.parametrize("event", [FULL, *[Event(kind, NOW, OPERATOR) for kind in EventKind]])
async def test_an_event_is_stored_as_it_is(storage: SqlStorage, database: Database, event: Event):
    """Every kind of event is stored, with all that is known of it and nothing else."""
    await storage.transact(lambda tx: tx.audit.record(event))
    assert await rows(database, f"SELECT {COLUMNS} FROM audit_events") == [
        {
            "at": event.at,
            "kind": event.kind.value,
            "actor": event.actor,
            "account_id": event.account_id,
            "session_id": event.session_id,
            "address": event.address,
            "user_agent": event.user_agent,
            "detail": event.detail,
        }
    ]


async def test_an_event_lasts_only_if_what_it_tells_of_does(storage: SqlStorage, database: Database):
    """An event belongs to the transaction of its change: undone together, kept together."""

    async def steps(tx: Transaction, error: Exception | None) -> None:
        await tx.audit.record(FULL)
        if error is not None:
            raise error

    with pytest.raises(ValueError, match="undone"):
        await storage.transact(steps, ValueError("undone"))
    assert await rows(database, "SELECT at FROM audit_events") == []
    await storage.transact(steps, None)
    assert await rows(database, "SELECT at FROM audit_events") == [{"at": NOW}]


async def test_an_event_is_told_once_it_is_durable(storage: SqlStorage, processes: Processes):
    """Observers hear of an event after its transaction has committed, in order, and never of one that was undone."""
    second = Event(EventKind.SESSION_ENDED, NOW, OPERATOR)

    async def record_two(tx: Transaction) -> None:
        await tx.audit.record(FULL)
        await tx.audit.record(second)
        assert processes.observed == []

    async def record_and_fail(tx: Transaction) -> None:
        await tx.audit.record(FULL)
        raise ValueError("undone")

    with pytest.raises(ValueError, match="undone"):
        await storage.transact(record_and_fail)
    await storage.transact(record_two)
    assert processes.observed == [FULL, second]
