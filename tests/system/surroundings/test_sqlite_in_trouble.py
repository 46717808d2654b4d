"""A SQLite database that fails under a running server: every request is answered in time, and nothing is half done."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.system.conftest import SQLITE
from tests.system.server_process import ServerProcess, wait_until
from tests.system.surroundings.conftest import PASSWORD
from tests.system.surroundings.disks import no_file_grows, small_disk
from tests.system.surroundings.forked import ForkedServer
from tests.system.surroundings.spoken import add_account, say, serve
from tests.system.visitor import Visitor
from tokenkeep.storage.sql import sqlite, sqlite_thread

pytestmark = SQLITE

LONGEST_ANSWER: Final = 12.0
"""Seconds in which a request is answered while another process holds the database, however many wait."""

Contents = dict[str, list[Any]]


@pytest.fixture
def server(site: ForkedServer) -> ForkedServer:
    """A running server that logs warnings and worse only."""
    site.arguments += ["--log-level", "warning"]
    site.start()
    return site


@pytest.fixture
def ada(server: ServerProcess) -> Visitor:
    """Ada, logged in."""
    visitor = Visitor(server, "Ada", PASSWORD)
    assert visitor.login().status_code == 200
    return visitor


def contents(server: ServerProcess) -> Contents:
    """Return every row that a request could have changed."""
    with closing(sqlite3.connect(server.data / "tokenkeep.db")) as connection:
        tables = ("accounts", "sessions", "revocations", "revocation_head", "signing_keys")
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


@contextmanager
def held(server: ServerProcess) -> Iterator[None]:
    """Hold the database as another process does that has begun to write and does not end."""
    with closing(sqlite3.connect(server.data / "tokenkeep.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def check_unavailable(answer: httpx2.Response) -> None:
    """Hold an answer to a refusal that asks to come again, and takes no cookie away."""
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert "set-cookie" not in answer.headers


def check_log(server: ServerProcess, *words: str) -> None:
    """Look for a line of the log that is a warning or worse and holds all the words; none has a traceback."""
    events = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    bad = [event for event in events if event["level"] in {"warning", "error"}]
    told = [f"{event['event']} {event.get('refused', '')}" for event in bad]
    assert any(all(word in event for word in words) for event in told), server.log
    assert "Traceback" not in server.log


def timed(request: Callable[[], httpx2.Response]) -> tuple[httpx2.Response, float]:
    """Return the answer to a request and the seconds it took."""
    started = time.monotonic()
    return request(), time.monotonic() - started


def test_another_process_has_seconds_to_go_on():
    """A database that another process holds is waited for for five seconds."""
    assert sqlite.BUSY_TIMEOUT == sqlite_thread.BUSY_TIMEOUT == 5.0


def test_a_database_that_another_process_holds_is_waited_for_in_vain(server: ForkedServer):
    """However many requests wait, each is a 503 in time; tokens are checked all along; it recovers by itself."""
    assert server.stop() == 0
    server.impatient = True
    server.start()
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    crowd = [Visitor(server, "Ada", PASSWORD) for _ in range(3)]
    assert [visitor.login().status_code for visitor in crowd] == [200] * 3
    before = contents(server)
    with held(server), ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(timed, visitor.refresh) for visitor in crowd]
        asked += [threads.submit(timed, request) for request in (ada.login, ada.logout)]
        command = threads.submit(say, server, "users", "disable", "Ada", impatient=True)
        while not all(one.done() for one in asked):
            assert ada.get("/me").status_code == 200
            assert server.request("GET", "/livez").status_code == 200
            time.sleep(0.2)
        for answer, seconds in (one.result() for one in asked):
            check_unavailable(answer)
            assert seconds < LONGEST_ANSWER
        command.result().check_refusal(r"tokenkeep\.db", r"locked", r"another process")
    assert contents(server) == before
    check_log(server, "tokenkeep.db", "locked", "another process")
    assert [visitor.refresh().status_code for visitor in [ada, *crowd]] == [200] * 4
    assert [visitor.signed_in() for visitor in [ada, *crowd]] == [True] * 4
    assert server.stop() == 0


def test_a_database_that_is_held_at_the_start_is_named(site: ServerProcess):
    """`serve` waits a while, then says that another process holds the database; later it starts."""
    with held(site):
        serve(site, impatient=True).check_refusal(r"tokenkeep\.db", r"locked", r"another process")
    site.start()
    assert site.stop() == 0


def check_writing_fails(server: ServerProcess, ada: Visitor, *words: str) -> None:
    """Ask for changes that the disk does not take."""
    for request in (ada.refresh, ada.refresh, ada.login, ada.logout):
        answer, seconds = timed(request)
        check_unavailable(answer)
        assert seconds < sqlite.BUSY_TIMEOUT, "it is not tried for as long as a database that is held"
    assert ada.get("/me").status_code == 200
    assert server.request("GET", "/livez").status_code == 200
    check_log(server, "tokenkeep.db", *words)


def test_a_full_disk_refuses_changes_until_there_is_room(tmp_path: Path):
    """Changes are 503 and not half done, the command says why; with room again everybody goes on as before."""
    with small_disk(tmp_path / "data") as disk, ForkedServer(tmp_path, log_level="warning") as server:
        server.start()
        add_account(server, "Ada", PASSWORD)
        ada = Visitor(server, "Ada", PASSWORD)
        assert ada.login().status_code == 200
        before = contents(server)
        disk.fill()
        check_writing_fails(server, ada, "full", "room")
        say(server, "users", "disable", "Ada").check_refusal(r"tokenkeep\.db", r"full", r"make room")
        assert contents(server) == before
        disk.make_room()
        assert ada.refresh().status_code == 200
        assert ada.signed_in()
        assert server.stop() == 0


def test_a_full_disk_at_the_start_is_named(tmp_path: Path):
    """On a full disk nothing starts, for the first time or again; with room it does, and is whole."""
    with small_disk(tmp_path / "data") as disk, ForkedServer(tmp_path) as server:
        disk.fill()
        serve(server).check_refusal(r"/data", r"no space|full")
        disk.make_room()
        server.start()
        assert (server.data / ".gitignore").read_text() == "*\n"
        assert server.stop() == 0
        disk.fill()
        serve(server).check_refusal(r"/data", r"full|disk", r"room|disk is full")
        disk.make_room()
        server.start()
        assert server.stop() == 0


def test_a_disk_that_does_not_write_refuses_changes_until_it_does(server: ServerProcess, ada: Visitor):
    """An input/output error in the middle of a commit leaves nothing behind, and the next attempt succeeds."""
    before = contents(server)
    with no_file_grows(server):
        check_writing_fails(server, ada, "disk")
    assert contents(server) == before
    assert ada.refresh().status_code == 200
    assert ada.signed_in()
    assert server.stop() == 0


def test_a_database_that_is_damaged_under_the_server_is_named(server: ServerProcess, ada: Visitor):
    """Requests that meet the damage are 503 and the log says what to do; a token is still checked."""
    server.restart()
    database = server.data / "tokenkeep.db"
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (database.stat().st_size - 4096))
    check_unavailable(ada.login())
    assert ada.get("/me").status_code == 200
    check_log(server, "tokenkeep.db", "malformed", "backup")


def test_a_worker_that_cannot_start_again_says_why(server: ServerProcess):
    """When a worker dies and no other can open the database, the server ends with 1 and one line about the cause."""
    with (server.data / "tokenkeep.db").open("r+b") as file:
        file.write(b"\xff" * 100)
    for worker in server.children():
        os.kill(worker.pid, signal.SIGKILL)
    assert server.wait() == 1
    check_log(server, "tokenkeep.db", "not a database", "backup")


def test_workers_end_when_their_parent_is_killed(server: ServerProcess):
    """No worker stays behind, with the port and the data, when the process that started it is killed alone."""
    workers = server.children()
    assert workers
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not any(worker.is_running() for worker in workers), "the workers have ended")
    server.wait()
    server.start()
    assert server.stop() == 0
