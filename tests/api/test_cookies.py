"""The refresh cookie: its name and attributes over http and https, and what is read of a request's cookies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.api.caller import PASSWORD, Caller, Login, assert_problem
from tests.settable_clock import SettableClock
from tokenkeep.api.cookies import CookiePolicy
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

CREDENTIALS = {"name": "Ada", "password": PASSWORD}


@pytest.fixture
async def secure(settings: Settings, clock: SettableClock) -> AsyncIterator[Caller]:
    """A caller of a server whose public address is https."""
    async with AuthServer(replace(settings, issuer="https://auth.example.com"), clock=clock) as server:
        yield Caller(server)


async def test_cookie_over_https_is_locked_to_its_host(secure: Caller):
    """With an https issuer the cookie is `__Host-`, Secure, for all paths and no domain, when set and when cleared."""
    answer = await secure("POST", "/login", json=CREDENTIALS)
    session = Login.of(answer)
    attributes = "Path=/; HttpOnly; SameSite=Strict; Secure"
    assert answer.headers.get_list("set-cookie") == [
        f"__Host-refreshToken={session.refresh}; {attributes}; Max-Age=604800"
    ]
    renewed = await secure("POST", "/refresh", cookie=session.refresh)
    assert renewed.headers["set-cookie"].startswith("__Host-refreshToken=tkr_")
    assert renewed.headers["set-cookie"].endswith(f"; {attributes}; Max-Age=604800")
    out = await secure("POST", "/logout", cookie=Login.of(renewed).refresh)
    assert out.headers.get_list("set-cookie") == [f"__Host-refreshToken=; {attributes}; Max-Age=0"]


async def test_plain_name_means_nothing_over_https(secure: Caller):
    """A cookie that another origin could have planted under the plain name is not read."""
    session = await secure.login()
    headers = {"Cookie": f"refreshToken={session.refresh}"}
    assert_problem_over_https(await secure("POST", "/refresh", headers=headers), "no_valid_refresh_token")
    both = {"Cookie": f"refreshToken=planted; __Host-refreshToken={session.refresh}"}
    assert (await secure("POST", "/refresh", headers=both)).status_code == 200


def assert_problem_over_https(answer, code: str) -> None:
    """Hold an answer of the https server to a problem, and to strict transport."""
    assert_problem(answer, code)
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_https_is_demanded_for_a_year(secure: Caller):
    """Every answer of an https server says so."""
    for path in ("/livez", "/nothing", "/me", "/.well-known/jwks.json"):
        answer = await secure("GET", path)
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_http_promises_no_strict_transport(call: Caller):
    """A server on http does not promise what it cannot keep."""
    assert "strict-transport-security" not in (await call("GET", "/livez")).headers


@pytest.mark.parametrize(
    "headers",
    [
        [("Cookie", "refreshToken={0}; refreshToken={0}")],
        [("Cookie", "refreshToken={0}; refreshToken=planted")],
        [("Cookie", "refreshToken=planted; refreshToken={0}")],
        [("Cookie", "refreshToken=; refreshToken={0}")],
        [("Cookie", "refreshToken={0};refreshToken")],
        [("Cookie", "refreshToken={0}"), ("Cookie", "refreshToken={0}")],
        [("Cookie", "a=b; refreshToken={0}; c=d"), ("Cookie", "refreshToken=planted")],
    ],
    ids=["twice", "planted last", "planted first", "empty first", "bare name", "two headers", "among others"],
)
@pytest.mark.parametrize("path", ["/refresh", "/logout", "/login"])
async def test_two_cookies_of_the_name_are_refused(call: Caller, path: str, headers: list[tuple[str, str]]):
    """One of two may have been planted by a neighbour, so neither is used and nothing changes."""
    session = await call.login()
    sent = [(name, value.format(session.refresh)) for name, value in headers]
    body = CREDENTIALS if path == "/login" else None
    answer = await call("POST", path, json=body, headers=sent)
    assert_problem(answer, "malformed_request", "More than one cookie named refreshToken")
    assert (await call("POST", "/refresh", cookie=session.refresh)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "refreshToken={0}",
        "a=b; refreshToken={0}",
        "refreshToken={0}; a=b",
        "refreshToken={0};a=b",
        "  refreshToken={0}  ",
        "RefreshToken=x; refreshtoken=y; refreshToken={0}",
        "xrefreshToken=x; refreshTokenx=y; refreshToken={0}",
        "__Host-refreshToken=x; refreshToken={0}",
        "a; =b; ;; refreshToken={0}",
    ],
)
async def test_cookie_is_found_among_others(call: Caller, header: str):
    """Other cookies, wherever they stand and however they are spelt, are no obstacle."""
    session = await call.login()
    answer = await call("POST", "/refresh", headers={"Cookie": header.format(session.refresh)})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("issuer", "name", "secure", "origin"),
    [
        ("http://127.0.0.1:8000", "refreshToken", False, "http://127.0.0.1:8000"),
        ("http://localhost", "refreshToken", False, "http://localhost"),
        ("http://[::1]:8000/auth", "refreshToken", False, "http://[::1]:8000"),
        ("https://auth.example.com", "__Host-refreshToken", True, "https://auth.example.com"),
        ("https://example.com/auth", "__Host-refreshToken", True, "https://example.com"),
        ("https://auth.example.com:8443", "__Host-refreshToken", True, "https://auth.example.com:8443"),
    ],
)
def test_policy_follows_from_the_issuer(issuer: str, name: str, secure: bool, origin: str):
    """Name, Secure and the origin of the issuer's own pages follow from its address alone."""
    policy = CookiePolicy.of(issuer, ["https://app.example.com"])
    assert (policy.name, policy.secure) == (name, secure)
    assert policy.origins == {origin, "https://app.example.com"}


def test_cookie_fits_into_a_browser():
    """A cookie stays far below the 4,096 bytes that browsers take."""
    assert len(CookiePolicy.of("https://auth.example.com", []).set("tkr_" + "A" * 71, 2_592_000)) < 300
