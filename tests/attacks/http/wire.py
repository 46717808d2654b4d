"""Octets on a socket to a real server, and what comes back: within a bounded time, or the test fails."""

from __future__ import annotations

import json
import re
import socket
import time
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.attacks.http.attacker import NAME, PASSWORD, check_problem, state_of
from tests.system.server_process import ServerProcess, wait_until
from tests.system.stored import stored_by
from tests.system.workers import workers_of

LONGEST_ANSWER: Final = 10.0
"""Seconds in which anything but a slow body must be answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer off the wire."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return the values of all headers of a name, which is in lower case."""
        return [value for each, value in self.headers if each == name]

    @property
    def ours(self) -> bool:
        """Whether the application answered, and not the HTTP library before it."""
        return bool(self.all("x-request-id"))

    def problem(self) -> dict[str, Any]:
        """Return the problem document."""
        return check_problem(self.status, self.all("content-type")[0], self.body)


class Connection:
    """A connection to the server; `read_answer` takes one answer after the other from it."""

    def __init__(self, port: int, *, read_buffer: int | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=LONGEST_ANSWER)
        if read_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer)
        self._received = b""
        self._ended = False

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *raised: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """Send all of it; tells whether the server took it all."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def hang_up(self, *, reset: bool) -> None:
        """Leave without a word: in good order, or with a reset that throws away what is under way."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._socket.close()

    def ended(self, *, within: float) -> bool:
        """Tell whether the server ends the connection within so many seconds; what it sends until then is dropped."""
        deadline = time.monotonic() + within
        while not self._ended and (left := deadline - time.monotonic()) > 0:
            self._receive(left)
        return self._ended

    def has_answer(self, *, within: float) -> bool:
        """Tell whether the server begins to answer, or ends the connection, within so many seconds."""
        if not self._received and not self._ended:
            self._receive(within)
        return bool(self._received) or self._ended

    def whatever_comes(self, *, within: float) -> bytes | None:
        """Return what has been received when the server ends the connection or the time is over; None if nothing."""
        self.ended(within=within)
        return self._received or None

    def read_answer(self, *, method: str = "GET", within: float = LONGEST_ANSWER) -> Answer | None:
        """Return the next answer; None if the server ends the connection instead."""
        deadline = time.monotonic() + within
        while b"\r\n\r\n" not in self._received:
            if not self._receive(deadline - time.monotonic()):
                assert not self._received, self._received
                return None
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.[01] (\d{3}) .*", status_line)
        assert match, status_line
        headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        (size,) = [int(value) for name, value in headers if name == "content-length"] or [0]
        size = 0 if method == "HEAD" else size
        while len(self._received) < size:
            assert self._receive(deadline - time.monotonic()), "the answer is cut off"
        body, self._received = self._received[:size], self._received[size:]
        return Answer(int(match[1]), headers, body)

    def _receive(self, within: float) -> bool:
        assert within > 0, f"the server does not answer; so far: {self._received!r}"
        self._socket.settimeout(within)
        try:
            data = self._socket.recv(65_536)
        except TimeoutError:
            return False
        except ConnectionResetError:
            data = b""
        self._ended = not data
        self._received += data
        return bool(data)


class Target:
    """A running server, looked at from outside."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.port = process.port
        self.host = f"Host: 127.0.0.1:{process.port}\r\n".encode()

    def connect(self, **options: Any) -> Connection:
        """Return a new connection."""
        return Connection(self.port, **options)

    def exchange(self, request: bytes, *, within: float = LONGEST_ANSWER) -> Answer | None:
        """Send octets over a connection of their own; None if the server ends it without an answer."""
        with self.connect() as connection:
            connection.send(request)
            return connection.read_answer(method=request.partition(b" ")[0].decode("latin-1"), within=within)

    def get(self, path: str, *, fields: bytes = b"", method: bytes = b"GET") -> bytes:
        """Return a request without a body."""
        return b"%s %s HTTP/1.1\r\n%s%s\r\n" % (method, path.encode(), self.host, fields)

    def post(self, path: str, body: bytes, *, fields: bytes = b"", declared: int | None = None) -> bytes:
        """Return a request with a JSON body; `declared` is another `Content-Length` than the true one."""
        size = len(body) if declared is None else declared
        return b"POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s" % (
            path.encode(),
            self.host,
            size,
            fields,
            body,
        )

    def chunked(self, path: str, body: bytes, *, fields: bytes = b"") -> bytes:
        """Return a request whose body, chunk sizes included, is given as it is sent."""
        return b"POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n%s\r\n%s" % (
            path.encode(),
            self.host,
            fields,
            body,
        )

    def login(self, *, delivery: str = "body") -> bytes:
        """Return the request that logs in."""
        return self.post("/login", json.dumps({"name": NAME, "password": PASSWORD, "delivery": delivery}).encode())

    def state(self) -> list[Any]:
        """Return all rows that matter, to be compared with later ones."""
        return state_of(stored_by(self.process))

    def lines(self, since: int = 0) -> list[dict[str, Any]]:
        """Return what was logged since a position of the log; each line must be one JSON object."""
        whole = self.process.log[since:].rpartition("\n")[0]  # the last line may only just be being written
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def wait_for_lines(self, since: int, known_as: str) -> list[dict[str, Any]]:
        """Return the lines of the request with this id since a position of the log, once it has been answered."""

        def of_request() -> list[dict[str, Any]]:
            return [line for line in self.lines(since) if line.get("request_id") == known_as]

        wait_until(lambda: any(line["event"] == "request" for line in of_request()), f"{known_as} is in the log")
        return of_request()

    def memory(self) -> int:
        """Return the resident memory of all workers in bytes, as they tell themselves."""
        with workers_of(self.process) as workers:
            told = [worker.metric("process_resident_memory_bytes") for worker in workers]
        if not all(told):
            pytest.skip("only Linux tells a process's memory in /proc")
        return int(sum(told))

    def healthy(self) -> bool:
        """Tell whether the server is ready and lets people in."""
        ready = self.exchange(self.get("/readyz"))
        entered = self.exchange(self.login())
        return ready is not None and ready.status == 200 and entered is not None and entered.status == 200
