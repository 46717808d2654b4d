"""Every problem code: how it is provoked, and the whole of its answer. Nothing of an unexpected error gets out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from tests.api.caller import PASSWORD, PROBLEMS, Caller, assert_problem
from tests.api.test_operations import database_of
from tests.quick_hashes import occupy
from tests.settable_clock import SettableClock
from tokenkeep.api import requests
from tokenkeep.api.problems import CODES, problem_of, status_of
from tokenkeep.domain.errors import NameTaken, NotFound, Refusal
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

CREDENTIALS = {"name": "Ada", "password": PASSWORD}
JSON = {"Content-Type": "application/json"}
SECRET_DETAIL = "SELECT password_hash FROM accounts -- /home/someone/tokenkeep.db"


def test_table_of_codes_is_known():
    """Every code of the product is in the tests' own table, with the same status."""
    assert {code: status_of(code) for code in CODES} == {code: status for code, (status, _) in PROBLEMS.items()}


async def endless():
    """Send the beginning of a body, and never its end."""
    yield b"{"
    await asyncio.Event().wait()


async def many_logins(call: Caller) -> httpx2.Response:
    """Log in while no more passwords can be checked."""
    occupy(call.server.graph.hasher)
    return await call("POST", "/login", json=CREDENTIALS)


async def without_database(call: Caller) -> httpx2.Response:
    """Refresh while the database does not answer."""
    session = await call.login()
    await database_of(call.server).close()
    return await call("POST", "/refresh", cookie=session.refresh)


