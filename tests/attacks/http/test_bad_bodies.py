"""Bodies that are broken, oversized, mistyped or full of traps, on every route that takes one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Final

import pytest

from tests.attacks.http.attacker import JSON, Attacker, Header, Message, Reply
from tests.attacks.http.conftest import Log
from tokenkeep.api import requests
from tokenkeep.api.routes import ROUTES

MARK: Final = "PayloadThatNobodyMaySee"
"""What every hostile body carries, and no log line and no answer may."""

TEXT: Final = MARK.encode()

NOT_JSON: Final = {
    "nothing but a word": TEXT,
    "broken": b'{"name":"%s"' % TEXT,
    "two objects": b'{"name":"%s"}{}' % TEXT,
    "a list": b'["%s"]' % TEXT,
    "a text": b'"%s"' % TEXT,
    "a number": b"1",
    "null": b"null",
    "single quotes": b"{'name':'%s'}" % TEXT,
    "a comment": b'{"name":"%s"/**/}' % TEXT,
    "a comma too many": b'{"name":"%s",}' % TEXT,
    "NaN": b'{"name":NaN,"x":"%s"}' % TEXT,
    "infinity": b'{"name":1e999,"x":"%s"}' % TEXT,
    "byte order mark": b'\xef\xbb\xbf{"name":"%s"}' % TEXT,
    "UTF-16": json.dumps({"name": MARK}).encode("utf-16"),
    "invalid UTF-8": b'{"name":"%s\xff"}' % TEXT,
    "raw NUL": b'{"name":"%s\0"}' % TEXT,
    "raw line break": b'{"name":"%s\n"}' % TEXT,
    "lone high surrogate": b'{"name":"%s\\ud800"}' % TEXT,
    "lone low surrogate": b'{"name":"%s\\udc00"}' % TEXT,
    "surrogate in UTF-8": b'{"name":"%s\xed\xa0\x80"}' % TEXT,
    "a name twice": b'{"name":"Ada","name":"%s"}' % TEXT,
    "a name twice, once escaped": b'{"name":"Ada","n\\u0061me":"%s"}' % TEXT,
    "a name twice below": b'{"name":{"a":1,"a":"%s"}}' % TEXT,
    "too deep": b'{"name":' * 40 + b'"%s"' % TEXT + b"}" * 40,
    "deep enough to overflow a stack": b'{"name":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
}

NOT_FITTING: Final = {
    "unknown field": {"name": "Ada", "password": MARK, "role": "admin"},
    "a thousand unknown fields": {f"x{number}": 1 for number in range(1_000)},
    "a field with a hostile name": {f"{MARK}\r\nSet-Cookie: a=b\x1b[31m": 1},
    "prototype": {"__proto__": {"role": MARK}, "constructor": 1},
    "list for text": {"name": [MARK], "password": [MARK], "refreshToken": [MARK], "currentPassword": [MARK]},
    "object for text": {"name": {"$ne": MARK}, "refreshToken": {"$gt": MARK}, "currentPassword": {}},
    "number for text": {"name": 1, "password": 2, "refreshToken": 3, "currentPassword": 4},
    "boolean for text": {"name": True, "refreshToken": True, "currentPassword": False},
    "another case of a name": {"Name": MARK, "Password": MARK, "refreshtoken": MARK, "currentpassword": MARK},
    "snake case": {"refresh_token": MARK, "user_name": MARK, "current_password": MARK},
}

UNSEEN: Final = [
    *("", " ", " Ada", "Ada ", "A\0da", "A\nda", "A\x1b[31mda", "Ada\u202e", "\u2066Ada", "A\u200bda", "A\ufeffda"),
    *("A\u2028da", "A\x7fda", "A\x85da", "\ue000", "\uffff", "\U000e0041", "a" * 129),
]

OTHER_TYPES: Final = [
    None,
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/problem+json",
    "application/jsonp",
    "application/json, text/plain",
    "text/plain; application/json",
    "application/json; charset=latin-1",
    "application/json; charset=utf-16",
    "application/json; boundary=x",
    "application/json;;",
    "*/*",
    "application/json\x0btext/plain",
]

_METHODS: Final = {route.path: route.method for route in ROUTES if route.body is not None}

routes = pytest.mark.parametrize("path", list(_METHODS))


@pytest.fixture
async def sender(attacker: Attacker, log: Log) -> Sender:
    """Somebody with a good access token, so that a body is read where one is asked for."""
    token = (await attacker.login()).json()["accessToken"]
    return Sender(attacker, log, ("Authorization", f"Bearer {token}"))


class Sender:
    """Sends hostile bodies, and makes sure that each is refused without a trace but its one line."""

    def __init__(self, attacker: Attacker, log: Log, token: tuple[str, str]) -> None:
        self._attacker = attacker
        self._log = log
        self._token = token

    async def send(self, path: str, body: bytes | Iterable[bytes], *headers: Header) -> Reply:
        """Send a body that must change nothing, and be one request in the log, without what it carries."""
        before, seen = self._attacker.state(), len(self._log())
        reply = await self._attacker.ask(_METHODS[path], path, headers=[*headers, self._token], body=body)
        assert self._attacker.state() == before
        assert TEXT not in reply.body
        [line] = self._log()[seen:]
        assert (line["event"], line["level"], line["path"]) == ("request", "info", path)
        assert line["refused"].partition(":")[0] == reply.json()["code"]
        assert MARK not in json.dumps(line)
        return reply


@routes
async def test_what_is_no_strict_json_object_is_refused(sender: Sender, path: str) -> None:
    """A body that is not one strict JSON object is a malformed request: nothing changes, nothing is told."""
    for what, body in NOT_JSON.items():
        reply = await sender.send(path, body, JSON)
        assert reply.status == 400, what
        reply.refused(400, "malformed_request")


@routes
async def test_what_does_not_fit_the_schema_is_refused(sender: Sender, path: str) -> None:
    """Unknown fields and wrong types are refused, none of them is taken for another, and nothing is told of them."""
    for what, members in NOT_FITTING.items():
        reply = await sender.send(path, json.dumps(members).encode(), JSON)
        assert reply.status == 422, what
        assert len(reply.refused(422, "invalid_field").get("field", "")) <= 64


@routes
async def test_a_body_of_another_type_is_refused(sender: Sender, path: str) -> None:
    """What a form of another site could send is no JSON, whatever it holds."""
    for content_type in OTHER_TYPES:
        headers = [("Content-Type", content_type)] if content_type is not None else []
        reply = await sender.send(path, b'{"name":"Ada","password":"x"}', *headers)
        assert reply.status == 415, content_type
        reply.refused(415, "unsupported_media_type")


@routes
async def test_a_large_body_is_refused(sender: Sender, path: str) -> None:
    """A body over 16 KiB is refused, its size declared or not, and no more than that is ever held."""
    for size in (16 * 1024 + 1, 1024 * 1024, 10_000_000):
        for declared in (None, size, 0):
            given: list[bytes] = []
            length = [("Content-Length", str(declared))] if declared is not None else []

            reply = await sender.send(path, _pieces(size, given), JSON, *length)

            reply.refused(413, "body_too_large")
            assert len(b"".join(given)) <= (0 if declared else 17 * 1024)


async def test_what_may_come_once_is_refused_twice(attacker: Attacker) -> None:
    """Of two types, lengths or codings of a body, somebody on the way may have believed the other one."""
    for name, value, other in (
        ("Content-Type", "application/json", "text/plain"),
        ("Content-Type", "application/json", "application/json"),
        ("Content-Length", "29", "0"),
        ("Content-Length", "29", "29"),
        ("Transfer-Encoding", "chunked", "chunked"),
        ("Transfer-Encoding", "chunked", "identity"),
        ("Sec-Fetch-Site", "same-origin", "same-origin"),
    ):
        headers = [*([] if name == "Content-Type" else [JSON]), (name, value), (name.lower(), other)]
        reply = await attacker.ask("POST", "/login", headers=headers, body=b'{"name":"Ada","password":"x"}')
        assert reply.status == 400, name
        assert reply.refused(400, "malformed_request")["error"] == f"More than one {name} header"


async def test_a_body_in_another_coding_is_refused(attacker: Attacker) -> None:
    """Of transfer codings only chunked is undone, in any case; what another one wraps is never taken for the body."""
    for coding, status in (
        *(("chunked", 401), ("Chunked", 401)),
        *(("gzip, chunked", 400), ("gzip", 400), ("identity", 400), ("chunked, chunked", 400), ("xchunked", 400)),
    ):
        headers = [JSON, ("Transfer-Encoding", coding)]
        reply = await attacker.ask("POST", "/login", headers=headers, body=b'{"name":"Ada","password":"x"}')
        assert reply.status == status, coding


async def test_json_in_utf_8_is_accepted_however_it_is_named(attacker: Attacker) -> None:
    """Every usual way to say that a body is JSON in UTF-8 is understood."""
    for content_type in ("application/json", "Application/JSON", 'application/json ; charset="UTF-8"'):
        headers = [("Content-Type", content_type)]
        reply = await attacker.ask("POST", "/login", headers=headers, body=b'{"name":"Ada","password":"x"}')
        reply.refused(401, "invalid_credentials")


async def test_a_length_that_is_no_number_is_refused(sender: Sender) -> None:
    """A `Content-Length` in any but plain decimal is refused, and never turned into a number first."""
    for length in (b"1e3", b"0x10", b"-1", "٣".encode(), b"\xb2", b"9" * 19, b"9" * 5_000, b"1, 1", b""):
        reply = await sender.send("/login", b"{}", JSON, (b"Content-Length", length))
        assert reply.status in {400, 413}, length


async def test_a_password_of_a_mebibyte_is_refused_before_it_is_read(attacker: Attacker) -> None:
    """A password of 1 MiB costs no hashing: the body is too large."""
    body = json.dumps({"name": "Ada", "password": "a" * 1024 * 1024}).encode()

    reply = await attacker.ask("POST", "/login", headers=[JSON], body=body)

    reply.refused(413, "body_too_large")


async def test_a_long_password_is_refused_before_it_is_hashed(
    attacker: Attacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password of 1,025 characters is refused by its length, and one of 1,024 is not."""
    hashed: list[int] = []

    async def verify(_pool: object, _stored: object, password: str) -> bool:
        hashed.append(len(password))
        return False

    monkeypatch.setattr("tokenkeep.passwords.pool.HashingPool.verify", verify)

    for size in (1_024, 1_025):
        body = json.dumps({"name": "Ada", "password": "a" * size}).encode()
        reply = await attacker.ask("POST", "/login", headers=[JSON], body=body)
        assert reply.status == (401 if size == 1_024 else 422)

    assert hashed == [1_024]


