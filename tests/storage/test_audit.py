"""What `SqlAuditLog` promises, on every engine."""

from __future__ import annotations

import pytest

from tests.storage.contracts import Processes, rows
from tests.storage.examples import NOW
from tokenkeep.domain.audit import OPERATOR, SYSTEM, Event, EventFilter, EventKind
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


async def test_the_log_is_searched_from_the_newest_event_back(storage: SqlStorage):
    """Each condition narrows the search, all of them together too."""
    events = [
        Event(EventKind.SESSION_STARTED, NOW, OPERATOR, account_id="ada", session_id="s1", address="192.0.2.1"),
        Event(EventKind.SESSION_STARTED, NOW + 1, OPERATOR, account_id="bob", session_id="s2", address="192.0.2.1"),
        Event(EventKind.SESSION_ENDED, NOW + 2, OPERATOR, account_id="ada", session_id="s1", address="192.0.2.2"),
        Event(EventKind.PASSWORD_SET, NOW + 3, OPERATOR, account_id="ada"),
    ]
    for event in events:
        await storage.transact(lambda tx, event=event: tx.audit.record(event))
    first, second, third, fourth = events
    for wanted, found in (
        (EventFilter(), [fourth, third, second, first]),
        (EventFilter(limit=1), [fourth]),
        (EventFilter(kind=EventKind.SESSION_STARTED), [second, first]),
        (EventFilter(account_id="ada"), [fourth, third, first]),
        (EventFilter(session_id="s1"), [third, first]),
        (EventFilter(address="192.0.2.1"), [second, first]),
        (EventFilter(since=NOW + 1), [fourth, third, second]),
        (EventFilter(before=NOW + 2), [second, first]),
        (EventFilter(account_id="ada", since=NOW + 1, before=NOW + 3, session_id="s1", limit=5), [third]),
        (EventFilter(actor=OPERATOR, limit=2), [fourth, third]),
        (EventFilter(actor="nobody"), []),
        (EventFilter(account_id="' OR '1' = '1"), []),
    ):
        assert await storage.read(lambda tx, wanted=wanted: tx.audit.search(wanted)) == found


async def test_reading_goes_on_where_it_stopped(storage: SqlStorage):
    """From the id of an event on, the events before it follow in order, also those of the same instant."""
    instants = [NOW, NOW, NOW, NOW + 1, NOW + 16**9, NOW + 1]
    for number, instant in enumerate(instants):
        event = Event(EventKind.SESSION_ENDED, instant, OPERATOR, account_id=f"ada-{number % 2}", detail=str(number))
        await storage.transact(lambda tx, event=event: tx.audit.record(event))
    everything = await storage.read(lambda tx: tx.audit.search(EventFilter()))
    assert [event.detail for event in everything] == ["4", "5", "3", "2", "1", "0"]
    assert len({event.id for event in everything}) == len(everything)
    for index, event in enumerate(everything):
        rest = EventFilter(older_than=event.id, limit=2)
        assert await storage.read(lambda tx, rest=rest: tx.audit.search(rest)) == everything[index + 1 : index + 3]
        narrowed = EventFilter(older_than=event.id, account_id="ada-1")
        found = await storage.read(lambda tx, narrowed=narrowed: tx.audit.search(narrowed))
        assert found == [each for each in everything[index + 1 :] if each.account_id == "ada-1"]


async def test_old_events_are_forgotten_some_at_a_time(storage: SqlStorage):
    """`purge` forgets at most so many events from before an instant, and no others."""
    for instant in range(4):
        event = Event(EventKind.SESSION_ENDED, NOW + instant, OPERATOR)
        await storage.transact(lambda tx, event=event: tx.audit.record(event))
    counts = [await storage.transact(lambda tx: tx.audit.purge(before=NOW + 3, limit=2)) for _ in range(3)]
    assert counts == [2, 1, 0]
    assert [event.at for event in await storage.read(lambda tx: tx.audit.search(EventFilter()))] == [NOW + 3]
