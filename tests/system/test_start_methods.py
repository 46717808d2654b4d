"""The ways in which a platform may start the worker: forked, as on Linux, or anew, as on macOS and with Python 3.14."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.system.conftest import SQLITE
from tests.system.server_process import ServerProcess, wait_until
from tests.system.surroundings.spoken import serve
from tests.system.visitor import Visitor

pytestmark = SQLITE

PASSWORD: Final = "correct-horse-battery"
PROGRAM: Final = """
import multiprocessing, sys
multiprocessing.set_start_method(sys.argv.pop(1))
from tokenkeep.cli import main
main()
"""


@pytest.fixture(params=["fork", "spawn"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """A running server of each kind."""
    with ServerProcess(tmp_path) as server:
        server.program = [sys.executable, "-c", PROGRAM, request.param]
        server.start()
        yield server


def worker_of(server: ServerProcess) -> psutil.Process:
    """Return the worker, which is the child that has the port open."""
    (worker,) = [
        child
        for child in server.children()
        if any(each.status == psutil.CONN_LISTEN for each in child.net_connections("tcp"))
    ]
    return worker


def test_a_server_serves_reloads_and_ends(server: ServerProcess):
    """However its worker is started, people log in, a dead worker comes back, a reload replaces it, SIGTERM ends."""
    server.add_user("Ada", PASSWORD)
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    first = worker_of(server)
    first.kill()
    wait_until(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE, "the worker is dead")
    wait_until(server._ready, "another worker serves")
    assert ada.signed_in()
    second = worker_of(server)
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: not second.is_running(), "the worker has been replaced")
    assert ada.refresh().status_code == 200
    assert server.stop() == 0
    assert "Traceback" not in server.log


def hold(pipe: Path) -> int:
    """Return the end at which the secret is written, once a process has come to where it reads it, and waits there."""
    found: list[int] = []

    def is_read() -> bool:
        with suppress(OSError):  # nobody reads yet
            found.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(found)

    wait_until(is_read, "somebody reads the secret")
    return found[0]


def give(end: int) -> None:
    """Write the secret, so that whoever reads it goes on."""
    os.write(end, b"a server secret that is long enough: 7be1c0d2")
    os.close(end)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux shows who has a file open")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_hang_up_ends_nothing_that_is_starting(tmp_path: Path, method: str):
    """Neither the main process nor its worker is ended by SIGHUP while they start, and then the server serves."""
    pipe = tmp_path / "secret"
    os.mkfifo(pipe, 0o600)
    with ServerProcess(tmp_path, environ={"TOKENKEEP_SECRET_FILE": str(pipe)}) as server:
        server.program = [sys.executable, "-c", PROGRAM, method]
        server.launch()
        end = hold(pipe)
        os.kill(server.pid, signal.SIGHUP)
        give(end)
        wait_until(lambda: "Log in:" in server.log or not alive(server), "everything is checked, or it has ended")
        assert alive(server), server.log
        end = hold(pipe)
        wait_until(lambda: bool(readers_of(pipe, server)), "the worker is seen to read it")
        (worker,) = readers_of(pipe, server)
        os.kill(worker.pid, signal.SIGHUP)
        give(end)
        wait_until(server._ready, "the server serves")
        assert worker_of(server) == worker
        assert server.stop() == 0
        assert "Traceback" not in server.log


def alive(server: ServerProcess) -> bool:
    """Tell whether the main process runs."""
    return psutil.Process(server.pid).status() != psutil.STATUS_ZOMBIE


def readers_of(pipe: Path, server: ServerProcess) -> list[psutil.Process]:
    """Return the processes that the main process has started and that have the pipe open."""
    return [child for child in server.children() if str(pipe) in files_of(child.pid)]


def files_of(pid: int) -> list[str]:
    """Return what a process has open."""
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has just been closed
            found.append(str(each.readlink()))
    return found


def test_a_worker_that_outlives_its_server_keeps_others_away(server: ServerProcess):
    """While a worker of a killed server lives, no other server opens its data; when it has ended, one does."""
    worker = worker_of(server)
    worker.suspend()
    try:
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        serve(ServerProcess(server.directory)).check_refusal(rf"another server process uses {server.data}", r"stop it")
    finally:
        worker.resume()
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "the worker has ended")
    server.start()
    assert server.stop() == 0