async def test_a_name_that_cannot_be_seen_is_refused(sender: Sender) -> None:
    """NUL, controls, bidi marks and all else that is not seen in a name are refused, and stay out of the log."""
    for name in UNSEEN:
        reply = await sender.send("/login", json.dumps({"name": name, "password": MARK}).encode(), JSON)
        assert reply.status == 422, repr(name)
        assert reply.refused(422, "invalid_field")["field"] == "name"


async def test_a_body_that_never_comes_is_given_up(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose body does not arrive in time is answered with 408, and nothing waits on."""
    monkeypatch.setattr(requests, "BODY_TIMEOUT", 0.05)

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    reply = await attacker.ask("POST", "/login", headers=[JSON], receive=never)

    reply.refused(408, "request_timeout")


async def test_a_body_that_trickles_in_is_given_up(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte that comes does not start the clock anew: the whole body has one time limit."""
    monkeypatch.setattr(requests, "BODY_TIMEOUT", 0.05)
    given = 0

    async def trickle() -> Message:
        nonlocal given
        given += 1
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    reply = await attacker.ask("POST", "/login", headers=[JSON], receive=trickle)

    reply.refused(408, "request_timeout")
    assert given <= 10


async def test_a_client_that_leaves_before_its_body_is_no_failure(attacker: Attacker, log: Log) -> None:
    """A client that hangs up in the middle of a body is a refusal in the log, not an error."""
    messages: list[Message] = [
        {"type": "http.request", "body": b'{"name":', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def leave() -> Message:
        return messages.pop(0)

    before = attacker.state()

    reply = await attacker.ask("POST", "/login", headers=[JSON], receive=leave)

    reply.refused(400, "malformed_request")
    assert attacker.state() == before
    assert not [line for line in log() if line["level"] == "error"]


def _pieces(size: int, given: list[bytes]) -> Iterator[bytes]:
    """Give out a large body, and keep what was taken of it."""
    while sum(map(len, given)) < size:
        given.append(TEXT.ljust(1024, b"a"))
        yield given[-1]
