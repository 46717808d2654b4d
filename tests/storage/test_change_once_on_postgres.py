"""A transaction of one change on PostgreSQL: statements by themselves, so that a refresh waits for two messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from tests.postgres_front import PostgresFront
from tests.postgres_server import PostgresSchema
from tests.storage.contracts import PostgresEngine, execute, rows
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import EventFilter, EventKind
from tokenkeep.domain.errors import InvalidRefreshToken, NoValidRefreshToken, StorageUnavailable
from tokenkeep.domain.sessions import Client, Delivery, EndReason, RefreshToken, Session
from tokenkeep.flows.login import Credentials
from tokenkeep.flows.ports import Transaction
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.database import Database, SqlTransaction
from tokenkeep.storage.sql.postgres import PostgresDatabase
from tokenkeep.storage.sql.stores import SqlStorage

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("postgres")]

COUNT: Final = "SELECT count FROM counters"
SET: Final = "UPDATE counters SET count = $1"
MESSAGES: Final = 2
"""What a refresh may cost: one message that looks, one that changes."""
LOGIN_MESSAGES: Final = 12
"""What a login may cost where nobody has too many sessions: one of them asks for that."""
PASSWORD: Final = "correct-horse-battery"
FIREFOX: Final = Client("Firefox", "192.0.2.1")


@pytest.fixture
def engine(postgres_schema: PostgresSchema) -> PostgresEngine:
    """PostgreSQL only."""
    return PostgresEngine(postgres_schema)


@pytest.fixture
async def counter(database: Database) -> Database:
    """A database with a number in it."""
    await execute(database, "CREATE TABLE counters (count BIGINT NOT NULL)")
    await execute(database, "INSERT INTO counters (count) VALUES (0)")
    return database


async def count_up(tx: SqlTransaction) -> None:
    """Look, and add one to what was seen."""
    row = await tx.fetch_dated(COUNT)
    assert row is not None
    assert await tx.execute(SET, row["count"] + 1) == 1


@pytest.mark.parametrize("statement", [COUNT, SET], ids=["look", "change"])
async def test_nothing_may_follow_the_change(counter: Database, statement: str):
    """A statement after the change is a mistake: if it failed, what was done would be called undone."""

    async def steps(tx: SqlTransaction) -> None:
        await count_up(tx)
        await (tx.fetch_dated(COUNT) if statement == COUNT else tx.execute(SET, 9))

    with pytest.raises(RuntimeError, match="nothing may follow"):
        await counter.change_once(steps)
    assert await rows(counter, COUNT) == [{"count": 1}]


@pytest.mark.parametrize("method", ["fetch", "fetch_one"])
async def test_a_change_that_returns_rows_is_no_look(counter: Database, method: str):
    """What may change something and return it is refused before it is sent."""

    async def steps(tx: SqlTransaction) -> None:
        await getattr(tx, method)("UPDATE counters SET count = 9 RETURNING count")

    with pytest.raises(RuntimeError, match="fetch_dated only"):
        await counter.change_once(steps)
    assert await rows(counter, COUNT) == [{"count": 0}]


async def test_the_instant_is_not_guessed(counter: Database):
    """Before something was found there is no instant, and asking for it is a mistake."""

    async def steps(tx: SqlTransaction) -> int:
        return tx.now

    with pytest.raises(RuntimeError, match="instant"):
        await counter.change_once(steps)


async def test_a_conflict_runs_all_steps_again(counter: Database):
    """A statement that met a conflict has changed nothing; the steps are run from their first look."""
    runs = 0

    async def steps(tx: SqlTransaction) -> None:
        nonlocal runs
        runs += 1
        assert await tx.fetch_dated(COUNT) is not None
        if runs == 1:
            await tx.execute("DO $do$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $do$")
        await count_up(tx)

    await counter.change_once(steps)
    assert runs == 2
    assert await rows(counter, COUNT) == [{"count": 1}]


async def test_a_broken_connection_is_an_outage(counter: Database):
    """When the server ends the connection, the caller is told, and the next transaction works."""

    async def steps(tx: SqlTransaction) -> None:
        await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StorageUnavailable):
        await counter.change_once(steps)
    await counter.change_once(count_up)
    assert await rows(counter, COUNT) == [{"count": 1}]


def behind(front: PostgresFront, schema: PostgresSchema) -> Secret:
    """Return the address of a schema by the way that counts."""
    place = urlencode({"search_path": schema.name, "sslmode": "disable"})
    return Secret(f"postgresql://postgres@127.0.0.1:{front.port}/postgres?{place}")


async def test_a_login_costs_twelve_messages(
    postgres_front: PostgresFront, postgres_schema: PostgresSchema, postgres_settings: Settings
):
    """The ceiling on sessions costs one of them, as long as nobody has too many."""
    settings = replace(postgres_settings, database_url=behind(postgres_front, postgres_schema))
    async with AuthServer(settings) as server:
        await server.accounts.create("Ada", PASSWORD, role="user", actor="operator")
        ada, counted = Credentials("Ada", PASSWORD), []
        for _ in range(9):
            before = postgres_front.turns
            await server.graph.services.login.login(ada, FIREFOX, delivery=Delivery.COOKIE)
            counted.append(postgres_front.turns - before)
        # The least, for the reasons given below.
        assert min(counted) == LOGIN_MESSAGES


async def test_a_refresh_costs_two_messages(
    postgres_front: PostgresFront, postgres_schema: PostgresSchema, postgres_settings: Settings
):
    """One that looks and one that changes, whether the token moves on or a lost answer is repeated."""
    settings = replace(postgres_settings, database_url=behind(postgres_front, postgres_schema))
    async with AuthServer(settings) as server:
        await server.accounts.create("Ada", PASSWORD, role="user", actor="operator")
        services = server.graph.services
        ada = Credentials("Ada", PASSWORD)
        pair = await services.login.login(ada, FIREFOX, delivery=Delivery.COOKIE, audience=None, replaces=None)
        costs: dict[str, list[int]] = {"moved on": [], "repeated": []}
        for _ in range(8):
            presented = pair.refresh_token
            for counted in costs.values():
                before = postgres_front.turns
                pair = await services.refresh.refresh(presented, FIREFOX, delivery=Delivery.COOKIE)
                counted.append(postgres_front.turns - before)
        # The least: the first on a connection prepares its statements, and what runs in the background asks too.
        assert {kind: min(counted) for kind, counted in costs.items()} == dict.fromkeys(costs, MESSAGES)
        assert (
            len(
                await server.graph.storage.read(
                    lambda tx: tx.audit.search(EventFilter(kind=EventKind.REFRESH_REPLAYED, limit=100))
                )
            )
            == 8
        )


@pytest.fixture
async def two(
    postgres_settings: Settings, postgres_schema: PostgresSchema
) -> AsyncIterator[tuple[AuthServer, SqlStorage]]:
    """A server in which Ada can log in, and another process's way to its database."""
    database = PostgresDatabase(postgres_schema.url)
    async with AuthServer(postgres_settings) as server:
        await server.accounts.create("Ada", PASSWORD, role="user", actor="operator")
        await database.open()
        storage = server.graph.storage
        assert isinstance(storage, SqlStorage)
        yield server, SqlStorage(database, Sealer(storage._chest._sealer._secrets), lambda _: None)
        await database.close()


