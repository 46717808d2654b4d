"""What `SqlSessions` promises, on every engine: every change is one conditional UPDATE whose row count decides."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace

import asyncpg
import pytest

from tests.storage.contracts import Engine, Processes, overlapped
from tests.storage.examples import NOW, a_session, an_account, load_session, store_account, store_session
from tokenkeep.domain.audit import Event, EventKind
from tokenkeep.domain.identifiers import SessionId
from tokenkeep.domain.sessions import Client, Delivery, EndReason, Session, SessionPolicy, advanced
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sql.stores import SqlStorage

POLICY = SessionPolicy(idle=1_000, absolute=2_000, grace=10)
REFERENCE_BROKEN = (sqlite3.IntegrityError, asyncpg.ForeignKeyViolationError)


def told_of(session: Session, at: int = NOW + 50) -> Event:
    """Return the event of a refresh of the session."""
    return Event(EventKind.REFRESH_ROTATED, at, session.account_id, session_id=session.id)


def successor(session: Session, now: int = NOW + 50) -> Session:
    """Return the session one generation on, used by another program from elsewhere."""
    return advanced(session, Client("Another/2.0", "192.0.2.7"), now, POLICY)


@pytest.mark.parametrize("delivery", Delivery)
@pytest.mark.parametrize("methods", [(), ("pwd",), ("pwd", "otp")])
async def test_a_session_is_found_with_its_account(storage: SqlStorage, delivery: Delivery, methods: tuple[str, ...]):
    """Both come back as they were stored."""
    ada = await store_account(storage, an_account(role="admin", password_hash=None))
    await store_session(storage, await store_account(storage, an_account("Bob")))
    session = await store_session(storage, ada, delivery=delivery, methods=methods)
    assert await storage.read(lambda tx: tx.sessions.find_with_account(session.id)) == (session, ada)


async def test_an_unknown_session_is_not_found(storage: SqlStorage):
    """There is nothing for an id that nobody has."""
    await store_session(storage, await store_account(storage))
    assert await storage.read(lambda tx: tx.sessions.find_with_account(SessionId("nobody's"))) is None


async def test_a_session_needs_an_account(storage: SqlStorage):
    """No session is stored for an account that is not."""
    session = a_session(an_account())
    with pytest.raises(REFERENCE_BROKEN):
        await storage.transact(lambda tx: tx.sessions.add(session))
    assert await storage.read(lambda tx: tx.sessions.find_with_account(session.id)) is None


async def test_a_session_moves_on_once(storage: SqlStorage):
    """`advance` replaces the session as it was read by its successor; the second who read it is told no."""
    ada = await store_account(storage)
    session, bystander = [await store_session(storage, ada) for _ in range(2)]
    after = successor(session)
    assert await storage.transact(lambda tx: tx.sessions.advance(session, after, event=told_of(session)))
    assert await load_session(storage, session) == after
    assert not await storage.transact(
        lambda tx: tx.sessions.advance(session, successor(session, NOW + 90), event=told_of(session))
    )
    assert await load_session(storage, session) == after
    assert await load_session(storage, bystander) == bystander


async def test_of_many_who_advance_a_session_at_once_one_wins(storage: SqlStorage, processes: Processes):
    """Sixty refreshes of one generation, from three processes, move the session on by one."""
    session = await store_session(storage, await store_account(storage))
    crowd = [storage, await processes.storage(), await processes.storage()] * 20
    tries = (
        each.transact(lambda tx: tx.sessions.advance(session, successor(session), event=told_of(session)))
        for each in crowd
    )
    assert sum(await asyncio.gather(*tries)) == 1
    assert (await load_session(storage, session)).generation == session.generation + 1


Attempt = Callable[[Transaction, Session], Awaitable[bool]]
ATTEMPTS = pytest.mark.parametrize(
    "attempt",
    [
        lambda tx, session: tx.sessions.advance(session, successor(session), event=told_of(session)),
        lambda tx, session: tx.sessions.touch(session, event=told_of(session, NOW + 90)),
    ],
    ids=["advance", "touch"],
)


@ATTEMPTS
async def test_an_ended_session_does_not_come_back(storage: SqlStorage, attempt: Attempt):
    """Neither `advance` nor `touch` takes a session that has ended since it was read."""
    session = await store_session(storage, await store_account(storage))
    await storage.transact(lambda tx: tx.sessions.end(session.id, EndReason.LOGOUT, now=NOW + 60))
    assert not await storage.transact(attempt, session)
    ended = replace(session, revoked_at=NOW + 60, revoked_reason="logout")
    assert await load_session(storage, session) == ended


@ATTEMPTS
async def test_a_refresh_that_waits_for_a_logout_loses(
    storage: SqlStorage, processes: Processes, engine: Engine, attempt: Attempt
):
    """A refresh that comes while the logout is not committed yet waits for it, and finds the session ended."""
    other = await processes.storage()
    session = await store_session(storage, await store_account(storage))
    _, refreshed = await overlapped(
        engine,
        (storage, lambda tx: tx.sessions.end(session.id, EndReason.LOGOUT, now=NOW + 60)),
        (other, lambda tx: attempt(tx, session)),
    )
    assert not refreshed
    assert (await load_session(storage, session)).revoked_at == NOW + 60


@ATTEMPTS
async def test_a_logout_that_waits_for_a_refresh_still_ends_the_session(
    storage: SqlStorage, processes: Processes, engine: Engine, attempt: Attempt
):
    """A logout that comes while a refresh is not committed yet ends what the refresh leaves."""
    other = await processes.storage()
    session = await store_session(storage, await store_account(storage))
    refreshed, ended = await overlapped(
        engine,
        (storage, lambda tx: attempt(tx, session)),
        (other, lambda tx: tx.sessions.end(session.id, EndReason.LOGOUT, now=NOW + 60)),
    )
    assert refreshed
    assert ended
    assert (await load_session(storage, session)).revoked_at == NOW + 60


async def test_touching_moves_nothing_but_the_last_use(storage: SqlStorage):
    """`touch` takes the row as it was read, and only that one; the generation stays."""
    ada = await store_account(storage)
    session, bystander = [await store_session(storage, ada) for _ in range(2)]
    assert await storage.transact(lambda tx: tx.sessions.touch(session, event=told_of(session, NOW + 90)))
    assert await load_session(storage, session) == replace(session, last_used_at=NOW + 90)
    assert await load_session(storage, bystander) == bystander
    assert await storage.transact(lambda tx: tx.sessions.advance(session, successor(session), event=told_of(session)))
    assert not await storage.transact(lambda tx: tx.sessions.touch(session, event=told_of(session, NOW + 91)))
    assert await load_session(storage, session) == successor(session)


async def test_a_session_ends_once(storage: SqlStorage):
    """The first end is kept, with its instant and reason; a later one, or that of an unknown session, is told no."""
    ada = await store_account(storage)
    session, bystander = [await store_session(storage, ada) for _ in range(2)]
    assert await storage.transact(lambda tx: tx.sessions.end(session.id, EndReason.REUSE, now=NOW + 60))
    assert not await storage.transact(lambda tx: tx.sessions.end(session.id, EndReason.LOGOUT, now=NOW + 61))
    assert not await storage.transact(lambda tx: tx.sessions.end(SessionId("nobody's"), EndReason.LOGOUT, now=NOW))
    assert await load_session(storage, session) == replace(session, revoked_at=NOW + 60, revoked_reason="reuse")
    assert await load_session(storage, bystander) == bystander


async def test_all_sessions_of_an_account_end_together(storage: SqlStorage):
    """`end_all` counts and ends those that lived; the others keep their own end, other accounts their sessions."""
    ada, bob = await store_account(storage, an_account("Ada")), await store_account(storage, an_account("Bob"))
    live = [await store_session(storage, ada) for _ in range(3)]
    over, bobs = await store_session(storage, ada), await store_session(storage, bob)
    await storage.transact(lambda tx: tx.sessions.end(over.id, EndReason.LOGOUT, now=NOW + 1))
    end_all: Callable[[Transaction], Awaitable[int]] = lambda tx: tx.sessions.end_all(  # noqa: E731
        ada.id, EndReason.PASSWORD_CHANGED, now=NOW + 2
    )
    assert await storage.transact(end_all) == 3
    assert await storage.transact(end_all) == 0
    for session in live:
        ended = replace(session, revoked_at=NOW + 2, revoked_reason="password_changed")
        assert await load_session(storage, session) == ended
    assert (await load_session(storage, over)).revoked_reason == "logout"
    assert await load_session(storage, bobs) == bobs


async def test_live_sessions_are_neither_ended_nor_expired(storage: SqlStorage):
    """A session counts until the last millisecond before either of its ends."""
    ada = await store_account(storage)
    await store_session(storage, ada, idle_expires_at=NOW + 10, expires_at=NOW + 20)
    await store_session(storage, ada, idle_expires_at=NOW + 10, expires_at=NOW + 10)
    await store_session(storage, ada, idle_expires_at=NOW + 30, expires_at=NOW + 30)
    ended = await store_session(storage, ada, idle_expires_at=NOW + 30, expires_at=NOW + 30)
    await storage.transact(lambda tx: tx.sessions.end(ended.id, EndReason.LOGOUT, now=NOW))
    for instant, live in ((NOW, 3), (NOW + 9, 3), (NOW + 10, 1), (NOW + 29, 1), (NOW + 30, 0)):
        assert await storage.read(lambda tx, now=instant: tx.sessions.count_live(now=now)) == live


async def test_live_sessions_are_listed_the_last_used_first(storage: SqlStorage):
    """`live_of` lists an account's sessions that are neither ended nor expired, and nobody else's."""
    ada, bob = await store_account(storage, an_account("Ada")), await store_account(storage, an_account("Bob"))
    await store_session(storage, bob)
    older = await store_session(storage, ada, last_used_at=NOW + 1)
    newer = await store_session(storage, ada, last_used_at=NOW + 2, idle_expires_at=NOW + 10)
    await store_session(storage, ada, idle_expires_at=NOW + 5)
    ended = await store_session(storage, ada)
    await storage.transact(lambda tx: tx.sessions.end(ended.id, EndReason.LOGOUT, now=NOW))
    assert await storage.read(lambda tx: tx.sessions.live_of(ada.id, now=NOW + 5)) == [newer, older]
    assert await storage.read(lambda tx: tx.sessions.live_of(ada.id, now=NOW + 10)) == [older]


async def test_latest_sessions_of_anybody_are_listed_with_their_accounts(storage: SqlStorage):
    """`latest` lists live sessions of all accounts, the last used first, and no more than asked for."""
    ada, bob = await store_account(storage, an_account("Ada")), await store_account(storage, an_account("Bob"))
    older = await store_session(storage, ada, last_used_at=NOW + 1)
    newer = await store_session(storage, bob, last_used_at=NOW + 2)
    await store_session(storage, ada, idle_expires_at=NOW + 5)
    ended = await store_session(storage, bob, last_used_at=NOW + 3)
    await storage.transact(lambda tx: tx.sessions.end(ended.id, EndReason.LOGOUT, now=NOW))
    latest: Callable[[int], Awaitable[object]] = lambda limit: storage.read(  # noqa: E731
        lambda tx: tx.sessions.latest(now=NOW + 5, limit=limit)
    )
    assert await latest(10) == [(newer, bob), (older, ada)]
    assert await latest(1) == [(newer, bob)]


async def test_sessions_to_end_are_met_once_and_in_pages(storage: SqlStorage):
    """`unended` pages through what nobody has ended, expired or not, and was begun by an instant."""
    ada, bob = await store_account(storage, an_account("Ada")), await store_account(storage, an_account("Bob"))
    wanted = [await store_session(storage, account, created_at=NOW + 5) for account in (ada, bob, ada, bob, ada)]
    wanted.append(await store_session(storage, ada, idle_expires_at=NOW, expires_at=NOW))
    await store_session(storage, ada, created_at=NOW + 6)
    ended = await store_session(storage, ada)
    await storage.transact(lambda tx: tx.sessions.end(ended.id, EndReason.LOGOUT, now=NOW))
    for limit in (1, 4, 6, 7):
        seen: list[Session] = []
        while page := await storage.read(
            lambda tx, after=seen[-1].id if seen else "", limit=limit: tx.sessions.unended(
                after, begun_by=NOW + 5, limit=limit
            )
        ):
            assert len(page) <= limit
            seen.extend(page)
        assert len(seen) == len(wanted)
        assert {session.id for session in seen} == {session.id for session in wanted}


async def test_login_addresses_are_those_of_late(storage: SqlStorage):
    """`login_addresses` names each address once that the account logged in from since an instant, also if it ended."""
    ada, bob = await store_account(storage, an_account("Ada")), await store_account(storage, an_account("Bob"))
    await store_session(storage, bob, login_address="192.0.2.1", created_at=NOW + 2, last_used_at=NOW + 2)
    begun = {NOW + 3: "192.0.2.2", NOW + 2: "192.0.2.2", NOW + 4: "2001:db8::1", NOW + 1: "192.0.2.4", NOW + 5: ""}
    sessions = [
        await store_session(storage, ada, login_address=address, created_at=at, last_used_at=NOW + 9)
        for at, address in begun.items()
    ]
    await storage.transact(lambda tx: tx.sessions.end(sessions[0].id, EndReason.LOGOUT, now=NOW + 9))
    found = await storage.read(lambda tx: tx.sessions.login_addresses(ada.id, since=NOW + 1))
    assert sorted(found) == ["192.0.2.2", "2001:db8::1"]


async def test_a_rotation_makes_no_place_familiar(storage: SqlStorage):
    """`advance` moves the session's address and leaves where its login came from."""
    ada = await store_account(storage)
    session = await store_session(storage, ada, address="192.0.2.1", login_address="192.0.2.1")
    moved = replace(session, generation=session.generation + 1, address="203.0.113.66")
    assert await storage.transact(lambda tx: tx.sessions.advance(session, moved, event=told_of(session)))
    assert (await load_session(storage, session)).address == "203.0.113.66"
    assert await storage.read(lambda tx: tx.sessions.login_addresses(ada.id, since=0)) == ["192.0.2.1"]


