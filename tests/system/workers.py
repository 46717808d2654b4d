"""The processes behind the port of a running server, each of them asked for certain."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx2
import psutil

from tests.system.server_process import LONGEST_WAIT, PAUSE, ServerProcess

SPREAD: Final = 10.0
"""Seconds in which every process must know of an end, which takes less than one where nothing else is to be done."""


class Worker:
    """One process, asked over a connection that leads to it and to no other.

    Where several take connections from one port, which of them answers is chance. It is the one that holds the other
    end, and goes on answering on that connection; only metrics end it.
    """

    def __init__(self, server: ServerProcess) -> None:
        """Connect to whichever process takes the connection."""
        self._server = server
        self._client = self._connect()
        self.process = ""
        self._port = 0
        self._meet()

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send one request to this process, with exactly the cookies and headers given."""
        deadline = time.monotonic() + LONGEST_WAIT
        while True:
            try:
                answer, port = self._ask(method, path, **options)
                if port == self._port:
                    return answer
            except httpx2.RemoteProtocolError:  # it was idle for too long, and hung up just now
                pass
            self._find_again(deadline)

    def metrics(self) -> str:
        """Return what this process counts."""
        told = self.request("GET", "/metrics").text
        self._find_again(time.monotonic() + LONGEST_WAIT)
        return told

    def metric(self, name: str) -> float:
        """Return what it counts under a name, with whatever labels; 0 if that is not there."""
        found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", self.metrics(), re.MULTILINE)
        return sum(float(value) for value in found)

    def answered(self, route: str) -> int:
        """Return how many requests to a route this process has answered."""
        found = re.findall(rf'^tokenkeep_requests_total\{{.*route="{route}".*\}} (\S+)$', self.metrics(), re.MULTILINE)
        return sum(int(float(value)) for value in found)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _find_again(self, deadline: float) -> None:
        wanted = self.process
        while True:
            self.close()
            self._client = self._connect()
            self._meet()
            if self.process == wanted:
                return
            assert time.monotonic() < deadline, f"process {wanted} takes no connection"

    def _meet(self) -> None:
        _, self._port = self._ask("GET", "/livez")
        self.process = _holder_of(self._port, self._server)

    def _ask(self, method: str, path: str, **options: Any) -> tuple[httpx2.Response, int]:
        try:
            with self._client.stream(method, path, **options) as answer:
                # Before it is read: the connection may end with it.
                port = int(answer.extensions["network_stream"].get_extra_info("client_addr")[1])
                answer.read()
                return answer, port
        finally:
            self._client.cookies.clear()

    def _connect(self) -> httpx2.Client:
        only = httpx2.Limits(max_connections=1)
        return httpx2.Client(
            base_url=self._server.url, timeout=LONGEST_WAIT, trust_env=False, verify=False, limits=only
        )


@contextmanager
def workers_of(server: ServerProcess) -> Iterator[list[Worker]]:
    """Give every process that answers for a running server, once all have been met; hangs up in the end."""
    found: dict[str, Worker] = {}
    deadline = time.monotonic() + LONGEST_WAIT
    try:
        while len(found) < server.workers:
            worker = Worker(server)
            if not worker.process or worker.process in found:
                worker.close()
                assert time.monotonic() < deadline, f"{len(found)} of {server.workers} workers answer"
            else:
                found[worker.process] = worker
        yield list(found.values())
    finally:
        for worker in found.values():
            worker.close()


def refused_everywhere(server: ServerProcess, access_token: str, *, within: float | None = None) -> bool:
    """Tell whether every process of a server refuses an access token.

    Args:
        within: seconds that all of them have for it together; by default none where there is one process, which has
            ended the token itself.
    """
    allowed = within if within is not None else 0.0 if server.workers == 1 else SPREAD
    deadline = time.monotonic() + allowed
    with workers_of(server) as workers:
        return all(_refuses(worker, access_token, deadline) for worker in workers)


def _refuses(worker: Worker, access_token: str, deadline: float) -> bool:
    bearer = {"Authorization": f"Bearer {access_token}"}
    while worker.request("GET", "/me", headers=bearer).json().get("code") != "invalid_token":
        if time.monotonic() >= deadline:
            return False
        time.sleep(PAUSE)
    return True


def _holder_of(port: int, server: ServerProcess) -> str:
    """Return which process of a server holds the other end of a connection from a port; nothing if it has ended."""
    for process in psutil.Process(server.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(each.raddr and each.raddr.port == port for each in process.net_connections("tcp")):
                return str(process.pid)
    return ""
