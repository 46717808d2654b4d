"""Request bodies: bounded in size and time, one content type, one spelling, no unknown members."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.caller import PASSWORD, Caller, assert_problem
from tokenkeep.api import requests
from tokenkeep.server import AuthServer

CREDENTIALS = {"name": "Ada", "password": PASSWORD}
JSON = {"Content-Type": "application/json"}
NO_OBJECT = "The request body must be one well-formed JSON object"
LARGEST = 16 * 1024


def padded(size: int) -> bytes:
    """Return good credentials in a body of that many bytes."""
    body = json.dumps(CREDENTIALS).encode()
    return body + b" " * (size - len(body))


async def in_chunks(body: bytes, size: int) -> AsyncIterator[bytes]:
    """Send a body in pieces, without saying how long it will be."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def test_body_of_the_largest_size_is_read(call: Caller):
    """16 KiB are read, whether declared or in chunks."""
    assert (await call("POST", "/login", content=padded(LARGEST), headers=JSON)).status_code == 200
    assert (await call("POST", "/login", content=in_chunks(padded(LARGEST), 1_000), headers=JSON)).status_code == 200


@pytest.mark.parametrize("path", ["/login", "/refresh", "/logout"])
async def test_larger_body_is_refused(call: Caller, path: str):
    """One byte more is refused, whether declared or in chunks."""
    assert_problem(await call("POST", path, content=padded(LARGEST + 1), headers=JSON), "body_too_large")
    chunked = in_chunks(padded(LARGEST + 1), 4_096)
    assert_problem(await call("POST", path, content=chunked, headers=JSON), "body_too_large")


async def test_chunks_are_read_whatever_length_is_declared(call: Caller):
    """A declared length of nothing beside chunks does not hide what comes in them: RFC 9112 §6.3 lets chunks count."""
    nothing = JSON | {"Content-Length": "0", "Transfer-Encoding": "chunked"}
    assert (await call("POST", "/login", content=in_chunks(padded(500), 100), headers=nothing)).status_code == 200
    larger = in_chunks(padded(LARGEST + 1), 4_096)
    assert_problem(await call("POST", "/login", content=larger, headers=nothing), "body_too_large")


@pytest.mark.parametrize("path", ["/login", "/refresh"])
async def test_a_body_of_no_length_is_no_body(call: Caller, path: str):
    """A declared length of nothing is an empty body: refused where one is required, and nothing where it is not."""
    answer = await call("POST", path, headers={"Content-Length": "0"})
    assert_problem(answer, "unsupported_media_type" if path == "/login" else "no_valid_refresh_token")