async def test_sessions_are_forgotten_after_their_absolute_end(storage: SqlStorage):
    """`purge` forgets at most so many sessions that began and were over before two instants, and no others."""
    ada = await store_account(storage)
    over = [await store_session(storage, ada, expires_at=NOW + 10 + number) for number in range(3)]
    kept = [
        await store_session(storage, ada, idle_expires_at=NOW, expires_at=NOW + 13),
        await store_session(storage, ada, created_at=NOW + 2, expires_at=NOW + 10),
    ]

    def purge(tx: Transaction) -> Awaitable[int]:
        return tx.sessions.purge(over_before=NOW + 13, begun_before=NOW + 2, limit=2)

    assert [await storage.transact(purge) for _ in range(3)] == [2, 1, 0]
    for session in over:
        assert await storage.read(lambda tx, session=session: tx.sessions.find_with_account(session.id)) is None
    assert [await load_session(storage, session) for session in kept] == kept


async def test_every_session_of_everyone_can_end_at_once(storage: SqlStorage):
    """`end_everyones` ends and counts what lived; a session that had ended keeps its own end."""
    ada, bob = await store_account(storage, an_account("Ada")), await store_account(storage, an_account("Bob"))
    over, live, bobs = [await store_session(storage, account) for account in (ada, ada, bob)]
    await storage.transact(lambda tx: tx.sessions.end(over.id, EndReason.LOGOUT, now=NOW + 1))
    assert await storage.transact(lambda tx: tx.sessions.end_everyones(EndReason.RECOVERED, now=NOW + 2)) == 2
    for session in (live, bobs):
        assert await load_session(storage, session) == replace(session, revoked_at=NOW + 2, revoked_reason="recovered")
    assert (await load_session(storage, over)).revoked_reason == "logout"
