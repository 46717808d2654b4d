"""Who the client is behind proxies, and who may speak plain http to a server whose address is https."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tests.attacks.http.attacker import NAME, PASSWORD
from tests.attacks.http.conftest import Log, OpenServer
from tokenkeep.api.addresses import Proxies, hosts_served
from tokenkeep.contract.loopback import is_loopback

PROXY = "10.0.0.5"
PROXIES = Proxies.of([PROXY, "10.1.0.0/16", "2001:db8:1::/48", "192.0.2.1/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # Nobody in front: nothing is believed.
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        ("203.0.113.9", ["10.0.0.5"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.7"], "127.0.0.1"),
        ("", ["198.51.100.7"], ""),
        ("unix:", ["198.51.100.7"], "unix:"),
        # One proxy: the last hop is what it saw.
        (PROXY, [], PROXY),
        (PROXY, ["198.51.100.7"], "198.51.100.7"),
        (PROXY, ["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
        (PROXY, ["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
        (PROXY, ["203.0.113.1,198.51.100.7"], "198.51.100.7"),
        (PROXY, ["  198.51.100.7\t"], "198.51.100.7"),
        (PROXY, ["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
        # Several proxies: each hop that is a proxy hands over to the one before it.
        (PROXY, ["198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        (PROXY, ["203.0.113.1, 198.51.100.7, 10.1.2.3, 10.1.9.9"], "198.51.100.7"),
        (PROXY, ["203.0.113.1, 198.51.100.7", "10.1.2.3", "10.1.9.9"], "198.51.100.7"),
        # A client that names a proxy before itself gains nothing.
        (PROXY, ["10.1.2.3, 198.51.100.7"], "198.51.100.7"),
        (PROXY, ["203.0.113.1, 10.1.2.3, 198.51.100.7"], "198.51.100.7"),
        # All hops are proxies: the outermost is the client.
        (PROXY, ["10.1.2.3, 10.1.9.9"], "10.1.2.3"),
        (PROXY, [PROXY, PROXY], PROXY),
        # IPv6, and IPv4 dressed as it.
        ("2001:db8:1::5", ["2001:db8:2::7"], "2001:db8:2::7"),
        ("2001:db8:1::5", ["2001:DB8:2:0:0:0:0:7"], "2001:db8:2::7"),
        ("2001:db8:2::5", ["2001:db8:1::7"], "2001:db8:2::5"),
        ("::ffff:10.0.0.5", ["198.51.100.7"], "198.51.100.7"),
        (PROXY, ["::ffff:198.51.100.7"], "198.51.100.7"),
        (PROXY, ["198.51.100.7, ::ffff:10.1.2.3"], "198.51.100.7"),
        ("::ffff:203.0.113.9", ["198.51.100.7"], "::ffff:203.0.113.9"),
        # Just beside a network.
        ("10.0.0.6", ["198.51.100.7"], "10.0.0.6"),
        ("10.2.0.1", ["198.51.100.7"], "10.2.0.1"),
        ("2001:db8:2::1", ["198.51.100.7"], "2001:db8:2::1"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(peer: str, forwarded: list[str], client: str) -> None:
    """From right to left, each hop is believed only if the one that reported it is a proxy."""
    assert PROXIES.client_of(peer, forwarded) == client


@pytest.mark.parametrize(
    "garbage",
    [
        *("", " ", ",", "unknown", "_hidden", "evil.example", "198.51.100.7.", "198.51.100", "198.51.100.256"),
        *("0x0a.0.0.1", "010.0.0.5", "1", "3325256704", "198.51.100.7/32", "198.51.100.7 10.0.0.5", "for=198.51.100.7"),
        *("::g", "1::2::3", "[::1", "<script>", "198.51.100.7\r\nX: y", "\u0661\u0662.0.0.1", "\xb9\xb2.0.0.1"),
        *("a" * 10_000, "%", "[198.51.100.7", "198.51.100.7:", "198.51.100.7:x", "198.51.100.7:1:2", "[]:80", ":80"),
    ],
    ids=lambda text: repr(text)[:30],
)
def test_garbage_is_nobody_and_what_stands_before_it_is_not_believed(garbage: str) -> None:
    """A hop that is no address ends the search at the proxy that reported it, whatever the client wrote before."""
    assert PROXIES.client_of(PROXY, [garbage]) == PROXY
    assert PROXIES.client_of(PROXY, [f"203.0.113.1, {garbage}, 10.1.2.3"]) in {"10.1.2.3", PROXY}
    assert PROXIES.client_of(PROXY, [f"{garbage}, 198.51.100.7"]) == "198.51.100.7"


@pytest.mark.parametrize(
    ("hop", "client"),
    [
        ("198.51.100.7:4711", "198.51.100.7"),
        ("[2001:db8:2::7]:4711", "2001:db8:2::7"),
        ("[2001:db8:2::7]", "2001:db8:2::7"),
    ],
)
def test_a_port_behind_an_address_is_not_garbage(hop: str, client: str) -> None:
    """Proxies that add the port of the client name the client all the same; else all would share one address."""
    assert PROXIES.client_of(PROXY, [hop]) == client


def test_an_address_with_a_zone_is_no_way_to_write_anything() -> None:
    """What follows a `%` in an IPv6 address could be any text; it never becomes part of an address that is logged."""
    client = Proxies.of(["fe80::/64"]).client_of("fe80::5", ["fe80::1%\x1b[31mevil"])

    assert "evil" not in client


def test_ten_thousand_hops_are_read_in_no_time() -> None:
    """A long chain costs one look at each hop, from the right."""
    hops = ", ".join(["203.0.113.1"] * 5_000 + ["198.51.100.7"] + ["10.1.2.3"] * 5_000)

    assert PROXIES.client_of(PROXY, [hops]) == "198.51.100.7"


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("", False),
        ("127.0.0.1:80", False),
        ("127.1", False),
    ],
)
def test_loopback_is_one_address_block(address: str, loopback: bool) -> None:
    """Only the machine's own addresses are loopback, however they are dressed; what merely looks like one is not."""
    assert is_loopback(address) is loopback


