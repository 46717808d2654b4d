"""Requests that are no proper HTTP, or two things at once, over a real socket.

What is refused by the HTTP library (hyper, inside Granian) before it is a request gets an empty answer and no line in
the log; the tables say which. Everything else is ours: a problem document and one line.
"""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.attacks.http.wire import Target

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system")]

HOST: Final = b"Host: 127.0.0.1:PORT\r\n"
JSON: Final = b"Content-Type: application/json\r\n"
POST: Final = b"POST /login HTTP/1.1\r\n" + HOST + JSON
ONE_CHUNK: Final = b"2\r\n{}\r\n0\r\n\r\n"

BY_LIBRARY: Final = {
    "no version": (b"GET /livez\r\n\r\n", 400),
    "another version": (b"GET /livez HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    "version 2 in words": (b"GET /livez HTTP/2.0\r\n" + HOST + b"\r\n", 400),
    "noise": (b"\x00\x01\x02\x03\r\n\r\n", 400),
    "TLS on the plain port": (bytes.fromhex("16030100f4010000f00303") + b"\r\n\r\n", 400),
    "method that is no word": (b"GE(T /me HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "path without a slash": (b"GET %2flivez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "path that is no text": (b"GET /m\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "space in a path": (b"GET /li vez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "path of 70 KiB": (b"GET /" + b"a" * 71_680 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "folded header": (b"GET /me HTTP/1.1\r\n" + HOST + b"X-A: b\r\n c\r\n\r\n", 400),
    "bare CR in a header": (b"GET /me HTTP/1.1\r\n" + HOST + b"X-A: b\rX-B: c\r\n\r\n", 400),
    "NUL in a header": (b"GET /me HTTP/1.1\r\n" + HOST + b"X-A: b\0c\r\n\r\n", 400),
    "space in a header's name": (b"GET /me HTTP/1.1\r\n" + HOST + b"X A: b\r\n\r\n", 400),
    "space before the colon": (b"GET /me HTTP/1.1\r\n" + HOST + b"Authorization : Bearer x\r\n\r\n", 400),
    "header without a colon": (b"GET /me HTTP/1.1\r\n" + HOST + b"X-A b\r\n\r\n", 400),
    "a thousand headers": (b"GET /me HTTP/1.1\r\n" + HOST + b"X-A: b\r\n" * 1_000 + b"\r\n", 431),
    "header section of 200 KiB": (
        b"GET /me HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 204_800 + b"\r\n\r\n",
        431,
    ),
    "a token of a mebibyte": (
        b"GET /me HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + b"a" * (1 << 20) + b"\r\n\r\n",
        431,
    ),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n{}", 400),
    "signed length": (POST + b"Content-Length: +2\r\n\r\n{}", 400),
    "empty length": (POST + b"Content-Length:\r\n\r\n{}", 400),
    "hexadecimal length": (POST + b"Content-Length: 0x2\r\n\r\n{}", 400),
    "list of lengths": (POST + b"Content-Length: 2, 2\r\n\r\n{}", 400),
    "two lengths": (POST + b"Content-Length: 4\r\nContent-Length: 2\r\n\r\n{}  ", 400),
    "length beyond any number": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}", 400),
    "length of 2^64 - 1": (POST + b"Content-Length: 18446744073709551615\r\n\r\n{}", 431),
    "unknown transfer coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n" + ONE_CHUNK, 400),
    "chunked is not last": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + ONE_CHUNK, 400),
    "space before the coding's colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n" + ONE_CHUNK, 400),
    "chunked in HTTP/1.0": (
        b"POST /login HTTP/1.0\r\n" + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + ONE_CHUNK,
        400,
    ),
}

