"""Senders of refresh tokens that hang up, before it is judged what they sent or after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from tests.api.caller import Caller
from tests.settable_clock import SettableClock
from tokenkeep.domain.audit import EventFilter, EventKind
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

BODY: Final = {"type": "http.request", "body": b"", "more_body": False}
LEFT: Final = {"type": "http.disconnect"}
PATIENCE: Final = 10.0
LONG: Final = 20
"""How many times as long as a good token takes, somebody waits who leaves because no tokens come."""

Receive = Callable[[], Awaitable[dict[str, Any]]]


@pytest.fixture
async def call(settings: Settings, clock: SettableClock) -> AsyncIterator[Caller]:
    """A caller of a server at which every token but the newest is one that was reused."""
    async with AuthServer(replace(settings, refresh_grace=timedelta(0)), clock=clock) as server:
        yield Caller(server)


@pytest.fixture
async def stale(call: Caller) -> str:
    """A token that was exchanged already."""
    first = await call.login()
    assert (await call("POST", "/refresh", cookie=first.refresh)).status_code == 200
    return first.refresh


async def present(call: Caller, token: str, after_the_body: Receive) -> int:
    """Return the status of the answer to a refresh; `after_the_body` is what the server hears once it was read."""
    heard: list[dict[str, Any]] = [BODY]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return heard.pop() if heard else await after_the_body()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/refresh",
        "raw_path": b"/refresh",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"cookie", f"{call.cookie}={token}".encode())],
        "client": ("192.0.2.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    await asyncio.wait_for(call.server.app(scope, receive, send), PATIENCE)
    return statuses[0]


async def alarmed(server: AuthServer) -> bool:
    """Tell whether a token was found to be used twice."""
    return len(await server.graph.audit.search(EventFilter(kind=EventKind.REFRESH_REUSED))) == 1


async def test_who_left_before_the_verdict_raises_no_alarm(call: Caller, stale: str):
    """A token of somebody who has hung up already is refused, and nothing changes."""

    async def receive() -> dict[str, Any]:
        return LEFT

    assert await present(call, stale, receive) == 401
    assert not await alarmed(call.server)


async def test_who_leaves_because_no_tokens_come_raises_the_alarm(call: Caller, stale: str):
    """Nobody finds out in silence whether a token still is a good one, by leaving when its answer should be there."""
    good = await call.login()
    clock = asyncio.get_running_loop().time
    began = clock()
    assert (await call("POST", "/refresh", cookie=good.refresh)).status_code == 200
    patience = max(0.05, LONG * (clock() - began))

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(patience)
        return LEFT

    assert await present(call, stale, receive) == 401
    assert await alarmed(call.server)


async def test_an_application_before_the_server_that_repeats_the_body_stops_nothing(call: Caller, stale: str):
    """What says that the body has ended, again and again, and never that the sender has left, is not waited for."""

    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        told.append(BODY)
        assert len(told) < 10, "it is asked without end"
        return BODY

    assert await present(call, stale, receive) == 401
    assert len(told) == 2
    assert await alarmed(call.server)


async def test_a_hang_up_that_cannot_be_told_is_none(call: Caller, stale: str):
    """Where it cannot be heard whether the sender has left, the token is judged as if it had not."""

    async def receive() -> dict[str, Any]:
        raise RuntimeError("what lies before the server does not tell")

    assert await present(call, stale, receive) == 401
    assert await alarmed(call.server)
