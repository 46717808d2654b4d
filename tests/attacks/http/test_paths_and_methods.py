"""Paths that mean another one, methods that mean another one: nothing is guessed, nothing is redirected."""

from __future__ import annotations

import json
import re
from typing import Final
from urllib.parse import unquote

from tests.attacks.http.attacker import JSON, Attacker, fits
from tests.attacks.http.conftest import Log, OpenServer
from tokenkeep.api.routes import ROUTES

PATHS: Final = sorted({route.path for route in ROUTES if "{" not in route.path})
METHODS: Final = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "get",
    "X" * 300,
)

OVERRIDES: Final = (
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-HTTP-Method", "DELETE"),
    ("X-Method-Override", "POST"),
    ("_method", "POST"),
    ("X-Original-URL", "/admin"),
    ("X-Rewrite-URL", "/admin"),
    ("X-Forwarded-Prefix", "/admin"),
    ("X-Original-Method", "POST"),
)


def _tricks(path: str) -> list[str]:
    """Return other spellings that some server or proxy takes for the path."""
    word = path.removeprefix("/")
    return [
        f"/{path}",
        f"///{word}",
        f"{path}/",
        f"{path}//",
        f"/.{path}",
        f"/x/..{path}",
        f"/%2e%2e{path}",
        f"/..%2f{word}",
        f"/..%5c{word}",
        f"/\\{word}",
        f"{path}/.",
        f"{path}/..",
        f"{path}%2f",
        f"{path}%2F..%2f",
        f"{path}%00",
        f"{path}%0a",
        f"{path}%0d%0aSet-Cookie:%20a=b",
        f"{path}%20",
        f"{path}%09",
        f"{path};a=b",
        f"{path}%3ba=b",
        f"{path}.json",
        f"{path}*",
        f"{path}%e2%80%ae",
        f"{path}%ff",
        f"{path}%c0%af",
        f"{path}%252f",
        f"{path}%3Fa=b",
        f"{path}%23",
        f"/{word.upper()}",
        f"/{word.swapcase()}",
        f"/{word[:-1]}%c1%{ord(word[-1]):02x}",
        f"http://127.0.0.1:8000{path}",
        "",
        "*",
    ]


async def test_another_spelling_of_a_path_is_another_path(attacker: Attacker, log: Log) -> None:
    """Slashes, dots, case, parameters and encodings around a path lead nowhere, and redirect nobody."""
    before = attacker.state()
    token = (await attacker.login()).json()["accessToken"]
    credentials = json.dumps({"name": "Ada", "password": "correct horse battery staple"}).encode()
    entered = attacker.state()
    for path in PATHS:
        for trick in _tricks(path):
            if any(fits(route.path, unquote(trick)) for route in ROUTES if "{" in route.path):
                continue
            for method in ("GET", "POST"):
                headers = [JSON, ("Authorization", f"Bearer {token}")]
                reply = await attacker.ask(
                    method, trick, headers=headers, body=credentials if method == "POST" else b""
                )
                assert reply.status == 404, f"{method} {trick}"
                reply.refused(404, "not_found")
                assert not reply.all("location")
                assert not reply.all("set-cookie")

    assert attacker.state() == entered != before
    for line in log():
        assert line["event"] != "request" or line["path"].isprintable()


async def test_an_id_in_a_path_is_an_id_or_nothing(attacker: Attacker) -> None:
    """Where a path holds an id, whatever is none leads to nobody and to nobody's session."""
    token = ("Authorization", f"Bearer {(await attacker.login()).json()['accessToken']}")
    before = attacker.state()
    for text in (
        "x",
        ".",
        "..",
        "%00",
        "%0a",
        "*",
        "%25",
        "A" * 22,
        "A" * 5_000,
        "%ff",
        "%e2%80%ae",
        "1%20OR%201=1",
        "'--",
    ):
        for route in ROUTES:
            if "{" in route.path:
                path = re.sub(r"\{\w+\}", text, route.path)
                body = b'{"role":"user"}' if route.body_required else b""
                options = {"body": body, "declared": "%0a" not in text}
                reply = await attacker.ask(route.method, path, headers=[JSON, token], **options)
                assert reply.status == 404, path
                reply.refused(404, "not_found")
    assert attacker.state() == before


