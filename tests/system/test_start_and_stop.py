"""How the server starts, what it refuses to start with, and how it ends."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.ports import free_port
from tests.system.conftest import Start
from tests.system.server_process import ServerProcess, wait_until
from tests.system.visitor import Visitor

PASSWORD = "correct-horse-battery"
CANARY = "canary-of-a-password-77aa"
# A group of its own, so that two workers share the load.
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system-start")]


def refusal(server: ServerProcess) -> str:
    """Start a server that must not start, and return the one line that it says."""
    server.launch()
    assert server.wait() == 1, server.log
    assert "Traceback" not in server.log
    (line,) = server.log.splitlines()
    assert line.startswith("tokenkeep: ")
    return line


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose data directory was made by a server that has ended."""
    directory = tmp_path_factory.mktemp("made")
    with ServerProcess(directory) as server:
        server.start()
        assert server.stop() == 0
    return directory


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of that data directory, to be changed."""
    directory = tmp_path / "copy"
    shutil.copytree(made / "data", directory / "data")
    (directory / "data").chmod(0o700)
    return directory


def test_the_first_start_makes_what_is_needed_and_says_what_comes_next(made: Path):
    """The data directory, its secret and its database are their owner's only; the next steps are printed."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in [made / "data", *(made / "data").iterdir()]}
    assert modes["data"] == 0o700
    assert modes["secret"] == modes["tokenkeep.db"] == 0o600
    assert not [name for name in modes if name.endswith(("-wal", "-shm"))]
    printed = next(made.glob("*.log")).read_text()
    for part in (str(made / "data"), "users add", "curl", "/login"):
        assert part in printed
    assert (made / "data" / "secret").read_text().strip() not in printed


def remove_the_secret(directory: Path) -> None:
    """Lose the server secret."""
    (directory / "data" / "secret").unlink()


def change_the_secret(directory: Path) -> None:
    """Put another server secret in the place of the right one."""
    (directory / "data" / "secret").write_text("another-secret-of-thirty-two-bytes-or-more-gq7zwx\n")


def open_the_directory(directory: Path) -> None:
    """Let others look into the data directory."""
    (directory / "data").chmod(0o755)


def open_the_secret(directory: Path) -> None:
    """Let others read the secret."""
    (directory / "data" / "secret").chmod(0o644)


def damage_the_database(directory: Path) -> None:
    """Put something else in the place of the database."""
    (directory / "data" / "tokenkeep.db").write_bytes(b"a letter to a friend\n" * 1000)


def use_a_newer_database(directory: Path) -> None:
    """Leave the traces of a later version."""
    connection = sqlite3.connect(directory / "data" / "tokenkeep.db")
    connection.execute("INSERT INTO migrations (number, name, checksum, applied_at) VALUES (9999, 'later', 'x', 0)")
    connection.commit()
    connection.close()


def damage_the_mark(directory: Path) -> None:
    """Cut off the high-water mark, as a power cut might."""
    (directory / "data" / "high-water-mark").write_bytes(b"")


def mistype_a_setting(directory: Path) -> None:
    """Write a setting that is none into the settings file."""
    (directory / "tokenkeep.toml").write_text('issuerr = "https://auth.example"\n')


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (remove_the_secret, r"secret .*data/secret is missing"),
        (change_the_secret, r"secret"),
        (open_the_directory, r"chmod 700 .*/data$"),
        (open_the_secret, r"chmod 600 .*/data/secret$"),
        (damage_the_database, r"not a database"),
        (use_a_newer_database, r"migration 9999"),
        (damage_the_mark, r"high-water-mark"),
        (mistype_a_setting, r"unknown setting issuerr \(tokenkeep\.toml\); did you mean issuer\?"),
    ],
)
def test_data_that_cannot_be_served_is_refused(copy: Path, prepare: Callable[[Path], None], said: str):
    """What is wrong with the data or the settings file is said in one line, with exit code 1."""
    prepare(copy)
    with ServerProcess(copy) as server:
        assert re.search(said, refusal(server))