async def end_by_logout(tx: Transaction, session: Session) -> None:
    """End one session."""
    assert await tx.sessions.end(session.id, EndReason.LOGOUT, now=tx.now)


async def end_by_disabling(tx: Transaction, session: Session) -> None:
    """Disable the account, as the flow does: the account first, then its sessions."""
    assert await tx.accounts.disable(session.account_id, now=tx.now)
    assert await tx.sessions.end_all(session.account_id, EndReason.ACCOUNT_DISABLED, now=tx.now) == 1


async def end_by_deleting(tx: Transaction, session: Session) -> None:
    """Delete the account with its sessions."""
    assert await tx.accounts.delete(session.account_id)


@pytest.mark.parametrize("end", [end_by_logout, end_by_disabling, end_by_deleting])
@pytest.mark.parametrize("moment", ["committed before the change", "still open at the change"])
@pytest.mark.parametrize("use", ["rotation", "replay"])
async def test_no_end_slips_between_look_and_change(
    two: tuple[AuthServer, SqlStorage], monkeypatch: pytest.MonkeyPatch, end: Any, moment: str, use: str
):
    """A session that another process ends after the look is not moved on, and nobody gets a token for it."""
    server, other = two
    services, families = server.graph.services, server.graph.services.refresh._families
    ada = Credentials("Ada", PASSWORD)
    pair = await services.login.login(ada, FIREFOX, delivery=Delivery.COOKIE, audience=None, replaces=None)
    if use == "replay":
        await services.refresh.refresh(pair.refresh_token, FIREFOX, delivery=Delivery.COOKIE)
    before = await other.read(lambda tx: tx.audit.search(EventFilter(limit=100)))
    find, ending = families.find, []

    async def find_and_be_overtaken(tx: Transaction, token: RefreshToken) -> tuple[Session, Account] | None:
        found = await find(tx, token)
        if not ending:
            assert found is not None
            ended = asyncio.Event()

            async def steps(beside: Transaction, session: Session) -> None:
                await end(beside, session)
                ended.set()
                if moment == "still open at the change":
                    await asyncio.sleep(0.2)  # the change waits for the row meanwhile; either order must refuse

            ending.append(asyncio.create_task(other.transact(steps, found[0])))
            await (ending[0] if moment == "committed before the change" else ended.wait())
        return found

    monkeypatch.setattr(type(families), "find", lambda _, tx, token: find_and_be_overtaken(tx, token))
    with pytest.raises((NoValidRefreshToken, InvalidRefreshToken)):
        await services.refresh.refresh(pair.refresh_token, FIREFOX, delivery=Delivery.COOKIE)
    await ending[0]
    assert await other.read(lambda tx: tx.audit.search(EventFilter(limit=100))) == before
