"""A logout that comes too often says so, and leaves the browser its cookie."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.api.caller import Caller
from tests.settable_clock import SettableClock
from tokenkeep.jose.encoding import encode_base64url
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.settings.kinds import Rate

FORGED = "tkr_" + encode_base64url(b"\1" + bytes(52))


@pytest.fixture
async def call(settings: Settings, clock: SettableClock) -> AsyncIterator[Caller]:
    """A caller of a server that lets one logout in vain be tried in ten seconds."""
    limited = replace(settings, logout_limit_address=Rate(1, timedelta(seconds=10)))
    async with AuthServer(limited, clock=clock) as server:
        yield Caller(server)


async def test_a_limited_logout_keeps_the_cookie(call: Caller, clock: SettableClock):
    """It is 429 with the time to wait and no `Set-Cookie`: nobody believes to be logged out; afterwards it works."""
    session = await call.login()
    assert (await call("POST", "/logout", cookie=FORGED)).json() == {"ok": True}

    refused = await call("POST", "/logout", cookie=session.refresh)

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.headers["retry-after"] == "10"
    assert refused.headers["ratelimit-policy"] == '"logout-address";q=1;w=10'
    assert "set-cookie" not in refused.headers
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200
    clock.elapse(10)
    # Revocations are read again, as they are all the time where time passes by itself.
    await call.server.graph.follow_revocations.poll()
    done = await call("POST", "/logout", cookie=session.refresh)
    assert done.json() == {"ok": True}
    assert "Max-Age=0" in done.headers["set-cookie"]
    assert (await call("GET", "/me", bearer=session.access)).status_code == 401


async def test_without_a_token_a_logout_is_never_limited(call: Caller):
    """Who has no cookie, or one that is no token, gets the same answer as ever and costs nothing."""
    for cookie in (None, "no token", "tkr_short") * 5:
        assert (await call("POST", "/logout", cookie=cookie)).json() == {"ok": True}