async def test_a_slash_too_many_sends_no_password_elsewhere(attack: OpenServer) -> None:
    """Behind a proxy that ends TLS, a slash too many must not send browsers to plain http with the password."""
    attacker = await attack(issuer="https://auth.example.test", host="10.0.0.1", trusted_proxies=("10.0.0.5",))

    reply = await attacker.ask("POST", "/login/", headers=[JSON], host="auth.example.test", client="10.0.0.5")

    assert not reply.all("location")
    reply.refused(404, "not_found")


async def test_an_encoded_letter_is_the_letter(attacker: Attacker) -> None:
    """`/%6de` is `/me` (RFC 3986 §6.2.2.2): the same guard stands before it."""
    reply = await attacker.ask("GET", "/%6de")

    reply.refused(401, "missing_token")


async def test_other_methods_are_refused_and_the_right_ones_named(attacker: Attacker) -> None:
    """TRACE and every other method that a path does not have gets 405 with `Allow`, and does nothing."""
    login = await attacker.login(delivery="cookie")
    cookie = ("Cookie", login.header("set-cookie").partition(";")[0])
    token = ("Authorization", f"Bearer {login.json()['accessToken']}")
    before = attacker.state()
    for path in PATHS:
        served = {route.method for route in ROUTES if route.path == path}
        served |= {"HEAD"} if "GET" in served else set()
        for method in METHODS:
            if method in served:
                continue
            reply = await attacker.ask(method, path, headers=[JSON, cookie, token])
            assert reply.status == 405, f"{method} {path}"
            reply.refused(405, "method_not_allowed")
            assert {each.strip() for each in reply.header("allow").split(",")} == served
            assert b"tkr_" not in reply.body
    assert attacker.state() == before


async def test_reading_changes_nothing_and_head_is_get_without_a_body(attacker: Attacker) -> None:
    """GET and HEAD change nothing, whatever body and cookie come along, and HEAD has the headers of GET."""
    login = await attacker.login(delivery="cookie")
    before = attacker.state()
    headers = [
        JSON,
        ("Authorization", f"Bearer {login.json()['accessToken']}"),
        ("Cookie", login.header("set-cookie").partition(";")[0]),
    ]
    for path in (route.path for route in ROUTES if route.method == "GET" and "{" not in route.path):
        got = await attacker.ask("GET", path, headers=headers, body=b'{"name":"x"}')
        headed = await attacker.ask("HEAD", path, headers=headers)

        assert got.status == headed.status == 200, path
        assert not got.all("set-cookie")
        assert [name for name, _ in got.headers] == [name for name, _ in headed.headers]
    assert attacker.state() == before


async def test_no_header_turns_a_request_into_another(attacker: Attacker) -> None:
    """Headers that name another method or another path are never obeyed."""
    login = await attacker.login(delivery="cookie")
    cookie = ("Cookie", login.header("set-cookie").partition(";")[0])
    before = attacker.state()
    for override in OVERRIDES:
        read = await attacker.ask("GET", "/logout", headers=[cookie, override])
        assert read.status == 405, override
        health = await attacker.ask("GET", "/livez?_method=POST", headers=[cookie, override])
        assert health.json() == {"status": "ok"}
    assert attacker.state() == before


async def test_query_parameters_open_nothing(attacker: Attacker, log: Log) -> None:
    """A token in the query is not a token (OAuth 2.1 §5.1), and never in the log."""
    token = (await attacker.login()).json()["accessToken"]

    reply = await attacker.ask("GET", f"/me?access_token={token}&token={token}")

    reply.refused(401, "missing_token")
    assert token not in json.dumps(log())
