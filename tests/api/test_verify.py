"""/verify: what a proxy is told about a bearer, and how a proxy that asks wrongly is refused."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final
from urllib.parse import quote, unquote

import pytest

from tests.api.caller import ISSUER, PASSWORD, Caller, Login, assert_problem
from tests.settable_clock import START, SettableClock
from tokenkeep.api.forward_auth import IDENTITY_HEADERS, identity_headers
from tokenkeep.contract.access_token import AccessToken
from tokenkeep.jose import jwt
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

ORDERS: Final = "https://orders.example.com"
NOT_SERVED: Final = "This audience is not served here; see the setting audiences"
FORBIDDEN: Final = 'Bearer error="insufficient_scope"'


@pytest.fixture
async def server(settings: Settings, clock: SettableClock) -> AsyncIterator[AuthServer]:
    """An open server that also issues tokens for two services, one of them with an odd name."""
    audiences = (ORDERS, "büro & co")
    async with AuthServer(replace(settings, audiences=audiences), clock=clock) as opened:
        yield opened


async def ask(call: Caller, session: Login | None = None, *, method: str = "GET", **query: str):
    """Ask about the bearer, as a proxy does that was set up with a query."""
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    path = f"/verify?{text}" if text else "/verify"
    return await call(method, path, bearer=session.access if session else None)


async def test_the_bearer_is_named_in_headers(call: Caller):
    """A good token is answered with every header, percent-encoded; nothing is kept by caches."""
    session = await call.login(audience=ORDERS)
    claims = jwt.decode_unverified(session.access).claims
    answer = await ask(call, session, audience=ORDERS, role="user")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert answer.headers["cache-control"] == "no-store"
    assert {name: answer.headers[name] for name in IDENTITY_HEADERS} == {
        "X-Auth-Subject": claims["sub"],
        "X-Auth-Name": "Ada",
        "X-Auth-Role": "user",
        "X-Auth-Audience": "https%3A%2F%2Forders.example.com",
        "X-Auth-Client": "tokenkeep",
        "X-Auth-Session": claims["sid"],
        "X-Auth-Expires": str(START // 1000 + 900),
    }
    told = {name for name in answer.headers if name.startswith("x-auth-")}
    assert told == {name.lower() for name in IDENTITY_HEADERS}


@pytest.mark.parametrize("name", ["Zoë Åström", "李小龍", "O'Neil, Jr. (100%)", 'a"b\\c:d;e=f+g&h', "𠮷" * 128])
async def test_every_name_arrives(call: Caller, name: str):
    """Whatever a name is made of, its header is unreserved ASCII, and decodes to the name again."""
    await call.server.accounts.create(name, PASSWORD, role="user", actor="operator")
    answer = await ask(call, await call.login(name))
    [raw] = [value for header, value in answer.headers.raw if header.lower() == b"x-auth-name"]
    assert raw.isascii()
    assert set(raw.decode()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%")
    assert unquote(raw.decode(), errors="strict") == unicodedata.normalize("NFC", name)


def test_no_character_leaves_its_header():
    """Line breaks, NUL and everything else that could end a header or begin another are encoded."""
    everything = "".join(map(chr, range(0x100)))
    token = AccessToken(
        issuer=ISSUER,
        subject=everything,
        audience=(everything, "b"),
        issued_at=0,
        expires_at=1.5,
        token_id="",
        client_id=everything,
        session_id=everything,
        name=everything,
        role=everything,
    )
    for name, value in identity_headers(token).items():
        assert value.isascii(), name
        assert value.replace("%", "").replace("-", "").replace("_", "").replace(".", "").replace("~", "").isalnum()
    assert unquote(identity_headers(token)["X-Auth-Audience"]) == f"{everything} b"
    assert identity_headers(token)["X-Auth-Expires"] == "1"


def test_what_a_token_does_not_say_is_empty():
    """All headers are there whatever the token lacks, so that a proxy that copies them replaces a client's own."""
    token = AccessToken(
        issuer=ISSUER, subject="s", audience=("a",), issued_at=0, expires_at=1, token_id=None, client_id=None
    )
    headers = identity_headers(token)
    assert tuple(headers) == IDENTITY_HEADERS
    assert [name for name, value in headers.items() if value == ""] == [
        "X-Auth-Name",
        "X-Auth-Role",
        "X-Auth-Client",
        "X-Auth-Session",
    ]


