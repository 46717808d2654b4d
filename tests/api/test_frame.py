"""Around every request: bounds on its headers, the host it asks for, its transport, its address and its id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from tests.api.caller import PASSWORD, SECURITY_HEADERS, Caller, Login, assert_problem
from tests.settable_clock import SettableClock
from tokenkeep.api.addresses import Proxies, hosts_served
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

CREDENTIALS = {"name": "Ada", "password": PASSWORD}
LARGEST = 16 * 1024

Opened = Callable[..., Any]


@pytest.fixture
def opened(settings: Settings, clock: SettableClock) -> Opened:
    """Opens a server whose settings are changed, and returns a caller of it."""

    @asynccontextmanager
    async def open_with(**changes: Any) -> AsyncIterator[Caller]:
        async with AuthServer(replace(settings, **changes), clock=clock) as server:
            yield Caller(server)

    return open_with


ASKED: dict[str, Callable[[Caller, Login], Awaitable[httpx2.Response]]] = {
    "200": lambda call, session: call("GET", "/me", bearer=session.access),
    "200 of a login": lambda call, _: call("POST", "/login", json=CREDENTIALS),
    "200 of a logout": lambda call, _: call("POST", "/logout"),
    "200 of the key set": lambda call, _: call("GET", "/.well-known/jwks.json"),
    "200 of the description": lambda call, _: call("GET", "/openapi.json"),
    "304": lambda call, _: not_modified(call),
    "400": lambda call, _: call("POST", "/refresh", content=b"[", headers={"Content-Type": "application/json"}),
    "401": lambda call, _: call("GET", "/me"),
    "403": lambda call, session: call("GET", "/admin", bearer=session.access),
    "404": lambda call, _: call("GET", "/nothing"),
    "405": lambda call, _: call("GET", "/login"),
    "413": lambda call, _: call("POST", "/login", content=b" " * (LARGEST + 1)),
    "415": lambda call, _: call("POST", "/login", content=b"x"),
    "421": lambda call, _: call("GET", "/me", headers={"Host": "evil.example"}),
    "422": lambda call, _: call("POST", "/login", json={}),
    "431": lambda call, _: call("GET", "/me", headers={"X-Long": "x" * LARGEST}),
}


async def not_modified(call: Caller) -> httpx2.Response:
    """Ask for a key set that is already known."""
    tag = (await call("GET", "/.well-known/jwks.json")).headers["etag"]
    return await call("GET", "/.well-known/jwks.json", headers={"If-None-Match": tag})


async def test_every_answer_has_the_security_headers(call: Caller):
    """Whatever the answer, browsers are told neither to guess nor to embed nor to remember, each header once."""
    session = await call.login()
    for name, ask in ASKED.items():
        answer = await ask(call, session)
        assert str(answer.status_code) == name[:3], name
        for header, value in SECURITY_HEADERS.items():
            assert answer.headers.get_list(header) == [value], (name, header)
        public = "key set" in name or name == "304"
        assert answer.headers.get_list("cache-control") == ["public, max-age=300" if public else "no-store"], name
        assert "server" not in answer.headers
        assert "x-powered-by" not in answer.headers


async def test_every_answer_has_an_id(call: Caller):
    """Each answer carries an id of its own, by which its log lines are found."""
    session = await call.login()
    ids = [(await ask(call, session)).headers.get_list("x-request-id") for ask in ASKED.values()]
    assert all(len(each) == 1 and len(each[0]) == 16 for each in ids)
    assert len({each[0] for each in ids}) == len(ids)


@pytest.mark.parametrize("given", ["abcdefgh", "a" * 64, "2f8c.1-_Z", "00000000-0000-4000-8000-000000000000"])
async def test_id_of_the_caller_is_kept(call: Caller, given: str):
    """A request that brings an id keeps it, through proxies too."""
    assert (await call("GET", "/livez", headers={"X-Request-ID": given})).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "short", "a" * 65, "with space", "a;b=c;d=e", "ééééééééé", '"quoted-id"'])
async def test_unfit_id_is_replaced(call: Caller, given: str):
    """What could break a log line is not taken as an id."""
    headers = [(b"X-Request-ID", given.encode("latin-1"))]
    known_as = (await call("GET", "/livez", headers=headers)).headers["x-request-id"]
    assert known_as != given
    assert len(known_as) == 16


def section_size(headers: list[tuple[str, str]]) -> int:
    """Return the size of a header section: names, values, and four bytes a line."""
    return sum(len(name) + len(value) + 4 for name, value in headers)


async def test_header_section_is_bounded(call: Caller):
    """16 KiB of headers are taken, one byte more is refused, in one header or in many."""
    own = (await call("GET", "/livez")).request.headers.multi_items()
    room = LARGEST - section_size(own)
    one = [("X-Long", "x" * (room - 10))]
    assert (await call("GET", "/livez", headers=one)).status_code == 200
    answer = await call("GET", "/livez", headers=[("X-Long", "x" * (room - 9))])
    assert_problem(answer, "headers_too_large")
    many = [(f"X-{number:05}", "") for number in range(room // 11)]
    assert (await call("GET", "/livez", headers=many)).status_code == 200
    assert_problem(await call("GET", "/livez", headers=[*many, ("X-99999", "x")]), "headers_too_large")


async def test_too_large_headers_are_refused_before_anything_else(call: Caller):
    """No cookie and no token in such a request is used."""
    session = await call.login()
    answer = await call("POST", "/logout", cookie=session.refresh, headers={"X-Long": "x" * LARGEST})
    assert_problem(answer, "headers_too_large")
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "[::1]:8000"])
async def test_own_hosts_are_served(call: Caller, host: str):
    """The issuer's host and the loopback names of what is listened on are served."""
    assert (await call("GET", "/.well-known/jwks.json", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8000.evil.example", "evil.example:8000", "", "localhost"],
)
@pytest.mark.parametrize("path", ["/login", "/.well-known/jwks.json", "/nothing", "/openapi.json"])
async def test_other_hosts_are_not(call: Caller, host: str, path: str):
    """A request for another host is refused, so that a page cannot reach this server under its own name."""
    method = "POST" if path == "/login" else "GET"
    answer = await call(method, path, json=CREDENTIALS if method == "POST" else None, headers={"Host": host})
    assert_problem(answer, "misdirected_request")


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Forwarded-Server", "Forwarded", "X-Original-URL"])
async def test_other_headers_do_not_name_the_host(call: Caller, header: str):
    """The address of the server is a setting; no header changes what is issued."""
    answer = await call("POST", "/login", json=CREDENTIALS, headers={header: "host=evil.example"})
    assert answer.status_code == 200
    assert "evil.example" not in str(answer.headers)


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_health_is_asked_for_by_address(call: Caller, path: str):
    """Orchestrators call health routes under whatever name they know."""
    assert (await call("GET", path, headers={"Host": "10.1.2.3:9999"})).status_code == 200


async def test_more_hosts_may_be_listed(opened: Opened):
    """A listed host is served, with and without capitals."""
    async with opened(allowed_hosts=("auth.internal:8000",)) as call:
        answer = await call("GET", "/.well-known/jwks.json", headers={"Host": "Auth.Internal:8000"})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("issuer", "listening", "served", "refused"),
    [
        (
            "https://auth.example.com",
            ("0.0.0.0", 8000),
            ["auth.example.com", "auth.example.com:443", "0.0.0.0:8000"],
            ["auth.example.com:8000", "localhost:8000", "127.0.0.1:8000", "example.com"],
        ),
        (
            "https://auth.example.com:8443/auth",
            ("127.0.0.1", 8000),
            ["auth.example.com:8443", "127.0.0.1:8000", "localhost:8000", "[::1]:8000"],
            ["auth.example.com", "auth.example.com:443"],
        ),
        ("http://localhost", ("::1", 80), ["localhost", "localhost:80", "[::1]:80"], ["localhost:8000"]),
        ("http://[::1]:8000", ("::1", 8000), ["[::1]:8000", "localhost:8000"], ["[::1]", "::1"]),
    ],
)
def test_hosts_follow_from_the_settings(issuer: str, listening: tuple[str, int], served: list[str], refused: list[str]):
    """What is served follows from the issuer and from what is listened on."""
    hosts = hosts_served(issuer, listening, [])
    assert set(served) <= hosts
    assert hosts.isdisjoint(refused)


