"""/admin, health and metrics: for whom they are, and what they say when something is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.api.caller import Caller, assert_problem
from tests.settable_clock import SettableClock
from tokenkeep.assembly import ObjectGraph
from tokenkeep.domain.accounts import Account
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.stores import SqlStorage

INSUFFICIENT = 'Bearer error="insufficient_scope"'
OPS_TOKEN = "an operations token, long enough: 7a3f"


def database_of(server: AuthServer) -> Database:
    """Return the database of an open server."""
    graph: ObjectGraph = server.graph
    assert isinstance(graph.storage, SqlStorage)
    return graph.storage._database


async def test_administrator_sees_the_overview(call: Caller):
    """The overview counts accounts and live sessions and names the keys."""
    session = await call.login("Root")
    await call.login("Ada")
    answer = await call("GET", "/admin", bearer=session.access)
    assert answer.status_code == 200
    overview = answer.json()
    assert (overview["accounts"], overview["liveSessions"]) == (2, 2)
    assert {(key["alg"], key["state"]) for key in overview["signingKeys"]} == {
        ("ES256", "active"),
        ("ES256", "upcoming"),
    }
    assert all(key.keys() == {"kid", "alg", "state"} for key in overview["signingKeys"])
    assert overview.keys() == {"accounts", "liveSessions", "signingKeys"}


async def test_others_are_forbidden(call: Caller):
    """A user's good token is refused with 403 and its challenge, no token and a bad one with 401."""
    session = await call.login("Ada")
    assert_problem(await call("GET", "/admin", bearer=session.access), "forbidden", challenge=INSUFFICIENT)
    assert_problem(await call("GET", "/admin"), "missing_token")
    assert_problem(await call("GET", "/admin", bearer="x"), "invalid_token", reason="JsonWebTokenError")


async def test_role_that_was_taken_away_is_forbidden(call: Caller):
    """Even while an old access token is still believed, the current role decides."""
    session = await call.login("Root")
    graph = call.server.graph

    async def demote(tx) -> None:
        await tx.execute("UPDATE accounts SET role = 'user' WHERE name = 'Root'")

    await database_of(call.server).transact(demote)
    assert graph.services.verifier.verify(session.access).role == "admin"
    assert_problem(await call("GET", "/admin", bearer=session.access), "forbidden")


async def test_role_set_by_an_operator_ends_the_token(call: Caller):
    """A demotion by command ends the administrator's access token at once."""
    session = await call.login("Root")
    demoted: Account = await call.server.accounts.set_role("Root", "user", actor="operator")
    assert demoted.role == "user"
    answer = await call("GET", "/admin", bearer=session.access)
    assert_problem(answer, "invalid_token", reason="JsonWebTokenError")


async def test_health(call: Caller):
    """Both health routes answer ok to anyone, and are not to be kept."""
    for path in ("/livez", "/readyz"):
        answer = await call("GET", path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["cache-control"] == "no-store"


async def test_without_the_database_it_lives_but_is_not_ready(call: Caller):
    """A database that does not answer makes the server unready, and does not make it restart."""
    database = database_of(call.server)
    await database.close()
    assert (await call("GET", "/livez")).status_code == 200
    answer = await call("GET", "/readyz")
    assert_problem(answer, "storage_unavailable", missing=["database"])
    assert answer.headers["retry-after"] == "1"
    await database.open()
    assert (await call("GET", "/readyz")).status_code == 200


async def test_stale_revocations_make_it_unready(call: Caller, clock: SettableClock):
    """A server that does not know what is revoked is not ready, and refuses to judge tokens: 503, never 401 or 200."""
    session = await call.login()
    await call.server.graph.follow_revocations.poll()
    database = database_of(call.server)
    await database.close()
    clock.elapse(5.0)
    answer = await call("GET", "/me", bearer=session.access)
    assert_problem(answer, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert_problem(await call("GET", "/me", bearer="x"), "invalid_token", reason="JsonWebTokenError")
    assert_problem(await call("GET", "/readyz"), "storage_unavailable", missing=["database", "revocations"])
    await database.open()
    await call.server.graph.follow_revocations.poll()
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200


async def test_stale_revocations_alone_make_it_unready(call: Caller, clock: SettableClock):
    """A database that answers is not enough, if the list has not been read for too long."""
    graph = call.server.graph

    async def never() -> None:
        raise OSError("no look succeeds")

    graph.follow_revocations._read_on = never  # type: ignore[method-assign]
    graph.follow_revocations._revision = None
    clock.elapse(5.0)
    assert_problem(await call("GET", "/readyz"), "unavailable", missing=["revocations"])


@pytest.fixture
async def operated(settings: Settings, clock: SettableClock) -> AsyncIterator[Caller]:
    """A caller of a server that has an operations token."""
    async with AuthServer(replace(settings, ops_token=Secret(OPS_TOKEN)), clock=clock) as server:
        yield Caller(server)


async def test_metrics_are_for_this_machine(call: Caller):
    """Without a token only this machine sees metrics; for others there are none."""
    assert_problem(await call("GET", "/metrics"), "not_found")
    answer = await Caller(call.server, "127.0.0.1")("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "tokenkeep_requests_total" in answer.text
    assert (await Caller(call.server, "::1")("GET", "/metrics")).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
async def test_request_through_a_proxy_is_not_of_this_machine(call: Caller, header: str):
    """A proxy on this machine does not open the metrics to the world."""
    answer = await Caller(call.server, "127.0.0.1")("GET", "/metrics", headers={header: "203.0.113.9"})
    assert_problem(answer, "not_found")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {OPS_TOKEN}", 200),
        (f"Bearer {OPS_TOKEN}x", 404),
        (f"Bearer {OPS_TOKEN[:-1]}", 404),
        (OPS_TOKEN, 404),
        ("Bearer ", 404),
        ("Bearer None", 404),
        ("", 404),
        ("Bearer é", 404),
    ],
)
async def test_metrics_open_with_the_operations_token(operated: Caller, header: str, status: int):
    """The token opens the metrics from anywhere, and nothing like it does."""
    answer = await operated("GET", "/metrics", headers=[(b"Authorization", header.encode("latin-1"))])
    assert answer.status_code == status


async def test_operations_token_opens_nothing_else(operated: Caller):
    """It is no access token, and an access token is no operations token."""
    assert_problem(await operated("GET", "/me", bearer=OPS_TOKEN), "invalid_token", reason="JsonWebTokenError")
    root = await operated.login("Root")
    assert_problem(await operated("GET", "/metrics", bearer=root.access), "not_found")


async def test_metrics_count_without_telling(call: Caller):
    """Requests are counted by route, method and status; nothing that a client chose makes a new label."""
    session = await call.login()
    await call("GET", "/me", bearer=session.access)
    await call("GET", "/secret-path-1")
    await call("BREW", "/me")
    text = (await Caller(call.server, "127.0.0.1")("GET", "/metrics")).text
    assert 'tokenkeep_requests_total{method="GET",route="/me",status="200"} 1.0' in text
    assert 'tokenkeep_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'tokenkeep_events_total{event="session_started"} 1.0' in text
    for chosen in ("secret-path-1", "BREW", "Ada", session.access, session.refresh):
        assert chosen not in text
