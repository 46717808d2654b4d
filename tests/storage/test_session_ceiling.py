"""What `SqlSessions.end_surplus` promises, on every engine: who goes, who stays, and how many are left by any race."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import asyncpg
import pytest

from tests.storage.contracts import Engine, PostgresEngine, Processes, SqliteEngine, overlapped
from tests.storage.examples import NOW, a_session, an_account, load_session, store_account, store_session
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import Event, EventKind
from tokenkeep.domain.sessions import Client, EndReason, Session, SessionPolicy, advanced
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sql.database import Row, SqlTransaction, Value
from tokenkeep.storage.sql.sessions import SqlSessions
from tokenkeep.storage.sql.stores import SqlStorage

LATER: Final = NOW + 500
MANY: Final = 1_000
"""More than may end at once, where the test is not about that."""


async def end_surplus(
    storage: SqlStorage, opened: Session, *, most: int, limit: int = MANY, now: int = LATER
) -> list[Session]:
    """Call the operation in a transaction of its own."""
    return await storage.transact(
        lambda tx: tx.sessions.end_surplus(opened, EndReason.TOO_MANY, most=most, limit=limit, now=now)
    )


async def store_line(storage: SqlStorage, account: Account, number: int) -> list[Session]:
    """Store sessions of an account and return them, the least recently used first: the last begun, and stored."""
    made = [
        await store_session(storage, account, created_at=NOW + each, last_used_at=NOW + 100 - each)
        for each in range(number)
    ]
    return sorted(made, key=lambda session: session.last_used_at)


def ended(session: Session, at: int = LATER) -> Session:
    """Return a session as one of too many is stored."""
    return replace(session, revoked_at=at, revoked_reason="too_many")


async def load_all(storage: SqlStorage, sessions: Sequence[Session]) -> list[Session]:
    """Return sessions as they are stored now."""
    return [await load_session(storage, session) for session in sessions]


@pytest.mark.parametrize("most", [1, 2, 4, 5, 6])
async def test_the_least_recently_used_go(storage: SqlStorage, most: int):
    """So many of the last used stay, the one just opened among them; the others end, oldest use first."""
    *others, opened = await store_line(storage, await store_account(storage), 5)
    surplus, kept = others[: max(0, 5 - most)], [*others[max(0, 5 - most) :], opened]
    assert await end_surplus(storage, opened, most=most) == [ended(session) for session in surplus]
    assert await load_all(storage, surplus) == [ended(session) for session in surplus]
    assert await load_all(storage, kept) == kept
    assert await end_surplus(storage, opened, most=most) == []


async def test_the_one_just_opened_stays_whenever_it_was_used(storage: SqlStorage):
    """A clock that was set back, or an account row that was waited for, does not make a new session the first to go."""
    opened, older, newer = await store_line(storage, await store_account(storage), 3)
    assert await end_surplus(storage, opened, most=2) == [ended(older)]
    assert await load_all(storage, [opened, newer]) == [opened, newer]
    assert await end_surplus(storage, opened, most=1) == [ended(newer)]
    assert await load_session(storage, opened) == opened


async def test_what_has_ended_or_expired_does_not_count(storage: SqlStorage):
    """Only what lives takes a place, until the last millisecond of its shorter life; the dead keep their own end."""
    ada = await store_account(storage)
    out = await store_session(storage, ada, last_used_at=NOW + 400)
    await storage.transact(lambda tx: tx.sessions.end(out.id, EndReason.LOGOUT, now=NOW + 401))
    idle = await store_session(storage, ada, last_used_at=NOW + 300, idle_expires_at=LATER)
    over = await store_session(storage, ada, last_used_at=NOW + 300, expires_at=LATER)
    live = await store_session(storage, ada, last_used_at=NOW, idle_expires_at=LATER + 1, expires_at=LATER + 1)
    opened = await store_session(storage, ada, last_used_at=LATER)
    assert await end_surplus(storage, opened, most=2) == []
    assert await load_all(storage, [idle, over, live, opened]) == [idle, over, live, opened]
    assert (await load_session(storage, out)).revoked_reason == "logout"
    assert await end_surplus(storage, opened, most=1) == [ended(live)]
    assert await load_all(storage, [idle, over]) == [idle, over]


async def test_each_account_has_its_own_ceiling(storage: SqlStorage):
    """Sessions of others neither count nor end."""
    ada, bob = await store_account(storage, an_account("Ada")), await store_account(storage, an_account("Bob"))
    bobs = await store_line(storage, bob, 4)
    older, opened = await store_line(storage, ada, 2)
    assert await end_surplus(storage, opened, most=2) == []
    assert await end_surplus(storage, opened, most=1) == [ended(older)]
    assert await load_all(storage, bobs) == bobs


async def test_no_more_end_at_once_than_asked_for(storage: SqlStorage):
    """Of many too many, the least recently used end first, and the rest is left for the next time."""
    *others, opened = await store_line(storage, await store_account(storage), 9)
    for first, last in ((0, 3), (3, 6), (6, 7), (7, 7)):
        part = [ended(session) for session in others[first:last]]
        assert await end_surplus(storage, opened, most=2, limit=3) == part
        rest = [*others[last:], opened]
        assert await load_all(storage, rest) == rest


async def open_one(tx: Transaction, account: Account, opened: Session, most: int) -> int:
    """Do what a login does: take the account, store the session, end what is too many; returns how many ended."""
    hash_now = account.password_hash or ""
    assert await tx.accounts.claim_for_login(account, password_hash=hash_now, now=LATER)
    await tx.sessions.add(opened)
    return len(await tx.sessions.end_surplus(opened, EndReason.TOO_MANY, most=most, limit=MANY, now=LATER))


@pytest.mark.parametrize("logins", [5, 6, 9, 15])
async def test_of_logins_at_once_so_many_are_left(storage: SqlStorage, processes: Processes, logins: int):
    """Five to fifteen logins of one account at once, from three processes: five sessions live, no more and no fewer."""
    most = 5
    ada = await store_account(storage)
    crowd = [storage, await processes.storage(), await processes.storage()]
    sessions = [a_session(ada) for _ in range(logins)]
    counts = await asyncio.gather(
        *(
            crowd[turn % 3].transact(lambda tx, session=session: open_one(tx, ada, session, most))
            for turn, session in enumerate(sessions)
        )
    )
    assert sum(counts) == logins - most
    assert await storage.read(lambda tx: tx.sessions.count_live(now=LATER)) == most


async def test_two_logins_at_once_are_counted_one_after_the_other(
    storage: SqlStorage, processes: Processes, engine: Engine
):
    """A login that comes while another of its account is not committed yet waits, and then counts both sessions."""
    other = await processes.storage()
    ada = await store_account(storage)
    [oldest] = await store_line(storage, ada, 1)
    first, second = (a_session(ada, last_used_at=LATER) for _ in range(2))
    counts = await overlapped(
        engine,
        (storage, lambda tx: open_one(tx, ada, first, 2)),
        (other, lambda tx: open_one(tx, ada, second, 2)),
    )
    assert counts == (0, 1)
    assert await load_all(storage, [oldest, first, second]) == [ended(oldest), first, second]


async def refresh(tx: Transaction, session: Session) -> bool:
    """Refresh a session, which makes it the last used."""
    event = Event(EventKind.REFRESH_ROTATED, LATER, session.account_id, session_id=session.id)
    policy = SessionPolicy(idle=1_000, absolute=2_000, grace=10)
    return await tx.sessions.advance(session, advanced(session, Client(), LATER - 1, policy), event=event)


async def log_out(tx: Transaction, session: Session) -> bool:
    """End a session."""
    return await tx.sessions.end(session.id, EndReason.LOGOUT, now=LATER - 1)


@pytest.mark.parametrize(
    ("act", "reasons"), [(refresh, {"too_many"}), (log_out, {"logout"})], ids=["refresh", "logout"]
)
async def test_what_is_under_way_meanwhile_leaves_no_more(
    storage: SqlStorage,
    processes: Processes,
    engine: Engine,
    act: Callable[[Transaction, Session], Awaitable[bool]],
    reasons: set[str],
):
    """A refresh or logout of the one to go that is not committed yet is waited for: one place is free, and only one."""
    other = await processes.storage()
    ada = await store_account(storage)
    oldest, kept = await store_line(storage, ada, 2)
    opened = a_session(ada, last_used_at=LATER)
    acted, _ = await overlapped(
        engine, (storage, lambda tx: act(tx, oldest)), (other, lambda tx: open_one(tx, ada, opened, 2))
    )
    assert acted
    live = [session for session in await load_all(storage, [oldest, kept, opened]) if session.revoked_at is None]
    assert len(live) == 2
    assert opened in live
    assert {session.revoked_reason for session in await load_all(storage, [oldest, kept])} - {None} == reasons


class Overheard:
    """A transaction that remembers what was asked of it, and answers nothing."""

    nests_changes = False
    now = LATER

    def __init__(self) -> None:
        self.sql, self.values = "", ()

    async def fetch(self, sql: str, *values: Value) -> list[Row]:
        """Remember."""
        self.sql, self.values = sql, values
        return []


async def test_no_one_elses_sessions_are_looked_at(storage: SqlStorage, processes: Processes, engine: Engine):
    """The sessions of the account are found by an index of those not ended, among many of others, on both engines.

    An account may have ended as many as it likes: they stay for weeks, and cost its logins nothing.
    """
    for number in range(40):
        await store_line(storage, await store_account(storage, an_account(f"Somebody {number}")), 10)
    [opened] = await store_line(storage, await store_account(storage), 1)
    overheard = Overheard()
    told: Any = overheard
    await SqlSessions(told, told).end_surplus(opened, EndReason.TOO_MANY, most=3, limit=3, now=LATER)
    plan = await plan_of(engine, await processes.database(), overheard)
    assert "sessions_unended" in plan
    assert "sessions_by_account" not in plan
    assert "Seq Scan on sessions" not in plan
    assert "SCAN sessions" not in plan


async def plan_of(engine: Engine, database: Any, overheard: Overheard) -> str:
    """Return how an engine means to run a statement."""
    if isinstance(engine, SqliteEngine):

        async def explain(tx: SqlTransaction) -> str:
            rows = await tx.fetch(f"EXPLAIN QUERY PLAN {overheard.sql}", *overheard.values)
            return "\n".join(row["detail"] for row in rows)

        return str(await database.read(explain))
    assert isinstance(engine, PostgresEngine)
    connection = await asyncpg.connect(engine.schema.url)
    try:
        await connection.execute("ANALYZE sessions")
        rows = await connection.fetch(f"EXPLAIN {overheard.sql}", *overheard.values)
        return "\n".join(row[0] for row in rows)
    finally:
        await connection.close()