@pytest.mark.parametrize(
    ("environ", "flags", "said"),
    [
        ({"TOKENKEEP_ISUER": "http://x"}, {}, r"unknown setting isuer \(TOKENKEEP_ISUER\); did you mean issuer\?"),
        ({}, {"issuer": "http://auth.example"}, r"http://auth\.example is plain http off loopback"),
        ({}, {"host": "0.0.0.0"}, r"0\.0\.0\.0"),
        ({}, {"access_ttl": "15"}, r"access_ttl .*15m"),
        ({"TOKENKEEP_SECRET": f"{CANARY}"}, {}, r"secret"),
        ({"TOKENKEEP_DATABASE_URL": f"postgresql://u:{CANARY}@127.0.0.1:{{port}}/d"}, {}, r"TOKENKEEP_SECRET"),
        (
            {"TOKENKEEP_DATABASE_URL": f"postgresql://u:{CANARY}@127.0.0.1:{{port}}/d", "TOKENKEEP_SECRET": "{secret}"},
            {},
            r"PostgreSQL",
        ),
        (
            {"TOKENKEEP_DATABASE_URL": f"postgresql://u:{CANARY}/1@127.0.0.1/d", "TOKENKEEP_SECRET": "{secret}"},
            {},
            r"database_url|PostgreSQL",
        ),
    ],
    ids=[
        "unknown setting",
        "http issuer",
        "open host",
        "no duration",
        "short secret",
        "no secret",
        "no database",
        "unreadable address",
    ],
)
def test_settings_that_cannot_be_served_are_refused(
    tmp_path: Path, environ: dict[str, str], flags: dict[str, str], said: str
):
    """What is wrong with the settings is said in one line, with exit code 1 and without the secrets among them."""
    filled = {
        name: value.format(port=free_port(), secret="a-long-and-unknown-secret-for-tests-3kx9v0")
        for name, value in environ.items()
    }
    with ServerProcess(tmp_path, environ={"TOKENKEEP_RATE_LIMITS": "on"} | filled, **flags) as server:
        line = refusal(server)
    assert re.search(said, line)
    assert CANARY not in line


def test_a_second_server_on_the_same_data_is_refused(sqlite_start: Start):
    """One directory has one server; the second is told so, and the first goes on."""
    first = sqlite_start()
    with ServerProcess(first.directory) as second:
        assert f"another server process uses {first.data}" in refusal(second)
    assert first.request("GET", "/readyz").status_code == 200


def test_a_port_that_is_taken_is_refused(copy: Path):
    """The refusal names the address, and the setting that chooses another."""
    with ServerProcess(copy) as server, socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        line = refusal(server)
    assert f"127.0.0.1:{server.port}" in line
    assert "--port" in line


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_asked_to_end_ends(sqlite_start: Start, signal_number: signal.Signals):
    """It ends within seconds with exit code 0, also while a client keeps its connection open; no file is left over."""
    server = sqlite_start()
    with httpx2.Client(base_url=server.url, trust_env=False, verify=False) as client:
        assert client.get("/livez").status_code == 200
        started = time.monotonic()
        os.kill(server.pid, signal_number)
        assert server.wait() == 0
        assert time.monotonic() - started < 5
    assert not list(server.data.glob("tokenkeep.db-*"))
    assert "Traceback" not in server.log


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, where the system tells."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()] if listing.exists() else []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux shows the threads of a process")
def test_a_signal_that_another_thread_takes_is_heard(sqlite_server: ServerProcess):
    """Of signals that come at the same time the system may hand some to a thread that has nothing to do with them."""
    deliver = ctypes.CDLL(None, use_errno=True).tgkill
    others = [int(each.name) for each in Path(f"/proc/{sqlite_server.pid}/task").iterdir()]
    others.remove(sqlite_server.pid)
    assert others
    for thread in others:
        assert deliver(sqlite_server.pid, thread, signal.SIGTERM) == 0
    assert sqlite_server.wait() == 0


def test_signals_that_come_at_once_end_the_server(sqlite_start: Start):
    """An end that is asked for in the middle of reloads is not forgotten, and not waited for without end."""
    server = sqlite_start()
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(server.pid, number)
    assert server.wait() == 0


def test_a_reload_does_not_change_the_issuer(tmp_path: Path):
    """Old and new workers would refuse each other's tokens: the old ones serve on, and the log names both issuers."""
    with ServerProcess(tmp_path) as server:
        at = server.arguments.index("--issuer")
        del server.arguments[at : at + 2]
        file = tmp_path / "tokenkeep.toml"
        file.write_text(f'issuer = "{server.url}"\n')
        server.start()
        workers = children(server.pid)
        file.write_text('issuer = "http://127.0.0.1:1"\n')
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: "not reloaded" in server.log, "the reload is refused")
        assert f"issuer is http://127.0.0.1:1 now, and was {server.url} at the start" in server.log
        assert children(server.pid) == workers
        assert server.request("GET", "/readyz").status_code == 200
        assert server.stop() == 0


def test_a_worker_that_dies_is_replaced(sqlite_start: Start):
    """When the worker is killed alone, the server starts another one, which knows everything that was answered."""
    server = sqlite_start()
    workers = children(server.pid)
    if not workers:
        pytest.skip("this system does not tell which processes a process has started")
    server.add_user("Ada", PASSWORD)
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: bool(children(server.pid)) and not set(children(server.pid)) & set(workers), "there is another")

    def answers() -> bool:
        try:
            return ada.signed_in()
        except httpx2.TransportError:
            return False

    wait_until(answers, "the new worker answers")
    assert ada.refresh().status_code == 200
    assert server.stop() == 0
