"""Headers that claim to know better where a request came from, whom it is for, and what it is called."""

from __future__ import annotations

import json
import sqlite3
from typing import Final

import pytest

from tests.attacks.http.attacker import JSON, Attacker
from tests.attacks.http.conftest import Log, OpenServer
from tokenkeep.jose import jwt

ELSEWHERE: Final = (
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-For", "203.0.113.9, 198.51.100.7"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Server", "evil.example"),
    ("X-Forwarded-Prefix", "/evil"),
    ("Forwarded", 'for="203.0.113.9";host=evil.example;proto=https'),
    ("X-Real-IP", "203.0.113.9"),
    ("X-Client-IP", "203.0.113.9"),
    ("X-Host", "evil.example"),
    ("X-Original-Host", "evil.example"),
    ("True-Client-IP", "203.0.113.9"),
    ("CF-Connecting-IP", "203.0.113.9"),
    ("Client-IP", "203.0.113.9"),
    ("Via", "1.1 evil.example"),
    ("Front-End-Https", "on"),
    ("Referer", "https://evil.example/"),
)


async def test_no_header_moves_issuer_cookie_or_address(attacker: Attacker, log: Log) -> None:
    """With no trusted proxy, nothing that a request says of itself changes what it gets or what is written of it."""
    expected = await attacker.login(delivery="cookie")
    attributes = expected.header("set-cookie").partition(";")[2]
    for header in ELSEWHERE:
        login = await attacker.login(delivery="cookie", headers=[header])
        claims = jwt.decode_unverified(login.json()["accessToken"]).claims
        assert claims["iss"] == claims["aud"] == "http://127.0.0.1:8000", header
        assert login.header("set-cookie").startswith("refreshToken=tkr_")
        assert login.header("set-cookie").partition(";")[2] == attributes
        assert not any(value in json.dumps(login.headers) for value in ("evil.example", "203.0.113"))
    assert _addresses(attacker) == {"127.0.0.1"}
    assert {line["address"] for line in log() if line["event"] == "request"} == {"127.0.0.1"}
    document = await attacker.ask("GET", "/openapi.json", headers=ELSEWHERE)
    assert b"evil" not in document.body


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.0.0.1:8000.",
        "127.0.0.1:8000:8000",
        "127.0.0.1:08000",
        "127.0.0.1:8000@evil.example",
        "evil.example@127.0.0.1:8000",
        "127.0.0.1:8000, evil.example",
        "127.0.0.1:8000/",
        "127.0.0.1:8000#",
        " 127.0.0.1:8000",
        "127.0.0.1.:8000",
        "127.1:8000",
        "2130706433:8000",
        "0x7f000001:8000",
        "[::ffff:127.0.0.1]:8000",
        "localhost",
        "localhost.evil.example:8000",
        "xlocalhost:8000",
        "loc\xe4lhost:8000",
        "127.0.0.1:8000\xa0",
        "lo\u017fcalhost:8000".encode(),
    ],
    ids=repr,
)
async def test_another_host_is_misdirected(attacker: Attacker, host: str | None) -> None:
    """A request for any host that is not served here, or for none, is refused before any route sees it."""
    before = attacker.state()

    login = await attacker.login(host=host)
    page = await attacker.ask("GET", "/no-such-page", host=host)

    login.refused(421, "misdirected_request")
    page.refused(421, "misdirected_request")
    assert attacker.state() == before


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LocalHost:8000", "[::1]:8000"])
async def test_every_name_of_loopback_is_served(attacker: Attacker, host: str) -> None:
    """A loopback server answers by each name of loopback, in any case, with its port."""
    assert (await attacker.login(host=host)).status == 200


async def test_the_hosts_served_are_the_issuer_and_those_configured(attack: OpenServer) -> None:
    """The issuer's host with or without the default port, in any case, and `allowed_hosts`; none of their kin."""
    attacker = await attack(
        issuer="https://auth.example.test",
        host="10.0.0.1",
        port=8443,
        allowed_hosts=("In.Side",),
        trusted_proxies=("10.0.0.5",),
    )
    served = {
        "auth.example.test": True,
        "AUTH.example.TEST": True,
        "auth.example.test:443": True,
        "10.0.0.1:8443": True,
        "in.side": True,
        "auth.example.test:80": False,
        "auth.example.test:8443": False,
        "auth.example.test.": False,
        "sub.auth.example.test": False,
        "example.test": False,
        "auth.example.test.evil.example": False,
        "10.0.0.1": False,
        "127.0.0.1:8443": False,
        "localhost:8443": False,
        "in.side:8443": False,
    }
    for host, expected in served.items():
        reply = await attacker.ask("GET", "/me", host=host, scheme="https")
        assert (reply.status == 401) is expected, host
        if not expected:
            reply.refused(421, "misdirected_request")