async def over_http(settings: Settings, clock: SettableClock) -> httpx2.Response:
    """Ask an https server in the clear."""
    async with AuthServer(replace(settings, issuer="https://auth.example.com"), clock=clock) as server:
        transport = httpx2.ASGITransport(app=server.app, client=("192.0.2.1", 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://auth.example.com") as client:
            return await client.get("/.well-known/jwks.json")


PROVOKED: dict[str, Callable[[Caller], Awaitable[httpx2.Response]]] = {
    "invalid_credentials": lambda call: call("POST", "/login", json={"name": "Ada", "password": "x" * 20}),
    "no_valid_refresh_token": lambda call: call("POST", "/refresh"),
    "invalid_refresh_token": lambda call: call("POST", "/refresh", cookie="x"),
    "missing_token": lambda call: call("GET", "/me"),
    "not_found": lambda call: call("GET", "/nothing"),
    "method_not_allowed": lambda call: call("GET", "/login"),
    "body_too_large": lambda call: call("POST", "/login", content=b" " * 16_385, headers=JSON),
    "unsupported_media_type": lambda call: call("POST", "/login", content=b"x"),
    "misdirected_request": lambda call: call("GET", "/me", headers={"Host": "evil.example"}),
    "headers_too_large": lambda call: call("GET", "/me", headers={"X-Long": "x" * 16_384}),
    "storage_unavailable": without_database,
    "busy": many_logins,
}


@pytest.mark.parametrize("code", PROVOKED)
async def test_problem_has_its_whole_answer(call: Caller, code: str):
    """Status, body and headers of the problem are exactly those of the table."""
    assert_problem(await PROVOKED[code](call), code)


async def test_slow_body_has_its_whole_answer(call: Caller, monkeypatch: pytest.MonkeyPatch):
    """A body whose end does not come gets 408."""
    monkeypatch.setattr(requests, "BODY_TIMEOUT", 0.01)
    assert_problem(await call("POST", "/login", content=endless(), headers=JSON), "request_timeout")


async def test_clear_text_has_its_whole_answer(settings: Settings, clock: SettableClock):
    """Plain http to an https server gets 403."""
    assert_problem(await over_http(settings, clock), "https_required")


@pytest.mark.parametrize(("refusal", "code"), [(NameTaken(), "name_taken"), (NotFound("detail"), "not_found")])
def test_refusals_without_a_route_have_their_answer(refusal: Refusal, code: str):
    """What only routes of other configurations answer is a problem like the others."""
    answer = problem_of(refusal)
    assert answer.status_code == PROBLEMS[code][0]
    assert b"detail" not in answer.body


async def broken(*_: Any, **__: Any) -> Any:
    """Stand for any part of the server that fails in a way nobody thought of."""
    raise RuntimeError(SECRET_DETAIL)


@pytest.mark.parametrize(
    ("method", "path", "flow", "name", "arguments"),
    [
        ("POST", "/login", "login", "login", {"json": CREDENTIALS}),
        ("POST", "/refresh", "refresh", "refresh", {"cookie": "tkr_x"}),
        ("POST", "/logout", "logout", "logout", {"cookie": "tkr_x"}),
        ("GET", "/admin", "overview", "view", {}),
        ("GET", "/readyz", "readiness", "check", {}),
    ],
)
async def test_unexpected_error_says_nothing_of_itself(  # noqa: PLR0917  (the columns of a table)
    call: Caller,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    flow: str,
    name: str,
    arguments: dict[str, Any],
):
    """An error that nobody expected is a bare 500 with the request's id; what it was is in the log."""
    root = await call.login("Root")
    monkeypatch.setattr(getattr(call.server.graph.services, flow), name, broken)
    with caplog.at_level(logging.ERROR, logger="tokenkeep.api"):
        answer = await call(method, path, bearer=root.access, **arguments)
    assert_problem(answer, "internal_error")
    assert answer.headers["x-request-id"]
    assert "SELECT" not in f"{answer.text}{answer.headers}"
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


async def test_server_lives_on_after_an_unexpected_error(call: Caller, monkeypatch: pytest.MonkeyPatch):
    """One broken request is no reason for the next to fail."""
    with monkeypatch.context() as patch:
        patch.setattr(call.server.graph.services.login, "login", broken)
        assert (await call("POST", "/login", json=CREDENTIALS)).status_code == 500
    assert (await call("POST", "/login", json=CREDENTIALS)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "arguments"),
    [
        ("POST", "/login", {"json": CREDENTIALS}),
        ("POST", "/refresh", {}),
        ("POST", "/logout", {}),
        ("GET", "/admin", {}),
        ("GET", "/sessions", {}),
        ("GET", "/readyz", {}),
    ],
)
async def test_without_the_database_nothing_is_decided(call: Caller, method: str, path: str, arguments: dict[str, Any]):
    """A database that does not answer is 503 with a time to come back, and changes no cookie; then all is as before."""
    session = await call.login("Root")
    database = database_of(call.server)
    await database.close()
    answer = await call(method, path, cookie=session.refresh, bearer=session.access, **arguments)
    assert_problem(answer, "storage_unavailable", **({"missing": ["database"]} if path == "/readyz" else {}))
    assert answer.headers["retry-after"] == "1"
    await database.open()
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200
    assert (await call("POST", "/refresh", cookie=session.refresh)).status_code == 200


async def test_refused_refresh_never_clears_the_cookie(call: Caller, clock: SettableClock):
    """Whatever refuses a refresh, the jar keeps what it has: a newer token may be in it already."""
    session = await call.login()
    answers = [
        await call("POST", "/refresh"),
        await call("POST", "/refresh", cookie="x"),
        await call("POST", "/refresh", cookie="tkr_" + "A" * 71),
        await call("POST", "/refresh", cookie=session.refresh, json={"refreshToken": "x"}),
        await call("POST", "/refresh", cookie=session.refresh, json={"audience": "https://other.example"}),
        await call("POST", "/refresh", cookie=session.refresh, headers={"Origin": "https://evil.example"}),
        await call("POST", "/refresh", cookie=session.refresh, content=b"[", headers=JSON),
    ]
    await call("POST", "/refresh", cookie=session.refresh)
    clock.advance(10_000)
    answers += [await call("POST", "/refresh", cookie=session.refresh) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 422, 403, 400, 401, 401]
    assert all("set-cookie" not in answer.headers for answer in answers)


async def test_refused_login_sets_no_cookie(call: Caller):
    """Only a login that succeeded changes the jar."""
    old = await call.login()
    answer = await call("POST", "/login", json={"name": "Ada", "password": "x" * 20}, cookie=old.refresh)
    assert_problem(answer, "invalid_credentials")
    assert (await call("GET", "/me", bearer=old.access)).status_code == 200


async def test_logout_that_could_not_be_stored_keeps_the_cookie(call: Caller):
    """A logout that was not made durable says so, and leaves the token to try again with."""
    session = await call.login()
    database = database_of(call.server)
    await database.close()
    assert_problem(await call("POST", "/logout", cookie=session.refresh), "storage_unavailable")
    await database.open()
    answer = await call("POST", "/logout", cookie=session.refresh)
    assert answer.headers["set-cookie"] == "refreshToken=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
    assert_problem(await call("GET", "/me", bearer=session.access), "invalid_token", reason="JsonWebTokenError")


async def test_problems_repeat_nothing_of_the_request(call: Caller):
    """Control characters, quotes and markup of a request come back in no answer."""
    hostile = '"><script>\u202e\u0007evil'
    answers = [
        await call("POST", "/login", json={"name": hostile, "password": PASSWORD}),
        await call("POST", "/login", json={"name": "Ada", "password": hostile}),
        await call("POST", "/login", json={**CREDENTIALS, "audience": hostile}),
        await call("POST", "/login", json={**CREDENTIALS, "delivery": hostile}),
        await call("POST", "/login", json={**CREDENTIALS, hostile: "x"}),
        await call("POST", "/refresh", json={"refreshToken": hostile}),
        await call("GET", "/%22%3E%3Cscript%3Eevil"),
        await call("GET", "/me", bearer="evil<script>"),
    ]
    assert all(answer.status_code in {401, 404, 422} for answer in answers)
    assert all("evil" not in answer.text for answer in answers)
    assert all(answer.text.isascii() for answer in answers)


async def test_logs_tell_why_and_hold_no_secret(call: Caller, caplog: pytest.LogCaptureFixture):
    """A refusal's cause is in the log; passwords, tokens and names of strangers are not."""
    with caplog.at_level(logging.DEBUG, logger="tokenkeep"):
        session = await call.login()
        await call("POST", "/login", json={"name": "Ada", "password": "a-wrong-password"})
        await call("POST", "/refresh", cookie=session.refresh)
        await call("GET", "/me", bearer=session.access + "x")
        await call("POST", "/refresh", cookie="tkr_" + "A" * 71)
        await call("GET", f"/me?access_token={session.access}")
    told = [vars(record) for record in caplog.records]
    lines = [(each["method"], each["path"], each.get("refused", "")) for each in told if each["msg"] == "request"]
    assert [(method, path, refused.partition(":")[0]) for method, path, refused in lines] == [
        ("POST", "/login", ""),
        ("POST", "/login", "invalid_credentials"),
        ("POST", "/refresh", ""),
        ("GET", "/me", "invalid_token"),
        ("POST", "/refresh", "invalid_refresh_token"),
        ("GET", "/me", "missing_token"),
    ]
    assert lines[3][2].removeprefix("invalid_token: ")
    text = f"{caplog.text} {told}"
    for secret in (PASSWORD, "a-wrong-password", session.refresh, session.refresh[4:], session.access):
        assert secret not in text