def test_hosts_of_a_loopback_server_are_all_its_names() -> None:
    """A server on 127.0.0.1 answers by every name of loopback; one elsewhere does not."""
    names = {"127.0.0.1:8000", "localhost:8000", "[::1]:8000"}

    assert hosts_served("http://127.0.0.1:8000", ("127.0.0.1", 8000), []) == names
    assert hosts_served("http://[::1]:8000", ("::1", 8000), []) == names
    assert hosts_served("https://auth.example.test", ("0.0.0.0", 8000), ["Other:1"]) == {
        "auth.example.test",
        "auth.example.test:443",
        "0.0.0.0:8000",
        "other:1",
    }


async def test_plain_http_is_taken_from_proxies_only(attack: OpenServer) -> None:
    """With an https issuer, a stranger who speaks plain http is told so; nothing that it sends is looked at."""
    attacker = await attack(issuer="https://auth.example.test", host="10.0.0.1", trusted_proxies=(PROXY, "10.1.0.0/16"))
    accepted = {PROXY: True, "10.1.2.3": True, "::ffff:10.0.0.5": True, "127.0.0.1": True, "::1": True}
    refused: dict[str | None, bool] = {"203.0.113.9": False, "10.0.0.6": False, "2001:db8::1": False, None: False}
    claims = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "proto=https;for=::1")]
    for client, expected in (accepted | refused).items():
        for headers in ([], claims):
            reply = await attacker.ask("GET", "/me", headers=headers, client=client, host="auth.example.test")
            assert (reply.status == 401) is expected, client
            if not expected:
                reply.refused(403, "https_required")


async def test_health_is_told_over_plain_http(attack: OpenServer) -> None:
    """An orchestrator checks health over plain http from wherever it is: there is nothing to overhear."""
    attacker = await attack(issuer="https://auth.example.test", host="10.0.0.1", trusted_proxies=(PROXY,))
    for path in ("/livez", "/readyz"):
        reply = await attacker.ask("GET", path, client="10.0.0.77", host="10.0.0.1:8000")
        assert (reply.status, reply.json()) == (200, {"status": "ok"})


async def test_the_address_behind_a_proxy_is_what_is_written_down(attack: OpenServer, log: Log) -> None:
    """Session, audit trail and log name the client that the proxy saw; other headers and other hops do not count."""
    attacker = await attack(issuer="https://auth.example.test", host="10.0.0.1", trusted_proxies=(PROXY,))
    await attacker.server.accounts.create(NAME, PASSWORD, role="user", actor="operator")
    headers = [
        ("X-Forwarded-For", "203.0.113.1, 198.51.100.7"),
        ("X-Real-IP", "203.0.113.2"),
        ("Forwarded", "for=203.0.113.3"),
    ]

    reply = await attacker.login(headers=headers, client=PROXY, host="auth.example.test")
    direct = await attacker.login(headers=headers, client="127.0.0.1", host="auth.example.test")

    assert reply.status == direct.status == 200
    assert _sessions(attacker) == ["198.51.100.7", "127.0.0.1"]
    assert [line["address"] for line in log() if line.get("path") == "/login"] == ["198.51.100.7", "127.0.0.1"]


def _sessions(attacker: Any) -> list[str]:
    connection = sqlite3.connect(attacker.server.settings.data_dir / "tokenkeep.db")
    try:
        return [row[0] for row in connection.execute("SELECT address FROM sessions ORDER BY rowid")]
    finally:
        connection.close()
