"""A database that was put back under the running server: nothing is done by it; keys and health are told as before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx2
import pytest

from tests.api.caller import PASSWORD, Caller, Login, assert_problem
from tests.flows.stage import FIREFOX, Row, Stage
from tests.settable_clock import SettableClock
from tokenkeep.domain.errors import Unavailable
from tokenkeep.domain.history import RolledBack
from tokenkeep.policies import endpoints_of
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings

FEED_TOKEN: Final = "a feed token, long enough: 5b8e21d7"
OPS_TOKEN: Final = "an operations token, long enough: 7a3f"
GOES_ON: Final = {"GET /.well-known/jwks.json", "GET /livez", "GET /metrics", "GET /openapi.json", "GET /tokenkeep.js"}
"""Routes that read nothing of sessions and accounts."""


@dataclass
class Node:
    """A server whose database can lose the last logout, and a process beside it that would not notice."""

    call: Caller
    stage: Stage
    beside: AuthServer
    ada: Login
    root: Login
    spare: Login
    """A session that nothing else uses."""

    async def __call__(self, method: str, path: str) -> httpx2.Response:
        """Return the answer to a request that is good in every way."""
        bodies: dict[str, Any] = {
            "/login": {"name": "Ada", "password": PASSWORD},
            "/register": {"name": "Grace", "password": "correct-battery-horse"},
        }
        bearer = {"/metrics": OPS_TOKEN, "/revocations": FEED_TOKEN}.get(path, self.root.access)
        cookie = self.ada.refresh if path in {"/refresh", "/logout"} else None
        filled = path.format(user="x" * 22, session="x" * 22, kid="x")
        return await self.call(method, filled, json=bodies.get(path), cookie=cookie, bearer=bearer)

    async def log_out_beside(self, login: Login) -> None:
        """Log somebody out by the process that notices nothing."""
        assert await self.beside.graph.services.logout.logout(login.refresh, FIREFOX)

    async def lose_the_last(self) -> Row:
        """Take the last revocation away, as a failover to a replica that lacks it does; returns it."""
        row = (await self.stage.revocations())[-1]
        await self.stage.execute("DELETE FROM revocations WHERE number = (SELECT number FROM revocation_head)")
        await self.stage.execute("UPDATE revocation_head SET number = number - 1")
        return row

    async def restore(self, row: Row) -> None:
        """Put the newest state back."""
        names = ("number", "kind", "value", "version", "revoked_at", "expires_at", "reason", "actor")
        await self.stage.execute(
            f"INSERT INTO revocations ({', '.join(names)}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            *(row[name] for name in names),
        )
        await self.stage.execute("UPDATE revocation_head SET number = number + 1")


@pytest.fixture
async def node(settings: Settings, clock: SettableClock) -> AsyncIterator[Node]:
    """A server with every route there is, where Ada and Root are logged in and somebody has just logged out."""
    changed = replace(settings, registration=True, feed_token=Secret(FEED_TOKEN), ops_token=Secret(OPS_TOKEN))
    beside = AuthServer(changed, clock=clock)
    async with AuthServer(changed, clock=clock) as server:
        await beside.open_for_commands()
        call = Caller(server)
        found = Node(
            call, Stage(server, clock), beside, await call.login(), await call.login("Root"), await call.login()
        )
        await found.log_out_beside(await call.login())
        await server.graph.follow_revocations.poll()
        yield found
        await beside.close()


async def test_nothing_is_done_by_an_older_state(node: Node):
    """Every route but those of keys and health answers 503, changes nothing, and works again with the newest state."""
    lost = await node.lose_the_last()
    with pytest.raises(RolledBack):
        await node.stage.parts.follow_revocations.poll()
    before = await node.stage.contents()
    seen = set()
    for endpoint in endpoints_of(node.call.server.settings):
        asked = f"{endpoint.method} {endpoint.path}"
        answer = await node(endpoint.method, endpoint.path)
        if asked in GOES_ON:
            assert answer.status_code == 200, asked
            seen.add(asked)
        else:
            assert_problem(answer, "unavailable", **({"missing": ["revocations"]} if asked == "GET /readyz" else {}))
            assert answer.headers["retry-after"] == "1", asked
    assert seen == GOES_ON
    assert await node.stage.contents() == before
    await node.restore(lost)
    await node.stage.parts.follow_revocations.poll()
    for method, path in (("POST", "/login"), ("POST", "/refresh"), ("GET", "/me"), ("GET", "/readyz")):
        assert (await node(method, path)).status_code == 200, path


async def test_a_logout_that_may_be_lost_is_not_confirmed(node: Node):
    """The cookie is kept, and with the newest state the same request ends the session."""
    lost = await node.lose_the_last()
    with pytest.raises(RolledBack):
        await node.stage.parts.follow_revocations.poll()
    assert_problem(await node("POST", "/logout"), "unavailable")
    await node.restore(lost)
    await node.stage.parts.follow_revocations.poll()
    assert (await node("POST", "/logout")).json() == {"ok": True}
    assert_problem(await node("POST", "/refresh"), "no_valid_refresh_token")


async def test_numbers_that_have_caught_up_do_not_help(node: Node):
    """Once another process has ended as much as was lost, nothing is done either, whatever time goes by."""
    await node.lose_the_last()
    await node.log_out_beside(node.spare)
    for _ in range(2):
        with pytest.raises(RolledBack, match="gone on from there"):
            await node.stage.parts.follow_revocations.poll()
        for path in ("/login", "/refresh", "/register"):
            assert_problem(await node("POST", path), "unavailable")
        node.stage.clock.elapse(3600)
        await node.stage.parts.key_ring.reload()


async def test_what_only_the_mark_knows_counts_too(node: Node):
    """An end that was lost before the list was read again is noticed by the high-water mark, and refused alike."""
    parts = node.stage.parts
    async with parts.follow_revocations._reading:  # it does not look from here on
        await node.log_out_beside(node.spare)
        await parts.history.keep()
        await node.lose_the_last()
        with pytest.raises(RolledBack):
            await parts.history.keep()
        for method, path in (("POST", "/login"), ("POST", "/refresh"), ("GET", "/me")):
            assert_problem(await node(method, path), "unavailable")
        assert_problem(await node("GET", "/readyz"), "unavailable", missing=["revocations"])


async def test_the_server_does_nothing_by_itself_either(node: Node):
    """Keys are not rotated, nothing is purged, and an embedding application changes no account."""
    await node.lose_the_last()
    parts = node.stage.parts
    with pytest.raises(RolledBack):
        await parts.follow_revocations.poll()
    for act in (parts.rotate_keys.advance, parts.purge.purge, lambda: parts.accounts.disable("Ada", actor="operator")):
        with pytest.raises(Unavailable, match="put back to an older state"):
            await act()
