"""Ends that are no catastrophe: SIGTERM under load, and a worker that dies alone."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Final

import httpx2
import psutil
import pytest

from tests.system.conftest import SQLITE
from tests.system.recovery.crowd import PASSWORD, Crowd
from tests.system.server_process import ServerProcess, wait_until
from tests.system.surroundings.spoken import add_account
from tests.system.visitor import Visitor

pytestmark = SQLITE

DRAIN: Final = 10.0
"""Seconds in which a server that is asked to end has ended."""
SEED: Final = 15_204


@pytest.mark.parametrize("to_all", [False, True], ids=["its process", "its process group"])
def test_a_server_that_is_asked_to_end_loses_no_answer(tmp_path: Path, to_all: bool):
    """SIGTERM under load, as an operator, a supervisor or a terminal sends it: exit code 0 in time, nothing lost."""
    with ServerProcess(tmp_path, refresh_grace="60s", log_level="warning") as server:
        server.start()
        crowd = Crowd(server, ["Ada", "Bob", "Cleo"], operations=120, seed=SEED)
        crowd.add_accounts()

        def ask_to_end() -> None:
            started = time.monotonic()
            (os.killpg if to_all else os.kill)(server.pid, signal.SIGTERM)
            assert server.wait() == 0
            assert time.monotonic() - started < DRAIN + 1

        crowd.work_until(ask_to_end, 40)
        assert crowd.begun >= 40
        crowd.check_stored()
        server.start()
        crowd.check_served(every=True)
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_a_request_under_way_is_answered_before_the_end(tmp_path: Path):
    """A login whose body arrives after SIGTERM is still answered, and what it answers is kept."""
    with ServerProcess(tmp_path) as server:
        server.start()
        add_account(server, "Ada", PASSWORD)
        body = f'{{"name":"Ada","password":"{PASSWORD}","delivery":"body"}}'.encode()
        head = (
            f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=DRAIN) as connection:
            connection.sendall(head + body[:9])
            wait_until(lambda: _reads_request(server), "the worker has taken the connection")
            os.kill(server.pid, signal.SIGTERM)
            wait_until(lambda: not _listens(server), "the server takes no new connections")
            connection.sendall(body[9:])
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert server.wait() == 0
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        token = answer.partition(b'"refreshToken":"')[2].partition(b'"')[0].decode()
        server.start()
        assert server.request("POST", "/refresh", json={"refreshToken": token}).status_code == 200


def test_a_worker_that_dies_comes_back_and_everybody_goes_on(tmp_path: Path):
    """The worker is killed alone under load: another takes over by itself, nobody is logged out, no answer is lost."""
    with ServerProcess(tmp_path, refresh_grace="60s") as server:
        server.start()
        add_account(server, "Ada", PASSWORD)
        crowd = [Visitor(server, "Ada", PASSWORD) for _ in range(4)]
        assert [visitor.login().status_code for visitor in crowd] == [200] * 4
        answered = threading.Semaphore(0)
        enough = threading.Event()
        failures: list[str] = []

        def keep_refreshing(visitor: Visitor) -> None:
            while not enough.is_set():
                try:
                    answer = visitor.refresh()
                except httpx2.TransportError:
                    continue  # it is tried again with the same cookie, as a browser would
                if answer.status_code != 200:
                    failures.append(answer.text)
                answered.release()

        threads = [threading.Thread(target=keep_refreshing, args=(visitor,)) for visitor in crowd]
        for thread in threads:
            thread.start()
        _await(answered, 20)
        (worker,) = server.children()
        os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "the worker is dead")
        while answered.acquire(blocking=False):
            pass
        _await(answered, 40)
        enough.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [visitor.signed_in() for visitor in crowd] == [True] * 4
        assert server.stop() == 0


def _await(answered: threading.Semaphore, count: int) -> None:
    for _ in range(count):
        assert answered.acquire(timeout=DRAIN)


def _reads_request(server: ServerProcess) -> bool:
    connections = [each for child in server.children() for each in child.net_connections("tcp")]
    return any(each.status == psutil.CONN_ESTABLISHED for each in connections)


def _listens(server: ServerProcess) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) == 0
