"""Credentials that come twice, in pieces, or in the wrong place."""

from __future__ import annotations

import json
from typing import Final

from tests.attacks.http.attacker import JSON, NAME, PASSWORD, Attacker
from tests.attacks.http.conftest import Log
from tokenkeep.domain.audit import EventFilter, EventKind

TAKING_COOKIE: Final = ("/login", "/refresh", "/logout")

ALMOST_BEARER: Final = {
    "Bearer": "invalid_token",
    "Bearer ": "invalid_token",
    "Bearer\t{}": "invalid_token",
    "Bearer {} ": "invalid_token",
    "Bearer {}, Bearer {}": "invalid_token",
    "Bearer {},{}": "invalid_token",
    "Bearer {} x": "invalid_token",
    "Bearer token={}": "invalid_token",
    'Bearer "{}"': "invalid_token",
    "Bearer\xa0{}": "invalid_token",
    "Bearer {}\xa0": "invalid_token",
    "Bearer{}": "invalid_token",
    "Bearer: {}": "invalid_token",
    " Bearer {}": "missing_token",
    "{}": "missing_token",
    "Token {}": "missing_token",
    "JWT {}": "missing_token",
    "Basic {}": "missing_token",
    "DPoP {}": "missing_token",
}

FOREIGN: Final = [
    [("Origin", "https://evil.example")],
    [("Origin", "null")],
    [("Origin", "http://127.0.0.1:8000.evil.example")],
    [("Origin", "http://127.0.0.1:8001")],
    [("Origin", "https://127.0.0.1:8000")],
    [("Origin", "http://localhost:8000")],
    [("Origin", "http://127.0.0.1:8000/")],
    [("Origin", "http://127.0.0.1:8000, http://evil.example")],
    [("Origin", "HTTP://127.0.0.1:8000")],
    [("Origin", "")],
    [("Origin", "http://evil.example\u00ff\x7f")],
    [("Origin", 'x"\\<script>alert(1)</script>')],
    [("Origin", "http://127.0.0.1:8000"), ("Origin", "http://evil.example")],
    [("Origin", "http://127.0.0.1:8000"), ("Sec-Fetch-Site", "cross-site")],
    [("Sec-Fetch-Site", "cross-site")],
    [("Sec-Fetch-Site", "same-site")],
    [("Sec-Fetch-Site", "none")],
    [("Sec-Fetch-Site", "SAME-ORIGIN")],
    [("Sec-Fetch-Site", "same-origin, cross-site")],
    [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
]


async def test_two_authorization_headers_are_refused(attacker: Attacker, log: Log) -> None:
    """Two `Authorization` headers are malformed, though both be good or one be empty; no token is in the log."""
    token = (await attacker.login()).json()["accessToken"]
    good = ("Authorization", f"Bearer {token}")
    for other in (good, ("Authorization", ""), ("authorization", "Basic YTpi"), ("AUTHORIZATION", "Bearer x")):
        for headers in ([good, other], [other, good]):
            reply = await attacker.ask("GET", "/me", headers=headers)
            reply.refused(400, "malformed_request")
            assert reply.header("www-authenticate") == 'Bearer error="invalid_request"'
    assert token not in json.dumps(log())


async def test_what_only_looks_like_a_bearer_token_is_none(attacker: Attacker, log: Log) -> None:
    """One scheme, one token, nothing around it (RFC 6750 §2.1); anything else is refused and not logged."""
    token = (await attacker.login()).json()["accessToken"]
    for template, code in ALMOST_BEARER.items():
        reply = await attacker.ask("GET", "/me", headers=[("Authorization", template.replace("{}", token))])
        assert reply.status == 401, template
        reply.refused(401, code)
        challenge = "Bearer" if code == "missing_token" else 'Bearer error="invalid_token"'
        assert reply.all("www-authenticate") == [challenge]
    assert token not in json.dumps(log())


async def test_the_scheme_is_read_in_any_case(attacker: Attacker) -> None:
    """`bEaReR` is Bearer (RFC 9110 §11.1)."""
    token = (await attacker.login()).json()["accessToken"]

    reply = await attacker.ask("GET", "/me", headers=[("Authorization", f"bEaReR  {token}")])

    assert reply.status == 200


async def test_a_token_of_a_mebibyte_is_refused_unread(attacker: Attacker, log: Log) -> None:
    """A token of 1 MiB is too large a header, and one of 9 KiB no token; neither reaches the log."""
    for size, status, code in ((1024 * 1024, 431, "headers_too_large"), (9 * 1024, 401, "invalid_token")):
        reply = await attacker.ask("GET", "/me", headers=[("Authorization", f"Bearer {'canary' * (size // 6)}")])
        reply.refused(status, code)
    assert "canary" not in json.dumps(log())


async def test_two_cookies_of_the_name_are_refused(attacker: Attacker, log: Log) -> None:
    """Two refresh cookies mean that somebody planted one: refused and noted, nothing is rotated, ended or logged."""
    login = await attacker.login(delivery="cookie")
    cookie = login.header("set-cookie").partition(";")[0]
    before = attacker.state()
    for path in TAKING_COOKIE:
        for headers in (
            [("Cookie", f"{cookie}; a=b; {cookie}")],
            [("Cookie", cookie), ("Cookie", cookie)],
            [("Cookie", f"refreshToken=planted; {cookie}")],
            [("Cookie", f"refreshToken=; {cookie}")],
        ):
            reply = await attacker.ask("POST", path, headers=[JSON, *headers], body=b"{}")
            reply.refused(400, "malformed_request")
            assert not reply.all("set-cookie")
    assert attacker.state() == before
    await attacker.server.graph.refusals.flush()
    noted = await attacker.server.graph.audit.search(EventFilter(kind=EventKind.REQUEST_REFUSED))
    assert [event.detail for event in noted] == ["two_cookies"] * 4 * len(TAKING_COOKIE)
    assert cookie.partition("=")[2] not in json.dumps(log())


async def test_a_cookie_of_almost_the_name_is_not_the_cookie(attacker: Attacker) -> None:
    """Other case, other prefix, spaces or quotes: only the exact name and the exact value count."""
    login = await attacker.login(delivery="cookie")
    value = login.header("set-cookie").partition(";")[0].partition("=")[2]
    before = attacker.state()
    for cookie in (
        f"RefreshToken={value}",
        f"refreshtoken={value}",
        f"__Host-refreshToken={value}",
        f"__Secure-refreshToken={value}",
        f"refreshToken ={value}",
        f'$Version=1; "refreshToken"={value}',
        f"x=refreshToken={value}",
        f"refreshToken,{value}",
        f"refreshToken%3D{value}",
        f'refreshToken="{value}"',
        f"refreshToken={value[:-1]}",
        f"refreshToken={value}A",
        f"refreshToken={value},x",
        f"refreshToken={value} {value}",
        f"refreshToken={value}\xa0",
        f"refreshToken={'A' * 8_000}",
    ):
        reply = await attacker.ask("POST", "/refresh", headers=[JSON, ("Cookie", cookie)], body=b"{}")
        assert reply.status == 401, cookie
        assert not reply.all("set-cookie")
    assert attacker.state() == before


async def test_a_refresh_token_works_by_the_way_it_came_only(attacker: Attacker) -> None:
    """In cookie mode a body with the token opens nothing, nor do other headers, nor both ways at once."""
    login = await attacker.login(delivery="cookie")
    cookie = login.header("set-cookie").partition(";")[0]
    token = cookie.partition("=")[2]
    assert "refreshToken" not in login.json()
    in_body = json.dumps({"refreshToken": token}).encode()
    of_another = json.dumps({"refreshToken": (await attacker.login()).json()["refreshToken"]}).encode()
    before = attacker.state()

    for headers, body in (
        ([], in_body),
        ([("Cookie", cookie)], in_body),
        ([("Cookie", cookie)], of_another),
        ([("Authorization", f"Bearer {token}")], b"{}"),
        ([("X-Refresh-Token", token)], b"{}"),
    ):
        reply = await attacker.ask("POST", "/refresh", headers=[JSON, *headers], body=body)
        assert reply.status == 401
        assert not reply.all("set-cookie")

    assert attacker.state() == before


async def test_a_page_of_another_site_moves_nothing(attacker: Attacker) -> None:
    """A request that a foreign page made the browser send neither sets, rotates nor ends anything."""
    login = await attacker.login(delivery="cookie")
    cookie = ("Cookie", login.header("set-cookie").partition(";")[0])
    before = attacker.state()
    credentials = json.dumps({"name": NAME, "password": PASSWORD}).encode()
    for path in TAKING_COOKIE:
        for headers in FOREIGN:
            body = credentials if path == "/login" else b"{}"
            reply = await attacker.ask("POST", path, headers=[JSON, cookie, *headers], body=body)
            assert reply.status in {400, 403}, f"{path} {headers}"
            reply.refused(reply.status, "cross_site" if reply.status == 403 else "malformed_request")
            assert not reply.all("set-cookie")
    assert attacker.state() == before