async def test_plain_http_from_elsewhere_is_refused_behind_https(opened: Opened):
    """With an https issuer a request that came in the clear is let in from this machine and trusted proxies only."""
    proxied = {"issuer": "https://auth.example.com", "host": "0.0.0.0", "trusted_proxies": ("10.0.0.0/24",)}
    async with opened(**proxied) as call:
        http = {"Host": "auth.example.com"}
        for address, status in (("192.0.2.1", 403), ("10.0.1.1", 403), ("10.0.0.7", 200), ("127.0.0.1", 200)):
            transport = httpx2.ASGITransport(app=call.server.app, client=(address, 1))
            async with httpx2.AsyncClient(transport=transport, base_url="http://auth.example.com") as client:
                answer = await client.get("/.well-known/jwks.json", headers=http)
                assert answer.status_code == status, address
                if status == 403:
                    assert_problem(answer, "https_required")
        assert (await call("GET", "/livez")).status_code == 200, "https itself is let in"


async def address_of_login(call: Caller, forwarded: str | list[str]) -> str:
    """Return the address that is stored with a session whose login carried these headers."""
    values = [forwarded] if isinstance(forwarded, str) else forwarded
    headers = [("X-Forwarded-For", value) for value in values]
    answer = await call("POST", "/login", json=CREDENTIALS, headers=headers)
    sessions = await call("GET", "/sessions", bearer=Login.of(answer).access)
    return next(each["address"] for each in sessions.json()["sessions"] if each["current"])