async def test_whoever_asks_for_life_is_answered_by_any_name(attacker: Attacker) -> None:
    """Health checks come by address: they are answered whatever the `Host`, and tell nothing else."""
    for path in ("/livez", "/readyz"):
        for host in (None, "evil.example", "10.1.2.3:8000"):
            reply = await attacker.ask("GET", path, host=host)
            assert (reply.status, reply.json()) == (200, {"status": "ok"})


async def test_two_hosts_are_refused(attacker: Attacker) -> None:
    """Two `Host` headers are malformed (RFC 9112 §3.2), whichever comes first: somebody on the way read the other."""
    for host, more in (("127.0.0.1:8000", "evil.example"), ("127.0.0.1:8000", "127.0.0.1:8000")):
        reply = await attacker.ask("GET", "/me", host=host, headers=[("Host", more)])
        reply.refused(400, "malformed_request")


async def test_a_request_id_is_believed_in_strict_form_only(attacker: Attacker, log: Log) -> None:
    """A request's own id is on its answer and its lines if it is harmless; anything else is replaced by a new one."""
    good = ("a1B2c3D4", "x" * 64, "0123-4567_89.ab")
    bad = ("short12", "x" * 65, "", "with space", "semi;colon", "new\nline", "cr\r\nSet-Cookie: a=b", "nul\0nul\0")
    bad += (
        "\x1b[31mred",
        'quote"quote',
        "bidi\u202ebidi",
        "ünïcödé",
        "{}{}{}{}",
        "../../etc",
        "a1B2c3D4\n",
        "a,b,c,d,e",
    )
    await attacker.ask("GET", "/livez")
    for text in (*good, *bad):
        seen = len(log())
        reply = await attacker.ask("GET", "/me", headers=[("X-Request-ID", text.encode())])
        known_as = reply.header("x-request-id")
        assert (known_as == text) is (text in good), text
        assert {line["request_id"] for line in log()[seen:]} == {known_as}
        assert known_as.isascii()
        assert known_as.isprintable()


async def test_the_first_of_two_request_ids_is_judged(attacker: Attacker, log: Log) -> None:
    """A second id does not get past the judgement of the first, nor onto the answer."""
    headers = [("X-Request-ID", "bad id"), ("X-Request-ID", "good-id-1234")]

    reply = await attacker.ask("GET", "/me", headers=headers)

    assert reply.header("x-request-id") not in {"bad id", "good-id-1234"}
    assert "bad id" not in json.dumps(log())


async def test_ids_do_not_repeat_and_do_not_stick(attacker: Attacker) -> None:
    """Each request without an id gets one of its own."""
    replies = [await attacker.ask("GET", "/livez") for _ in range(50)]

    assert len({reply.header("x-request-id") for reply in replies}) == 50


async def test_nothing_that_was_sent_comes_back_in_a_header(attacker: Attacker) -> None:
    """Line breaks in any part of a request never make a header of the answer."""
    injected = "x\r\nSet-Cookie: a=b\r\nX-Injected: yes"
    names = (
        "Origin",
        "User-Agent",
        "X-Request-ID",
        "If-None-Match",
        "Cookie",
        "Authorization",
        "Content-Type",
        "Accept",
    )
    for path in ("/me", "/livez", "/.well-known/jwks.json", "/login%0d%0aX-Injected:%20yes", "/x?a=%0d%0aX-Injected:y"):
        for method in ("GET", "POST"):
            for name in names:
                reply = await attacker.ask(method, path, headers=[(name, injected)])
                assert not reply.all("x-injected")
                assert not reply.all("set-cookie")
                assert all("\r" not in value and "\n" not in value for _, value in reply.headers)


