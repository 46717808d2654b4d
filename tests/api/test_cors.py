"""Cross-origin reading: off but for the listed origins, and never for anyone else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from tests.api.caller import Caller
from tests.settable_clock import SettableClock
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

APP = "https://app.example.com"
EVIL = [
    "https://evil.example",
    "null",
    "https://app.example.com.evil.example",
    "https://evil-app.example.com",
    "https://xapp.example.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://APP.example.com",
    "https://app.example.com/",
    "https://auth.example.com.evil.example",
]
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


@pytest.fixture
async def listed(settings: Settings, clock: SettableClock) -> AsyncIterator[Caller]:
    """A caller of a server that lists one origin besides its own."""
    changed = replace(settings, issuer="https://auth.example.com", allowed_origins=(APP,))
    async with AuthServer(changed, clock=clock) as server:
        yield Caller(server)


def cors_headers(answer: httpx2.Response) -> dict[str, str]:
    """Return the headers of an answer that let another origin read it."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-allow-origin")}


async def test_nobody_reads_by_default(call: Caller):
    """Without listed origins no answer but the public key set may be read by other pages."""
    for origin in (APP, "http://127.0.0.1:8000", "null"):
        headers = {"Origin": origin}
        assert cors_headers(await call("GET", "/me", headers=headers)) == {}
        preflight = await call("OPTIONS", "/login", headers={**headers, **PREFLIGHT})
        assert preflight.status_code == 405
        assert cors_headers(preflight) == {}


async def test_listed_origin_reads(listed: Caller):
    """A listed page may call with the cookie and read answers and errors, and caches know that it matters who asks."""
    headers = {"Origin": APP}
    for method, path, status in (("GET", "/me", 401), ("POST", "/refresh", 401), ("GET", "/livez", 200)):
        answer = await listed(method, path, headers=headers)
        assert answer.status_code == status
        assert answer.headers.get_list("access-control-allow-origin") == [APP]
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "origin" in answer.headers["vary"].lower()
        exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert exposed == {"www-authenticate", "retry-after"}


async def test_listed_origin_may_ask_first(listed: Caller):
    """The preflight of a listed page is answered with the methods and headers that are needed, and no more."""
    answer = await listed("OPTIONS", "/login", headers={"Origin": APP, **PREFLIGHT})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    methods = {name.strip() for name in answer.headers["access-control-allow-methods"].split(",")}
    assert methods <= {"GET", "POST", "DELETE", "PUT", "PATCH"}
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"authorization", "content-type"} <= allowed
    assert "*" not in allowed | methods


async def test_a_preflight_lets_nobody_past_a_proxy(listed: Caller):
    """A proxy that asks with the client's own method and headers gets no success for a preflight without a token."""
    for path in ("/verify", "/verify?role=admin"):
        answer = await listed("OPTIONS", path, headers={"Origin": APP, "Access-Control-Request-Method": "GET"})
        assert answer.status_code == 405


@pytest.mark.parametrize("origin", EVIL)
async def test_other_origins_read_nothing(listed: Caller, origin: str):
    """No other origin is echoed, alike as it may look, in answers and in preflights."""
    for method, path, more in (("GET", "/me", {}), ("POST", "/refresh", {}), ("OPTIONS", "/login", PREFLIGHT)):
        answer = await listed(method, path, headers={"Origin": origin, **more})
        assert cors_headers(answer) == {}, path
        assert "access-control-allow-credentials" not in answer.headers
        assert "origin" in answer.headers["vary"].lower()


async def test_key_set_is_for_everyone_without_credentials(listed: Caller):
    """The key set may be read by any page; for a page that is not listed, never with credentials."""
    answer = await listed("GET", "/.well-known/jwks.json", headers={"Origin": "https://evil.example"})
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    for_app = await listed("GET", "/.well-known/jwks.json", headers={"Origin": APP})
    assert for_app.headers.get_list("access-control-allow-origin") == [APP]


@pytest.mark.parametrize(
    "asked",
    [
        {"Access-Control-Request-Method": "PATCH"},
        {"Access-Control-Request-Method": "post"},
        {**PREFLIGHT, "Access-Control-Request-Headers": "content-type, x-other"},
    ],
    ids=str,
)
async def test_listed_origin_may_not_ask_for_more(listed: Caller, asked: dict[str, str]):
    """A preflight for a method or header that no route takes is refused with a document."""
    answer = await listed("OPTIONS", "/login", headers={"Origin": APP, **asked})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    assert "access-control-allow-methods" not in answer.headers


async def test_two_origins_are_nobodys(listed: Caller):
    """A request that names a listed origin and another one is let read nothing."""
    for origins in ((APP, "https://evil.example"), ("https://evil.example", APP), (APP, APP)):
        headers = [("Origin", origin) for origin in origins]
        assert cors_headers(await listed("GET", "/me", headers=headers)) == {}
        assert cors_headers(await listed("OPTIONS", "/login", headers=[*headers, *PREFLIGHT.items()])) == {}


async def test_listed_origin_logs_in(listed: Caller):
    """A listed page logs in and refreshes with the locked cookie."""
    headers = {"Origin": APP, "Sec-Fetch-Site": "same-site"}
    credentials = {"name": "Ada", "password": "correct-horse-battery"}
    answer = await listed("POST", "/login", json=credentials, headers=headers)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"].partition(";")[0]
    answer = await listed("POST", "/refresh", headers={**headers, "Cookie": cookie})
    assert answer.status_code == 200
