"""A login that ends sessions on PostgreSQL takes its locks in the order in which everybody takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import pytest

from tests.postgres_server import PostgresSchema
from tests.storage.contracts import LONGEST_WAIT
from tokenkeep.domain import revocations
from tokenkeep.domain.sessions import Client, Delivery, EndReason, RefreshToken
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.login import Credentials
from tokenkeep.flows.ports import Transaction
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.storage.sql.sessions import SqlSessions

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("postgres")]

PASSWORD: Final = "correct-horse-battery"
FIREFOX: Final = Client("Firefox", "192.0.2.1")


@pytest.fixture
async def server(postgres_settings: Settings) -> AsyncIterator[AuthServer]:
    """A server that lets two sessions of an account live, and the account Ada."""
    async with AuthServer(replace(postgres_settings, max_sessions=2)) as opened:
        await opened.accounts.create("Ada", PASSWORD, role="user", actor="operator")
        yield opened


async def log_in(server: AuthServer, *, replaces: TokenPair | None = None) -> TokenPair:
    """Log Ada in."""
    token = RefreshToken.parse(replaces.refresh_token) if replaces else None
    return await server.graph.services.login.login(
        Credentials("Ada", PASSWORD), FIREFOX, delivery=Delivery.COOKIE, replaces=token
    )


async def test_a_login_and_another_end_do_not_wait_for_each_other(
    server: AuthServer, postgres_schema: PostgresSchema, monkeypatch: pytest.MonkeyPatch
):
    """A login that replaces one session and ends another, and an end of the latter under way: neither is run again.

    The login holds the head of the revocations only once it has every session, as all do who revoke something.
    """
    oldest, replaced = await log_in(server), await log_in(server)
    session = RefreshToken.parse(oldest.refresh_token).session_id
    monkeypatch.setattr(server.graph.services.login._opener, "_most", 1)
    ended, go_on = asyncio.Event(), asyncio.Event()
    runs = {"login": 0, "end": 0}
    end_surplus = SqlSessions.end_surplus

    async def counted(sessions: SqlSessions, *wanted: Any, **limits: Any) -> Any:
        runs["login"] += 1
        return await end_surplus(sessions, *wanted, **limits)

    async def end(tx: Transaction) -> None:
        runs["end"] += 1
        await tx.sessions.end(session, EndReason.LOGOUT, now=tx.now)
        ended.set()
        await go_on.wait()
        await tx.revocations.append(revocations.of_session(session, at=tx.now, reason="logout", actor="operator"))

    monkeypatch.setattr(SqlSessions, "end_surplus", counted)
    ending = asyncio.create_task(server.graph.storage.transact(end))
    await ended.wait()
    entering = asyncio.create_task(log_in(server, replaces=replaced))
    await postgres_schema.wait_until_blocked()
    go_on.set()
    async with asyncio.timeout(LONGEST_WAIT):
        await ending
        pair = await entering
    assert runs == {"login": 1, "end": 1}
    assert server.verifier.verify(pair.access_token)
