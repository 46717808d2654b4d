"""A transaction of one change: what `change_once` promises on every engine."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from dataclasses import replace
from typing import Final

import pytest

from tests.settable_clock import START, SettableClock
from tests.storage.contracts import Engine, Processes, SqliteEngine, execute, rows
from tests.storage.examples import NOW, load_session, store_account, store_session
from tokenkeep.domain.audit import Event, EventFilter, EventKind
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.domain.sessions import EndReason, Session
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sql.database import Database, Row, SqlTransaction
from tokenkeep.storage.sql.stores import SqlStorage

COUNT: Final = "SELECT count FROM counters WHERE id = 1"
SET: Final = "UPDATE counters SET count = $2 WHERE id = 1 AND count = $1"


@pytest.fixture
async def counter(database: Database) -> Database:
    """A database with a number in it."""
    await execute(database, "CREATE TABLE counters (id BIGINT NOT NULL PRIMARY KEY, count BIGINT NOT NULL)")
    await execute(database, "INSERT INTO counters (id, count) VALUES (1, 0)")
    return database


async def look(tx: SqlTransaction) -> Row:
    """Return the row of the number."""
    row = await tx.fetch_dated(COUNT)
    assert row is not None
    return row


async def count_up(tx: SqlTransaction) -> int:
    """Look, and add one to what was seen, until nobody was faster; returns what it then is."""
    while True:
        count = (await look(tx))["count"]
        if await tx.execute(SET, count, count + 1):
            return int(count) + 1


async def test_a_change_is_seen_by_every_process(counter: Database, processes: Processes):
    """What was changed is there for others once `change_once` has returned, and so is what the steps returned."""
    assert await counter.change_once(count_up) == 1
    assert await rows(await processes.database(), COUNT) == [{"count": 1}]


async def test_no_change_is_lost_among_many(counter: Database, processes: Processes):
    """Of sixty who count at once, from three processes, everyone looks again until it is their turn."""
    crowd = [counter, await processes.database(), await processes.database()] * 20
    counts = await asyncio.gather(*(each.change_once(count_up) for each in crowd))
    assert sorted(counts) == list(range(1, 61))


async def test_steps_that_fail_have_changed_nothing(counter: Database):
    """What is raised before the change comes out, and the next transaction finds everything as it was."""

    async def steps(tx: SqlTransaction) -> None:
        await look(tx)
        raise LookupError("not that one")

    with pytest.raises(LookupError):
        await counter.change_once(steps)
    assert await counter.change_once(count_up) == 1


async def test_nothing_found_is_told(counter: Database):
    """A look that finds nothing returns None, and another one may follow."""

    async def steps(tx: SqlTransaction) -> int:
        assert await tx.fetch_dated("SELECT count FROM counters WHERE id = $1", 2) is None
        return await count_up(tx)

    assert await counter.change_once(steps) == 1


async def test_it_happens_at_the_instant_of_its_last_look(counter: Database, engine: Engine, clock: SettableClock):
    """`tx.now` is that of the database once something was found: by the clock it is given, or by its own."""

    async def steps(tx: SqlTransaction) -> tuple[int, int]:
        await look(tx)
        first = tx.now
        await look(tx)
        return first, tx.now

    before = time.time_ns() // 1_000_000
    first, last = await counter.change_once(steps)
    if isinstance(engine, SqliteEngine):
        assert first == last == START == clock.now()
    else:
        assert before - 1_000 <= first <= last <= time.time_ns() // 1_000_000 + 1_000


def moved(session: Session) -> Session:
    """Return the session one generation on."""
    return replace(session, generation=session.generation + 1)


def rotated(session: Session) -> Event:
    """Return the event of that."""
    return Event(EventKind.REFRESH_ROTATED, NOW + 50, session.account_id, session_id=session.id)


async def advance(tx: Transaction, session: Session) -> bool:
    """Move the session on."""
    return await tx.sessions.advance(session, moved(session), event=rotated(session))


async def told(storage: SqlStorage) -> list[Event]:
    """Return the stored events."""
    events = await storage.read(lambda tx: tx.audit.search(EventFilter(limit=100)))
    return [replace(event, id="") for event in events]


async def test_a_session_that_moves_is_told_of_once(storage: SqlStorage, processes: Processes):
    """Of sixty who advance a session, each in a transaction of one change, one wins: it alone is stored and told."""
    session = await store_session(storage, await store_account(storage))
    crowd = [storage, await processes.storage(), await processes.storage()] * 20
    assert sum(await asyncio.gather(*(each.change_once(advance, session) for each in crowd))) == 1
    assert (await load_session(storage, session)).generation == session.generation + 1
    assert await told(storage) == processes.observed == [rotated(session)]


@pytest.mark.parametrize("kind", ["transact", "change_once"])
async def test_a_session_that_does_not_move_is_not_told_of(storage: SqlStorage, processes: Processes, kind: str):
    """Neither `advance` nor `touch` leaves an event for a session that has ended since it was read."""
    session = await store_session(storage, await store_account(storage))
    await storage.transact(lambda tx: tx.sessions.end(session.id, EndReason.LOGOUT, now=NOW + 60))
    run = getattr(storage, kind)
    assert not await run(advance, session)
    assert not await run(lambda tx: tx.sessions.touch(session, event=rotated(session)))
    assert await told(storage) == processes.observed == []


@pytest.mark.parametrize("kind", ["transact", "change_once"])
async def test_a_session_does_not_move_without_its_event(
    storage: SqlStorage, processes: Processes, database: Database, kind: str
):
    """When the event cannot be stored, the session stays where it is, and nobody is told."""
    session = await store_session(storage, await store_account(storage))
    await execute(database, "ALTER TABLE audit_events RENAME TO elsewhere")
    with pytest.raises((StorageUnavailable, sqlite3.OperationalError)):
        await getattr(storage, kind)(advance, session)
    await execute(database, "ALTER TABLE elsewhere RENAME TO audit_events")
    assert await load_session(storage, session) == session
    assert await told(storage) == processes.observed == []
