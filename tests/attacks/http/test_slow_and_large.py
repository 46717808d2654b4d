"""Clients that send too much, too slowly, or nothing at all: bounded memory, bounded time, and others are served."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from tests.attacks.http.wire import Connection, Target
from tests.system.server_process import LONGEST_WAIT, ServerProcess
from tokenkeep.api.requests import BODY_TIMEOUT
from tokenkeep.cli.serve import HEADER_TIMEOUT

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system")]

MEBIBYTE: Final = 1024 * 1024
MOST_GROWTH: Final = 48 * MEBIBYTE
"""Bytes of resident memory that any of this may add: some buffers, never what was sent."""
PATIENCE: Final = 1.0
"""Seconds that a server which has little of it waits for a body; for a header section it waits half as long."""
IMPATIENT: Final = f"""
import multiprocessing
from tokenkeep.api import requests
from tokenkeep.cli import main, serve
multiprocessing.set_start_method("fork")
requests.BODY_TIMEOUT, serve.HEADER_TIMEOUT = {PATIENCE}, {PATIENCE * 500:.0f}
main()
"""
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def test_bodies_of_ten_megabytes_are_refused_unread(target: Target) -> None:
    """Twenty bodies of 10 MB, sized or in chunks, are each refused at once, and are not held."""
    before, memory = target.state(), target.memory()
    large = b'{"password":"' + b"a" * 10_000_000 + b'"}'
    for request in (target.post("/login", large), target.chunked("/login", b"%x\r\n%s" % (len(large), large))):
        for _ in range(10):
            answer = _answer_while_sending(target, request)
            # A client that is still sending may see the reset before the answer.
            assert answer is None or answer.startswith(b"HTTP/1.1 413 ")
    assert target.memory() - memory < MOST_GROWTH
    assert target.state() == before
    assert target.healthy()


def test_a_password_of_a_mebibyte_is_refused(target: Target) -> None:
    """A password of 1 MiB is a body that is too large."""
    answer = _answer_while_sending(target, target.post("/login", b'{"name":"Ada","password":"%s"}' % (b"a" * MEBIBYTE)))

    assert answer is None or answer.startswith(b"HTTP/1.1 413 ")


def test_large_header_sections_are_refused_and_not_held(target: Target) -> None:
    """A header section of 64 KiB is refused; hundreds of larger ones that do not end add up to nothing."""
    answer = target.exchange(target.get("/me", fields=b"X-Large: %s\r\n" % (b"a" * 65_536)))
    assert answer is not None
    assert (answer.status, answer.problem()["code"]) == (431, "headers_too_large")
    memory = target.memory()
    with ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(target.connect())
            connection.send(target.get("/me", fields=b"X-Large: %s" % (b"a" * 400_000))[:-2])
        assert target.memory() - memory < MOST_GROWTH
    assert target.healthy()


def test_whoever_opens_with_http_2_is_hung_up_on(target: Target) -> None:
    """HTTP/2 is not spoken: its preface ends the connection at once, and no header block after it is held."""
    memory = target.memory()
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(target.connect())
            if connection.send(PREFACE):
                _send_header_block(connection, 8 * MEBIBYTE)
            assert connection.whatever_comes(within=LONGEST_WAIT) is None
            assert connection.ended(within=0.1)
        assert target.memory() - memory < MOST_GROWTH
    assert target.healthy()


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server that waits as others do, but not as long."""
    with ServerProcess(tmp_path_factory.mktemp("impatient")) as process:
        process.program = (sys.executable, "-c", IMPATIENT)
        process.start()
        yield Target(process)


def test_slow_clients_have_seconds() -> None:
    """A header section has five seconds to come, a body has ten."""
    assert (HEADER_TIMEOUT, BODY_TIMEOUT) == (5_000, 10.0)


def test_whoever_does_not_go_on_is_hung_up_on(impatient: Target) -> None:
    """Nobody keeps a connection by saying nothing, half a request, half an HTTP/2 preface, or no second request."""
    openings = {
        "nothing": b"",
        "a letter": b"P",
        "half a preface": PREFACE[:20],
        "HTTP/2 and nothing more": PREFACE,
        "half a header": impatient.get("/livez")[:-10],
        "one request": impatient.get("/livez"),
    }
    with ExitStack() as stack:
        connections = {what: stack.enter_context(impatient.connect()) for what in openings}
        for what, opening in openings.items():
            connections[what].send(opening)
        for what, connection in connections.items():
            assert connection.ended(within=LONGEST_WAIT), what


def test_a_body_that_drips_is_given_up(impatient: Target) -> None:
    """A body that comes byte by byte is answered with 408 when its time is over, and the connection ends."""
    before, started = impatient.state(), time.monotonic()
    with impatient.connect() as connection:
        connection.send(impatient.post("/login", b"", declared=10_000))
        while not connection.has_answer(within=PATIENCE / 10) and time.monotonic() < started + LONGEST_WAIT:
            connection.send(b" ")
        answer = connection.read_answer()
        took = time.monotonic() - started

        assert answer is not None
        assert (answer.status, answer.problem()["code"]) == (408, "request_timeout")
        assert connection.ended(within=LONGEST_WAIT)
    assert took >= PATIENCE
    assert impatient.state() == before


def test_slow_bodies_do_not_keep_others_waiting(target: Target) -> None:
    """While a hundred bodies do not come, somebody else logs in without delay."""
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(target.connect()).send(target.post("/login", b"{", declared=1_000))
        started = time.monotonic()
        assert target.healthy()
        assert time.monotonic() - started < BODY_TIMEOUT, "nobody was given up meanwhile"


def _answer_while_sending(target: Target, request: bytes) -> bytes | None:
    """Send a request that may be answered before it is sent; return what came back, None if only a reset did."""
    with target.connect() as connection:
        connection.send(request)
        return connection.whatever_comes(within=LONGEST_WAIT)


def _send_header_block(connection: Connection, size: int) -> None:
    """Send an HTTP/2 header block that does not end, in frames of 16 KiB (RFC 9113 §6.2, §6.10; RFC 7541 §6.2.2)."""
    field = b"\x00\x03x-a\x7f\x81\x7f" + b"a" * 16_384
    block = b"\x82\x86\x84" + field * (size // len(field))
    for start in range(0, len(block), 16_384):
        piece = block[start : start + 16_384]
        kind = 1 if start == 0 else 9
        if not connection.send(len(piece).to_bytes(3) + bytes([kind, 0, 0, 0, 0, 1]) + piece):
            return