async def test_head_is_answered_like_get(call: Caller):
    """HEAD has the headers of GET and no body; no other method is served."""
    session = await call.login()
    got, asked = await ask(call, session), await ask(call, session, method="HEAD")
    assert (asked.status_code, asked.content) == (200, b"")
    for name in IDENTITY_HEADERS:
        assert asked.headers[name] == got.headers[name]
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"):
        answer = await ask(call, session, method=method)
        assert_problem(answer, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("of", [None, ISSUER, ORDERS, "büro & co"])
@pytest.mark.parametrize("asked", [None, ISSUER, ORDERS, "büro & co"])
async def test_a_token_counts_for_its_audience_only(call: Caller, of: str | None, asked: str | None):
    """A token for one service opens no other; without a name, the server itself is meant."""
    session = await call.login(**({"audience": of} if of else {}))
    answer = await ask(call, session, **({"audience": asked} if asked else {}))
    if (of or ISSUER) == (asked or ISSUER):
        assert answer.status_code == 200
        assert unquote(answer.headers["x-auth-audience"]) == (asked or ISSUER)
    else:
        assert_problem(answer, "invalid_token", reason="JsonWebTokenError")
        assert not any(name.startswith("x-auth-") for name in answer.headers)


@pytest.mark.parametrize("path", ["/me", "/sessions"])
async def test_other_routes_are_no_wider_for_it(call: Caller, path: str):
    """A token for a service opens none of the server's own routes."""
    session = await call.login(audience=ORDERS)
    assert_problem(await call("GET", path, bearer=session.access), "invalid_token", reason="JsonWebTokenError")


@pytest.mark.parametrize(
    ("name", "role", "status"), [("Ada", "user", 200), ("Ada", "admin", 403), ("Root", "user", 403)]
)
async def test_the_role_must_be_the_one_asked_for(call: Caller, name: str, role: str, status: int):
    """Another role than the token's is refused, an administrator's too, and the answer names nobody."""
    answer = await ask(call, await call.login(name), role=role)
    assert answer.status_code == status
    if status == 403:
        assert_problem(answer, "forbidden", challenge=FORBIDDEN)
        assert not any(header.startswith("x-auth-") for header in answer.headers)


async def test_a_changed_role_counts_at_once(call: Caller):
    """The token with the old role ends when the role is changed; the next one carries the new role."""
    session = await call.login()
    await call.server.accounts.set_role("Ada", "editor", actor="operator")
    await call.server.graph.follow_revocations.poll()
    assert_problem(await ask(call, session, role="user"), "invalid_token", reason="JsonWebTokenError")
    renewed = Login.of(await call("POST", "/refresh", cookie=session.refresh))
    assert (await ask(call, renewed, role="editor")).headers["x-auth-role"] == "editor"


async def test_tokens_that_are_not_good_are_refused(call: Caller, clock: SettableClock):
    """No token, no bearer scheme, two headers, a forged, an ended and an expired token: each as on any other route."""
    session = await call.login()
    assert_problem(await ask(call), "missing_token")
    assert_problem(await call("GET", "/verify", headers={"Authorization": "Basic QQ=="}), "missing_token")
    twice = [("Authorization", f"Bearer {session.access}")] * 2
    answer = await call("GET", "/verify", headers=twice)
    assert_problem(
        answer, "malformed_request", "More than one Authorization header", challenge='Bearer error="invalid_request"'
    )
    for token in (session.access[:-4] + "AAAA", session.access + "A", session.refresh, "x"):
        assert_problem(await call("GET", "/verify", bearer=token), "invalid_token", reason="JsonWebTokenError")
    assert_problem(await call("GET", f"/verify?access_token={session.access}"), "malformed_request", UNKNOWN)
    assert_problem(await call("GET", "/verify", cookie=session.refresh), "missing_token")
    await call("POST", "/logout", cookie=session.refresh)
    assert_problem(await ask(call, session), "invalid_token", reason="JsonWebTokenError")
    late = await call.login()
    clock.advance(905_000)
    assert_problem(await ask(call, late), "invalid_token", reason="TokenExpiredError")


UNKNOWN: Final = "Unknown query parameter"
TWICE: Final = "A query parameter is there twice"
MALFORMED: Final = "The query is malformed"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("roles=admin", UNKNOWN),
        ("Role=admin", UNKNOWN),
        ("role[]=admin", UNKNOWN),
        ("scope=admin", UNKNOWN),
        ("role=admin&role=admin", TWICE),
        ("role=user&role=admin", TWICE),
        ("role=user&%72ole=admin", TWICE),
        (f"audience={ISSUER}&audience={ISSUER}", TWICE),
        ("role", MALFORMED),
        ("role=%ff", MALFORMED),
        ("&", MALFORMED),
        ("role=user&", MALFORMED),
        ("audience=" + "a" * 4096, "The query is too long"),
    ],
)
@pytest.mark.parametrize("with_token", [True, False])
async def test_a_query_that_is_not_understood_lets_nobody_pass(
    call: Caller, query: str, sentence: str, with_token: bool
):
    """An unknown, repeated or malformed parameter is refused whoever asks, so that a slip of the pen is noticed."""
    session = await call.login()
    answer = await call("GET", f"/verify?{query}", bearer=session.access if with_token else None)
    assert_problem(answer, "malformed_request", sentence)