BY_US: Final = {
    "HTTP/1.0 without a host": (b"GET /me HTTP/1.0\r\n\r\n", 421, "misdirected_request"),
    "HTTP/1.1 without a host": (b"GET /me HTTP/1.1\r\n\r\n", 421, "misdirected_request"),
    "two hosts": (b"GET /me HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n", 400, "malformed_request"),
    "two hosts, ours last": (b"GET /me HTTP/1.1\r\nHost: evil.example\r\n" + HOST + b"\r\n", 400, "malformed_request"),
    "two codings": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + ONE_CHUNK, 400, "malformed_request"),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + ONE_CHUNK, 400, "malformed_request"),
    "chunk size that is no number": (
        POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "chunk size that is negative": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "chunk size beyond any number": (
        POST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "chunk longer than its size": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "chunk that never ends": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n" + b" " * 20_000,
        413,
        "body_too_large",
    ),
    "length beyond the limit": (POST + b"Content-Length: 10000000\r\n\r\n", 413, "body_too_large"),
    "expecting leave for ten megabytes": (
        POST + b"Expect: 100-continue\r\nContent-Length: 10000000\r\n\r\n",
        413,
        "body_too_large",
    ),
    "header section of 64 KiB": (
        b"GET /me HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 65_536 + b"\r\n\r\n",
        431,
        "headers_too_large",
    ),
    "unknown method": (b"FOO /me HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "method in small letters": (b"get /me HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "TRACE": (b"TRACE /me HTTP/1.1\r\n" + HOST + b"X-Canary: echo\r\n\r\n", 405, "method_not_allowed"),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found"),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found"),
    "upgrade to HTTP/2": (
        b"GET /me HTTP/1.1\r\n"
        + HOST
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        401,
        "missing_token",
    ),
    "upgrade to a web socket": (
        b"GET /me HTTP/1.1\r\n"
        + HOST
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        401,
        "missing_token",
    ),
    "line break in a path": (b"GET /me%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found"),
    "line break after a path": (b"GET /me%0a HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found"),
    "NUL in a path": (b"GET /me%00 HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found"),
    "path of 60 KiB": (b"GET /" + b"a" * 50_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found"),
    "dots in a path": (b"GET /x/../me HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found"),
    "slash after a path": (b"GET /me/ HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not_found"),
}


@pytest.mark.parametrize("what", BY_LIBRARY)
def test_what_is_no_http_is_refused_by_the_library(target: Target, what: str) -> None:
    """Octets that are no well-formed request get an empty 4xx from the HTTP library, and the connection ends."""
    request, status = BY_LIBRARY[what]
    with target.connect() as connection:
        connection.send(request.replace(b"PORT", b"%d" % target.port))
        answer = connection.read_answer()

        assert answer is not None
        assert (answer.status, answer.body, answer.ours) == (status, b"", False)
        assert connection.ended(within=5)


@pytest.mark.parametrize("what", BY_US)
def test_what_is_http_and_no_more_is_refused_by_us(target: Target, what: str) -> None:
    """Whatever gets past the HTTP library and should not gets a problem document and one line in the log."""
    request, status, code = BY_US[what]
    before, seen = target.state(), len(target.process.log)

    answer = target.exchange(request.replace(b"PORT", b"%d" % target.port))

    assert answer is not None
    assert answer.ours
    assert (answer.status, answer.problem()["code"]) == (status, code)
    assert not answer.all("set-cookie")
    assert b"echo" not in answer.body
    (known_as,) = answer.all("x-request-id")
    [line] = target.wait_for_lines(seen, known_as)
    assert (line["event"], line["level"], line["status"]) == ("request", "info", status)
    assert line["refused"].partition(":")[0] == code
    assert target.state() == before


@pytest.mark.parametrize("length_first", [True, False])
def test_a_length_beside_chunks_counts_for_nothing_and_ends_the_connection(target: Target, length_first: bool) -> None:
    """The library reads chunks alone and drops the length (RFC 9112 §6.3), and reads no further request after it."""
    length, coding = b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"
    fields = length + coding if length_first else coding + length
    with target.connect() as connection:
        connection.send(POST.replace(b"PORT", b"%d" % target.port) + fields + b"\r\n" + ONE_CHUNK + target.login())
        answer = connection.read_answer()

        assert answer is not None
        assert (answer.status, answer.problem()["code"]) in {(400, "malformed_request"), (422, "invalid_field")}
        assert connection.read_answer() is None


def test_http_1_0_is_answered_in_kind(target: Target) -> None:
    """A client of HTTP/1.0 that names the host logs in, and its connection ends."""
    with target.connect() as connection:
        connection.send(target.login().replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = connection.read_answer()

        assert answer is not None
        assert answer.status == 200
        assert connection.ended(within=5)


def test_pipelined_requests_are_answered_in_order(target: Target) -> None:
    """Requests that do not wait for answers are answered one after the other, each for itself."""
    bodies = [b"{", json.dumps({"name": "Nobody", "password": "x"}).encode(), b"[1]"]
    with target.connect() as connection:
        connection.send(
            target.get("/livez")
            + target.post("/login", bodies[0])
            + target.get("/me")
            + target.post("/login", bodies[1])
            + target.get("/nothing")
            + target.chunked("/login", b"3\r\n[1]\r\n0\r\n\r\n")
            + target.get("/livez")
        )
        answers = [connection.read_answer() for _ in range(7)]

    assert [answer and answer.status for answer in answers] == [200, 400, 401, 401, 404, 400, 200]


def test_a_request_inside_a_body_is_no_request(target: Target) -> None:
    """What stands in a body, also in one that is refused or not read, is never taken for the next request."""
    smuggled = target.post("/logout", b"{}")
    with target.connect() as connection:
        for first, status in (
            (target.post("/login", smuggled), 400),
            (target.get("/livez", fields=b"Content-Length: %d\r\n" % len(smuggled)) + smuggled, 200),
            (target.get("/nothing", fields=b"Content-Length: %d\r\n" % len(smuggled)) + smuggled, 404),
            (target.chunked("/login", b"%x\r\n%s\r\n0\r\n\r\n" % (len(smuggled), smuggled)), 400),
        ):
            connection.send(first + target.get("/me"))
            answer, following = connection.read_answer(), connection.read_answer()
            assert answer is not None
            assert following is not None
            assert (answer.status, following.status) == (status, 401)


def test_a_body_that_is_refused_unread_is_skipped_or_ends_the_connection(target: Target) -> None:
    """What follows a body that was too large to read is the next request, or is never read; not part of either."""
    large = b"{" + b" " * 30_000 + b"}"
    with target.connect() as connection:
        connection.send(target.post("/login", large) + target.get("/me"))
        answer, following = connection.read_answer(), connection.read_answer()

    assert answer is not None
    assert answer.status == 413
    assert following is None or following.status == 401


def test_chunk_extensions_and_trailers_mean_nothing(target: Target) -> None:
    """Extensions and trailers are skipped: a trailer is no header, whatever it is called."""
    body = b"2;x=%s\r\n{}\r\n0\r\nAuthorization: Bearer x\r\nHost: evil.example\r\nX-Request-ID: trailing-id\r\n\r\n"

    answer = target.exchange(target.chunked("/login", body % (b"y" * 1_000)))

    assert answer is not None
    assert (answer.status, answer.problem()["code"]) == (422, "invalid_field")
    assert answer.all("x-request-id") != ["trailing-id"]


def test_no_banner_names_a_version(target: Target) -> None:
    """No answer says which version of what is running."""
    for request in (target.get("/livez"), target.get("/nothing"), b"GET /livez HTTP/1.2\r\n\r\n"):
        answer = target.exchange(request)
        assert answer is not None
        assert not answer.all("x-powered-by")
        assert not any(character.isdigit() for value in answer.all("server") for character in value)