async def test_a_hostile_user_agent_is_one_harmless_text(attacker: Attacker, log: Log) -> None:
    """Controls, bidi marks and excess length of a user agent reach neither the log nor the database as they are."""
    hostile = "Mozilla\x1b[2J\r\n\u202e\x00".encode() + b"\xff\xfe" + b"A" * 4_000

    reply = await attacker.login(headers=[("User-Agent", hostile)])

    assert reply.status == 200
    (stored,) = _column(attacker, "SELECT user_agent FROM sessions")
    assert len(stored) <= 256
    assert stored.isprintable()
    assert all("Mozilla" not in json.dumps(line) or line["event"].isprintable() for line in log())


async def test_every_answer_carries_the_security_headers(attacker: Attacker) -> None:
    """Success or refusal, known or unknown path: each answer forbids framing, sniffing, and storing what is secret."""
    login = await attacker.login(delivery="cookie")
    token = ("Authorization", f"Bearer {login.json()['accessToken']}")
    replies = {
        "login": login,
        "me": await attacker.ask("GET", "/me", headers=[token]),
        "no token": await attacker.ask("GET", "/me"),
        "not found": await attacker.ask("GET", "/nothing"),
        "wrong method": await attacker.ask("DELETE", "/login"),
        "wrong host": await attacker.ask("GET", "/me", host="evil.example"),
        "large headers": await attacker.ask("GET", "/me", headers=[("X", "x" * 20_000)]),
        "bad body": await attacker.ask("POST", "/login", headers=[JSON], body=b"{"),
        "metrics": await attacker.ask("GET", "/metrics"),
        "health": await attacker.ask("GET", "/livez"),
    }
    for what, reply in replies.items():
        assert reply.header("cache-control") == "no-store", what
        assert reply.header("x-content-type-options") == "nosniff", what
        assert reply.header("x-frame-options") == "DENY", what
        assert reply.header("referrer-policy") == "no-referrer", what
        assert reply.header("content-security-policy").startswith("default-src 'none'"), what
        assert reply.header("x-request-id"), what
        assert not reply.all("x-powered-by"), what
        assert not reply.all("strict-transport-security"), what


async def test_over_https_browsers_are_told_to_stay_there(attack: OpenServer) -> None:
    """With an https issuer each answer carries `Strict-Transport-Security`, refusals included."""
    attacker = await attack(issuer="https://auth.example.test")
    for path in ("/livez", "/me", "/nothing"):
        reply = await attacker.ask("GET", path, host="auth.example.test", scheme="https", client="203.0.113.9")
        assert "max-age=31536000" in reply.header("strict-transport-security")


async def test_a_preflight_of_a_stranger_is_refused_like_anything_else(attack: OpenServer) -> None:
    """Where pages of another origin are allowed, those of a third get a problem document, and no leave of any kind."""
    attacker = await attack(allowed_origins=("http://127.0.0.1:3000",))
    for origin in ("https://evil.example", "null", "http://127.0.0.1:30000", "http://127.0.0.1:3000.evil.example"):
        for method in ("POST", "PUT"):
            headers = [("Origin", origin), ("Access-Control-Request-Method", method)]
            reply = await attacker.ask("OPTIONS", "/refresh", headers=headers)
            assert 400 <= reply.status < 500
            reply.refused(reply.status, reply.json()["code"])
            assert not reply.all("access-control-allow-origin")


async def test_headers_are_bounded_as_a_whole(attacker: Attacker, log: Log) -> None:
    """One large header or a thousand small ones: over 16 KiB the request is refused, and nothing of it logged."""
    for headers in (
        [("X-Large", "canary" * 11_000)],
        [(f"X-{number}", "canary" * 2) for number in range(1_000)],
        [("canary" * 3_000, "")],
        [("Cookie", f"c{number}=canary") for number in range(1_000)],
    ):
        (await attacker.ask("GET", "/me", headers=headers)).refused(431, "headers_too_large")
    small = [(f"X-{number}", "") for number in range(500)]
    (await attacker.ask("GET", "/me", headers=small)).refused(401, "missing_token")
    assert "canary" not in json.dumps(log())


def _addresses(attacker: Attacker) -> set[str]:
    return set(_column(attacker, "SELECT address FROM sessions")) | set(
        _column(attacker, "SELECT address FROM audit_events WHERE session_id IS NOT NULL")
    )


def _column(attacker: Attacker, sql: str) -> list[str]:
    connection = sqlite3.connect(attacker.server.settings.data_dir / "tokenkeep.db")
    try:
        return [row[0] for row in connection.execute(sql)]
    finally:
        connection.close()