async def test_endless_body_is_not_read_to_its_end(call: Caller):
    """Reading stops soon after the bound."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * LARGEST:
            sent += 1_024
            yield b" " * 1_024

    assert_problem(await call("POST", "/login", content=endless(), headers=JSON), "body_too_large")


@pytest.mark.parametrize(
    "length", ["16385", "99999999999999999999999999", "-1", "abc", "1e3", "+5", "5, 5", "0x10", ""]
)
async def test_declared_length_is_believed_before_reading(call: Caller, length: str):
    """A length that is too large, or none, is refused without waiting for the body."""
    answer = await call("POST", "/login", content=in_chunks(b"{}", 2), headers={**JSON, "Content-Length": length})
    assert answer.status_code in {400, 413}
    assert answer.json()["code"] in {"malformed_request", "body_too_large"}


async def exchange(server: AuthServer, messages: list[dict[str, Any]], path: str = "/login") -> dict[str, Any]:
    """Return status and problem of a request whose body arrives in these messages, and then nothing more."""
    remaining = iter(messages)
    answer: dict[str, Any] = {"body": b""}

    async def receive() -> dict[str, Any]:
        message = next(remaining, None)
        if message is None:
            await asyncio.Event().wait()
        assert message is not None
        return message

    async def send(message: Any) -> None:
        answer["status"] = message.get("status", answer.get("status"))
        answer["body"] += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json")],
        "client": ("192.0.2.1", 49152),
        "server": ("127.0.0.1", 8000),
    }
    await server.app(scope, receive, send)
    return {**json.loads(answer["body"]), "answered": answer["status"]}


async def test_body_that_comes_too_slowly_is_refused(server: AuthServer, monkeypatch: pytest.MonkeyPatch):
    """A body whose end does not come is given up."""
    monkeypatch.setattr(requests, "BODY_TIMEOUT", 0.01)
    messages = [{"type": "http.request", "body": b'{"name":', "more_body": True}]
    answer = await exchange(server, messages)
    assert (answer["answered"], answer["code"]) == (408, "request_timeout")
    assert answer["error"] == "The request body came too slowly"


async def test_request_that_ends_early_is_refused(server: AuthServer):
    """A client that goes away in the middle of its body changes nothing and causes no error."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b'{"name":"Ada","password":"correct-horse-battery"}', "more_body": True},
        {"type": "http.disconnect"},
    ]
    answer = await exchange(server, messages)
    assert (answer["answered"], answer["code"]) == (400, "malformed_request")
    assert answer["error"] == "The request ended early"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json ",
    ],
)
async def test_json_is_json_however_it_is_written(call: Caller, content_type: str):
    """Letters, spaces and the one charset make no difference."""
    body = json.dumps(CREDENTIALS).encode()
    answer = await call("POST", "/login", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json-patch+json",
        "application/problem+json",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json; boundary=x",
        "application/json, text/plain",
        "text/plain; application/json",
        "*/*",
    ],
)
async def test_other_content_types_are_refused(call: Caller, content_type: str | None):
    """A body of another kind, or of no stated kind, is not looked at."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await call("POST", "/login", content=json.dumps(CREDENTIALS).encode(), headers=headers)
    assert_problem(answer, "unsupported_media_type")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" ", id="a space"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'[{"name":"Ada","password":"correct-horse-battery"}]', id="list of one"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"1", id="number"),
        pytest.param(b'{"name":"Ada"', id="cut"),
        pytest.param(b'{"name":"Ada","password":"correct-horse-battery"}}', id="one brace more"),
        pytest.param(b'{"name":"Ada","password":"correct-horse-battery"} x', id="text after it"),
        pytest.param(b'{"name":"Ada","password":"correct-horse-battery"}{}', id="two objects"),
        pytest.param(b"{'name':'Ada'}", id="other quotes"),
        pytest.param(b'{"name":"Ada","password":"correct-horse-battery",}', id="comma at the end"),
        pytest.param(b'{"name":"Ada","name":"Root","password":"correct-horse-battery"}', id="name twice"),
        pytest.param(b'{"name":"Ada","\\u006eame":"Root","password":"correct-horse-battery"}', id="twice, escaped"),
        pytest.param(b'{"name":"Ada","password":"correct-horse-battery","x":{"a":1,"a":2}}', id="twice, deep inside"),
        pytest.param(b'{"name":NaN,"password":"correct-horse-battery"}', id="NaN"),
        pytest.param(b'{"name":"\\ud800","password":"correct-horse-battery"}', id="surrogate"),
        pytest.param(b'{"name":"\xff","password":"correct-horse-battery"}', id="not UTF-8"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param('{"name":"Ada"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"name":' + b"[" * 5_000 + b"]" * 5_000 + b"}", id="deeply nested"),
        pytest.param(b'{"name":' + b"9" * 5_000 + b"}", id="enormous number"),
        pytest.param(b'{"name":"A\nda"}', id="line break in a text"),
        pytest.param(b"name=Ada&password=correct-horse-battery", id="form"),
    ],
)
async def test_body_that_is_no_object_is_malformed(call: Caller, body: bytes):
    """Anything but one strict JSON object is refused, and none of it is repeated."""
    answer = await call("POST", "/login", content=body, headers=JSON)
    assert_problem(answer, "malformed_request", NO_OBJECT)


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({}, "name", "Required field missing"),
        ({"password": PASSWORD}, "name", "Required field missing"),
        ({"name": "Ada"}, "password", "Required field missing"),
        ({**CREDENTIALS, "role": "admin"}, "role", "Unknown field"),
        ({**CREDENTIALS, "id": "x"}, "id", "Unknown field"),
        ({**CREDENTIALS, "Name": "Ada"}, "Name", "Unknown field"),
        ({**CREDENTIALS, "refreshToken": "x"}, "refreshToken", "Unknown field"),
        ({**CREDENTIALS, "name": None}, "name", "The field has the wrong type or value"),
        ({**CREDENTIALS, "name": 7}, "name", "The field has the wrong type or value"),
        ({**CREDENTIALS, "name": True}, "name", "The field has the wrong type or value"),
        ({**CREDENTIALS, "name": ["Ada"]}, "name", "The field has the wrong type or value"),
        ({**CREDENTIALS, "name": {"$ne": ""}}, "name", "The field has the wrong type or value"),
        ({**CREDENTIALS, "password": None}, "password", "The field has the wrong type or value"),
        ({**CREDENTIALS, "password": 123456789012345}, "password", "The field has the wrong type or value"),
        ({**CREDENTIALS, "audience": ["a"]}, "audience", "The field has the wrong type or value"),
        ({**CREDENTIALS, "delivery": "header"}, "delivery", "The field has the wrong type or value"),
        ({**CREDENTIALS, "delivery": "Cookie"}, "delivery", "The field has the wrong type or value"),
        ({**CREDENTIALS, "delivery": None}, "delivery", "The field has the wrong type or value"),
        ({**CREDENTIALS, "delivery": "unknown field `x`"}, "delivery", "The field has the wrong type or value"),
        (
            {**CREDENTIALS, "name": "A\0da"},
            "name",
            "The name must not contain control or invisible characters",
        ),
        (
            {**CREDENTIALS, "name": "A\u202eda"},
            "name",
            "The name must not contain control or invisible characters",
        ),
        (
            {**CREDENTIALS, "name": " Ada"},
            "name",
            "The name must not be empty or begin or end with white space",
        ),
        ({**CREDENTIALS, "name": "x" * 129}, "name", "The name must have at most 128 characters"),
        ({**CREDENTIALS, "password": "x" * 1025}, "password", "The password must have at most 1024 characters"),
    ],
)
async def test_member_that_does_not_fit_is_named(call: Caller, body: dict[str, Any], field: str, sentence: str):
    """A missing, unknown or unfit member is refused by its name, and no value is repeated."""
    answer = await call("POST", "/login", json=body)
    assert_problem(answer, "invalid_field", sentence, field=field)


@pytest.mark.parametrize("name", ["x" * 65, "a b", "a\r\nb", '"', "é\u202e", "<script>", ""])
async def test_unpresentable_member_name_is_not_repeated(call: Caller, name: str):
    """The name of an unknown member that is no short word is not in the answer."""
    answer = await call("POST", "/login", json={**CREDENTIALS, name: "x"})
    assert_problem(answer, "invalid_field", "Unknown field")


@pytest.mark.parametrize("path", ["/refresh", "/logout"])
@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({"role": "admin"}, "role", "Unknown field"),
        ({"refresh_token": "x"}, "refresh_token", "Unknown field"),
        ({"refreshToken": 7}, "refreshToken", "The field has the wrong type or value"),
        ({"refreshToken": ["x"]}, "refreshToken", "The field has the wrong type or value"),
    ],
)
async def test_optional_bodies_are_as_strict(call: Caller, path: str, body: dict[str, Any], field: str, sentence: str):
    """A body that need not be there is held to its schema when it is."""
    assert_problem(await call("POST", path, json=body), "invalid_field", sentence, field=field)


async def test_refused_body_spends_no_token(call: Caller):
    """A mistake in the body leaves the session of the cookie as it was."""
    session = await call.login()
    for arguments in ({"json": {"x": 1}}, {"content": b"[", "headers": JSON}, {"content": b"{}"}):
        for path in ("/refresh", "/logout"):
            assert (await call("POST", path, cookie=session.refresh, **arguments)).status_code in {400, 415, 422}
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200
    assert (await call("POST", "/refresh", cookie=session.refresh)).status_code == 200


async def test_body_of_a_get_is_ignored(call: Caller):
    """A route that takes no body does not read one."""
    answer = await call("GET", "/livez", content=b"x" * (LARGEST + 1))
    assert answer.status_code == 200


async def test_secrets_are_not_in_the_repr_of_a_body():
    """What is decoded from a body does not show itself in a log or a traceback."""
    from tokenkeep.api.schemas import LoginRequest

    assert PASSWORD not in repr(LoginRequest("Ada", PASSWORD))
