"""Which pages may make a browser log in, refresh and log out: a matrix of origins and fetch metadata."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.api.caller import ISSUER, PASSWORD, Caller, Login, assert_problem
from tests.settable_clock import SettableClock
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

OWN = ISSUER
LISTED = "http://127.0.0.1:5173"
NO_ORIGIN = "Cross-site request refused: it carries no Origin"
FROM_ELSEWHERE = "Cross-site request refused: Sec-Fetch-Site is cross-site"

Headers = dict[str, str]


@pytest.fixture
async def call(settings: Settings, clock: SettableClock) -> AsyncIterator[Caller]:
    """A caller of a server that lists one more origin."""
    async with AuthServer(replace(settings, allowed_origins=(LISTED,)), clock=clock) as server:
        yield Caller(server)


def from_page(origin: str | None, site: str | None = None) -> Headers:
    """Return what a browser adds to a request of a page."""
    headers = {"Origin": origin, "Sec-Fetch-Site": site}
    return {name: value for name, value in headers.items() if value is not None}


ADMITTED = [
    from_page(None),
    from_page(None, "same-origin"),
    from_page(OWN),
    from_page(OWN, "same-origin"),
    from_page(LISTED),
    from_page(LISTED, "same-site"),
    from_page(OWN, "same-site"),
    from_page(OWN, "none"),
]


@pytest.mark.parametrize("headers", ADMITTED, ids=str)
async def test_own_pages_and_programs_are_let_in(call: Caller, headers: Headers):
    """The issuer's pages, listed ones, and what is no browser log in, refresh and log out."""
    answer = await call("POST", "/login", json={"name": "Ada", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 200
    answer = await call("POST", "/refresh", cookie=Login.of(answer).refresh, headers=headers)
    assert answer.status_code == 200
    assert (await call("POST", "/logout", cookie=Login.of(answer).refresh, headers=headers)).json() == {"ok": True}


EVIL_ORIGINS = [
    "https://evil.example",
    "http://evil.example",
    "null",
    "*",
    "",
    "http://127.0.0.1",
    "http://127.0.0.1:8001",
    "http://127.0.0.1:80000",
    "http://127.0.0.1:8000.evil.example",
    "http://127.0.0.1:8000@evil.example",
    "http://127.0.0.1:8000/",
    "http://127.0.0.1:8000, http://evil.example",
    "https://127.0.0.1:8000",
    "http://localhost:8000",
    "http://[::1]:8000",
    "HTTP://127.0.0.1:8000",
    "http://evil.127.0.0.1:8000",
    "127.0.0.1:8000",
    "file://",
    "chrome-extension://abcdefgh",
    "http://127.0.0.1:5174",
]


def refused_origin(origin: str) -> str:
    """Return the sentence that refuses an origin."""
    return (
        f"Cross-site request refused: {origin} is neither the issuer's origin nor in allowed_origins "
        "(localhost and 127.0.0.1 are different origins)"
    )


def refusals() -> list[tuple[Headers, str]]:
    """Return what must not be let in, and the sentence with which it is refused."""
    cases = [(from_page(origin), refused_origin(origin)) for origin in EVIL_ORIGINS]
    cases += [
        (from_page("https://evil.example", site), refused_origin("https://evil.example"))
        for site in ("same-origin", "same-site", "cross-site", "none")
    ]
    cases += [(from_page(origin, "cross-site"), FROM_ELSEWHERE) for origin in (OWN, LISTED, None)]
    return cases + [(from_page(None, site), NO_ORIGIN) for site in ("same-site", "none", "", "Same-Origin", "anything")]


@pytest.mark.parametrize("path", ["/login", "/refresh", "/logout"])
async def test_other_pages_are_refused(call: Caller, path: str):
    """No other page logs anyone in or out or spends a token, and each refusal names the origin and the setting."""
    session = await call.login()
    body = {"name": "Ada", "password": PASSWORD} if path == "/login" else None
    for headers, sentence in refusals():
        answer = await call("POST", path, json=body, cookie=session.refresh, headers=headers)
        assert_problem(answer, "cross_site", sentence)
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200
    renewed = await call("POST", "/refresh", cookie=session.refresh)
    assert renewed.status_code == 200
    admin = await call.login("Root")
    overview = await call("GET", "/admin", bearer=admin.access)
    assert overview.json()["liveSessions"] == 2, "no refused login opened a session"


async def test_two_origins_are_refused(call: Caller):
    """A request with two Origin headers is malformed, even if both are good."""
    headers = [("Origin", OWN), ("Origin", OWN)]
    answer = await call("POST", "/refresh", headers=headers)
    assert_problem(answer, "malformed_request", "More than one Origin header")


@pytest.mark.parametrize("origin", ["http://" + "x" * 200, "http://é.example", "http://a\x7fb"])
async def test_unpresentable_origin_is_not_repeated(call: Caller, origin: str):
    """An origin that is long or not plain text is refused without being shown."""
    headers = [(b"Origin", origin.encode("latin-1"))]
    answer = await call("POST", "/refresh", headers=headers)
    assert_problem(answer, "cross_site", refused_origin("the request's origin"))


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
@pytest.mark.parametrize("path", ["/login", "/refresh", "/logout"])
async def test_forms_are_refused(call: Caller, path: str, content_type: str):
    """What a form of any page can send without asking is no request for this server."""
    session = await call.login()
    answer = await call(
        "POST",
        path,
        content=b'{"name":"Ada","password":"correct-horse-battery"}',
        cookie=session.refresh,
        headers={"Content-Type": content_type},
    )
    assert_problem(answer, "unsupported_media_type")
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200


async def test_unguarded_routes_may_be_called_from_anywhere(call: Caller):
    """Routes that neither take nor set the cookie have no need of the rule: they cannot act with a browser's login."""
    session = await call.login()
    headers = from_page("https://evil.example", "cross-site")
    for path in ("/livez", "/.well-known/jwks.json"):
        assert (await call("GET", path, headers=headers)).status_code == 200
    assert (await call("GET", "/me", bearer=session.access, headers=headers)).status_code == 200


async def test_without_a_list_only_the_issuer_is_let_in(settings: Settings, clock: SettableClock):
    """By default no other origin may log in."""
    async with AuthServer(settings, clock=clock) as server:
        answer = await Caller(server)("POST", "/refresh", headers=from_page(LISTED))
        assert_problem(answer, "cross_site", refused_origin(LISTED))


async def test_origin_of_a_mounted_server_has_no_path(settings: Settings, clock: SettableClock):
    """With a path in the issuer the origin is what comes before it."""
    async with AuthServer(replace(settings, issuer="http://127.0.0.1:8000/auth"), clock=clock) as server:
        call = Caller(server)
        assert_problem(await call("POST", "/refresh", headers=from_page(OWN)), "no_valid_refresh_token")
        answer = await call("POST", "/refresh", headers=from_page(OWN + "/auth"))
        assert_problem(answer, "cross_site", refused_origin(OWN + "/auth"))
