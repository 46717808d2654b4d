"""Requests whose senders have gone on without an answer."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from tests.system.conftest import Start
from tests.system.server_process import LONGEST_WAIT, ServerProcess, wait_until
from tests.system.visitor import COOKIE, Visitor

PASSWORD = "correct-horse-battery"
TCP_CORK = getattr(socket, "TCP_CORK", getattr(socket, "TCP_NOPUSH", 4))
"""Has what is sent wait for more, or for the end; the second name is that of other systems than Linux."""
pytestmark = [pytest.mark.slow, pytest.mark.engines("sqlite", "postgres", "fleet")]


@pytest.fixture
def hasty(start: Start) -> ServerProcess:
    """A server at which every token but the newest is one that was reused."""
    server = start(refresh_grace="0s")
    server.add_user("Ada", PASSWORD)
    return server


def sent(server: ServerProcess, cookie: str, *, with_the_end: bool = False) -> socket.socket:
    """Return a connection over which a refresh has been asked for, or is when it ends, so that both come together."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=LONGEST_WAIT)
    if with_the_end:
        connection.setsockopt(socket.IPPROTO_TCP, TCP_CORK, 1)
    connection.sendall(
        f"POST /refresh HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nCookie: {COOKIE}={cookie}\r\n"
        "Content-Length: 0\r\n\r\n".encode()
    )
    return connection


def told(server: ServerProcess, kind: str) -> list[str]:
    """Return the lines of the audit log about events of a kind."""
    return server.command("audit", "search", "--kind", kind, "--json").splitlines()


@pytest.mark.parametrize("held", [False, True], ids=["read at once", "held by a server that was stopped"])
def test_a_refresh_that_was_given_up_ends_no_session(hasty: ServerProcess, held: bool):
    """An old token of somebody who has hung up is not taken for a thief's: they went on with a newer one."""
    ada = Visitor(hasty, "Ada", PASSWORD)
    ada.login()
    assert ada.cookie is not None
    old = ada.cookie
    assert [ada.refresh().status_code for _ in range(3)] == [200, 200, 200]

    def was_read() -> bool:
        # Of a request that comes with its end not every one reaches the application.
        if held:
            os.killpg(hasty.pid, signal.SIGSTOP)
        sent(hasty, old, with_the_end=True).close()
        if held:
            os.killpg(hasty.pid, signal.SIGCONT)
        return "abandoned" in "".join(told(hasty, "refresh_refused"))

    wait_until(was_read, "such a request was read")
    assert ada.signed_in()
    assert ada.refresh().status_code == 200
    assert told(hasty, "refresh_reused") == []


def test_a_reused_token_of_somebody_who_waits_ends_the_session(hasty: ServerProcess):
    """Who keeps the connection open is answered, and whoever has the newer token is logged out."""
    ada = Visitor(hasty, "Ada", PASSWORD)
    ada.login()
    assert ada.cookie is not None
    old = ada.cookie
    assert ada.refresh().status_code == 200
    with sent(hasty, old) as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")
    assert ada.shut_out()
    assert ada.refresh().json()["code"] == "no_valid_refresh_token"
    assert len(told(hasty, "refresh_reused")) == 1