async def test_forwarded_address_is_not_believed_by_default(call: Caller):
    """Without trusted proxies the address is that of the connection."""
    assert await address_of_login(call, "203.0.113.9") == "192.0.2.1"


async def test_address_comes_from_the_trusted_proxies(opened: Opened):
    """The nearest hop that is not a trusted proxy is the client, whatever stands left of it."""
    async with opened(trusted_proxies=("192.0.2.1", "10.0.0.0/24")) as call:
        assert await address_of_login(call, "203.0.113.9") == "203.0.113.9"
        assert await address_of_login(call, "1.1.1.1, 203.0.113.9, 10.0.0.3") == "203.0.113.9"
        assert await address_of_login(call, ["1.1.1.1", "203.0.113.9"]) == "203.0.113.9"
        assert await address_of_login(call, "nonsense") == "192.0.2.1"
        assert await address_of_login(call, []) == "192.0.2.1"
        untrusted = Caller(call.server, "192.0.2.99")
        assert await address_of_login(untrusted, "203.0.113.9") == "192.0.2.99"


@pytest.mark.parametrize(
    ("networks", "peer", "forwarded", "client"),
    [
        ([], "10.0.0.1", ["203.0.113.9"], "10.0.0.1"),
        (["10.0.0.1"], "10.0.0.1", [], "10.0.0.1"),
        (["10.0.0.1"], "10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        (["10.0.0.1"], "10.0.0.2", ["203.0.113.9"], "10.0.0.2"),
        (["10.0.0.1"], "10.0.0.1", ["10.0.0.1"], "10.0.0.1"),
        (["10.0.0.0/24"], "10.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["10.0.0.0/24"], "10.0.0.1", ["127.0.0.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["10.0.0.1"], "10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"),
        (["10.0.0.1"], "10.0.0.1", ["203.0.113.9:1234"], "203.0.113.9"),
        (["10.0.0.1"], "10.0.0.1", [""], "10.0.0.1"),
        (["10.0.0.1"], "::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        (["2001:db8::/64"], "2001:db8::1", ["2001:db8:1::9"], "2001:db8:1::9"),
        (["10.0.0.1"], "", ["203.0.113.9"], ""),
        (["10.0.0.1"], "unix:", ["203.0.113.9"], "unix:"),
    ],
)
def test_client_is_the_first_hop_that_nobody_vouches_for(
    networks: list[str], peer: str, forwarded: list[str], client: str
):
    """From right to left, each hop is believed only on the word of a trusted proxy."""
    assert Proxies.of(networks).client_of(peer, forwarded) == client