@pytest.mark.parametrize(
    ("query", "sentence", "field"),
    [
        ("audience=", NOT_SERVED, "audience"),
        ("audience=https://other.example.com", NOT_SERVED, "audience"),
        (f"audience={ISSUER}/", NOT_SERVED, "audience"),
        (f"audience={ORDERS.upper()}", NOT_SERVED, "audience"),
        (f"audience={ISSUER}+{ORDERS}", NOT_SERVED, "audience"),
        (f"audience={ISSUER},{ORDERS}", NOT_SERVED, "audience"),
        ("role=", "The field has the wrong type or value", "role"),
        ("role=Admin", "The field has the wrong type or value", "role"),
        ("role=user,admin", "The field has the wrong type or value", "role"),
        ("role=user+admin", "The field has the wrong type or value", "role"),
        ("role=" + "a" * 33, "The field has the wrong type or value", "role"),
    ],
)
@pytest.mark.parametrize("with_token", [True, False])
async def test_a_value_that_cannot_be_meant_lets_nobody_pass(
    call: Caller, query: str, sentence: str, field: str, with_token: bool
):
    """An audience that is not served, or no role at all: refused by its field; an empty value is never a default."""
    session = await call.login()
    answer = await call("GET", f"/verify?{query}", bearer=session.access if with_token else None)
    assert_problem(answer, "invalid_field", sentence, field=field)


async def test_a_line_break_does_not_make_another_role(call: Caller):
    """A role with a line break behind it is nobody's."""
    answer = await call("GET", "/verify?role=user%0A", bearer=(await call.login()).access)
    assert_problem(answer, "forbidden", challenge=FORBIDDEN)


async def test_nothing_is_decided_while_revocations_are_not_known(call: Caller, clock: SettableClock):
    """When it is not known what was revoked, nobody passes and nobody is called invalid, for whatever audience."""
    session = await call.login(audience=ORDERS)
    clock.elapse(60.0)
    assert_problem(await ask(call, session, audience=ORDERS), "unavailable")


async def test_no_database_is_asked(call: Caller, monkeypatch: pytest.MonkeyPatch):
    """The token alone decides, so that a check costs what one of /me does."""
    session = await call.login()

    async def read(*_: object, **__: object) -> None:
        raise AssertionError("the database was asked")

    for name in ("read", "transact", "revision"):
        monkeypatch.setattr(call.server.graph.storage, name, read)
    assert (await ask(call, session, role="user")).status_code == 200


async def test_what_a_proxy_adds_changes_nothing(call: Caller):
    """The headers that proxies add, and those a client invented, neither open the route nor show up in its answer."""
    session = await call.login()
    added = {
        "X-Forwarded-Method": "DELETE",
        "X-Forwarded-Uri": "/admin?role=user",
        "X-Original-URI": "/admin",
        "X-Forwarded-Host": "evil.example",
        "X-Auth-Role": "admin",
        "X-Auth-Subject": "forged",
        "Content-Length": "0",
    }
    assert_problem(await call("GET", "/verify", headers=added), "missing_token")
    answer = await call("GET", "/verify", headers=added, bearer=session.access)
    assert (answer.headers.get_list("x-auth-role"), answer.headers.get_list("x-auth-name")) == (["user"], ["Ada"])
    assert answer.headers["x-auth-subject"] != "forged"
