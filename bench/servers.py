"""The servers that are measured, as child processes held to one core, each with data of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from load import Connection

NAME, PASSWORD = "Ada", "wombat-lantern-quarry-71"
SERVER_CORE, CLIENT_CORE = 0, 1
LONGEST_START = 30.0

_PROGRAM = str(Path(sys.executable).with_name("tokenkeep"))


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `environment` is what it was started with."""

    port: int
    pid: int
    data: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def processor_seconds(self) -> float:
        """Return the processor time that its processes have used."""
        return processor_seconds(self.pid)

    def resident(self) -> dict[int, float]:
        """Return the resident memory of its processes in MiB, by process id."""
        return {pid: _resident(pid) for pid in (self.pid, *_children(self.pid))}


class TokenkeepSession:
    """One login at Tokenkeep, whose refresh token travels in the cookie."""

    def __init__(self, port: int) -> None:
        self.connection = Connection(port)
        self.access_token = ""
        self._cookie = ""

    async def log_in(self) -> None:
        """Log in anew."""
        assert await self.try_to_log_in(), "the server is too busy to log in"

    async def try_to_log_in(self) -> bool:
        """Log in anew unless the server is too busy with other passwords."""
        body = json.dumps({"name": NAME, "password": PASSWORD}).encode()
        answer = await self.connection.request("POST", "/login", body)
        if answer.status == 503:
            return False
        self._take(answer)
        return True

    async def rotate(self) -> None:
        """Exchange the refresh token."""
        self._take(await self.connection.request("POST", "/refresh", headers=[f"Cookie: {self._cookie}"]))

    async def me(self) -> None:
        """Use the access token."""
        answer = await self.connection.request("GET", "/me", headers=[f"Authorization: Bearer {self.access_token}"])
        assert answer.status == 200, answer

    async def log_out(self) -> float:
        """End the session by its cookie; returns when that was answered, on the clock that never steps."""
        return await self._end("POST", "/logout", f"Cookie: {self._cookie}")

    async def delete(self) -> float:
        """End the session from the list of sessions; returns when that was answered."""
        bearer = f"Authorization: Bearer {self.access_token}"
        listed = (await self.connection.request("GET", "/sessions", headers=[bearer])).json()["sessions"]
        [own] = [session["id"] for session in listed if session["current"]]
        return await self._end("DELETE", f"/sessions/{own}", bearer)

    async def _end(self, method: str, path: str, shown: str) -> float:
        answer = await self.connection.request(method, path, headers=[shown])
        answered_at = time.monotonic()
        assert answer.status == 200, answer
        return answered_at

    def _take(self, answer) -> None:
        assert answer.status == 200, answer
        self._cookie = answer.headers["set-cookie"].partition(";")[0]
        self.access_token = answer.json()["accessToken"]


class SimplejwtSession:
    """One login at djangorestframework-simplejwt."""

    def __init__(self, port: int) -> None:
        self.connection = Connection(port)
        self._refresh = ""

    async def log_in(self) -> None:
        """Log in anew."""
        body = json.dumps({"username": NAME, "password": PASSWORD}).encode()
        self._take(await self.connection.request("POST", "/login", body))

    async def rotate(self) -> None:
        """Exchange the refresh token."""
        self._take(await self.connection.request("POST", "/refresh", json.dumps({"refresh": self._refresh}).encode()))

    def _take(self, answer) -> None:
        assert answer.status == 200, answer
        self._refresh = answer.json()["refresh"]


@contextmanager
def tokenkeep(
    folder: Path, *, cores: set[int], database: str | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run Tokenkeep with its defaults, but for the limits, which one address and one account would soon meet.

    Args:
        database: the address of an empty PostgreSQL database; SQLite by default.
        environ: further settings.
    """
    port, data = _free_port(), folder / "tokenkeep"
    environment = os.environ | {"TOKENKEEP_RATE_LIMITS": "off", "TOKENKEEP_ISSUER": f"http://127.0.0.1:{port}"}
    environment |= {"TOKENKEEP_MAX_SESSIONS": "10000"} | dict(environ or {})
    if database is not None:
        environment |= {"TOKENKEEP_DATABASE_URL": database, "TOKENKEEP_SECRET": secrets.token_urlsafe(32)}
    with _running(_serve(port, data), folder, environment, port, cores) as pid:
        subprocess.run(
            [_PROGRAM, "users", "add", NAME, "--password-stdin", "--data-dir", str(data)],
            env=environment,
            input=PASSWORD,
            text=True,
            check=True,
            capture_output=True,
        )
        yield Server(port, pid, data, environment)


@contextmanager
def another_node(first: Server, folder: Path, *, cores: set[int]) -> Iterator[Server]:
    """Run one more Tokenkeep as the first one is run, with a data directory of its own."""
    port, data = _free_port(), folder / "another"
    with _running(_serve(port, data), folder, dict(first.environment), port, cores) as pid:
        yield Server(port, pid, data, first.environment)


@contextmanager
def simplejwt(folder: Path, python: Path, *, cores: set[int], database: str | None = None) -> Iterator[Server]:
    """Run the peer under gunicorn with one worker, in the environment of another interpreter.

    Args:
        database: the address of an empty PostgreSQL database; SQLite by default.
    """
    port = _free_port()
    environment = os.environ | {
        "SIMPLEJWT_DATABASE": database or str(folder / "simplejwt.sqlite3"),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    module = Path(__file__).with_name("simplejwt_project.py")
    subprocess.run([str(python), str(module), NAME, PASSWORD], env=environment, check=True)
    words = ["-m", "gunicorn", "--workers", "1", "--threads", "8", "--keep-alive", "60", "--log-level", "warning"]
    words += ["--bind", f"127.0.0.1:{port}", "simplejwt_project:application"]
    with _running([str(python), *words], folder, environment, port, cores) as pid:
        yield Server(port, pid, folder)


def processor_seconds(pid: int) -> float:
    """Return what a process and all that it started have used, those that have ended and were waited for included."""
    root = psutil.Process(pid)
    return sum(sum(each.cpu_times()[:4]) for each in (root, *root.children(recursive=True)))


def _serve(port: int, data: Path) -> list[str]:
    return [_PROGRAM, "serve", "--port", str(port), "--data-dir", str(data)]


@contextmanager
def _running(
    command: list[str], folder: Path, environment: dict[str, str], port: int, cores: set[int]
) -> Iterator[int]:
    log = (folder / f"{port}.log").open("wb")
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    os.sched_setaffinity(process.pid, cores)  # at once, before it has threads or children
    try:
        _wait_for(port, process)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONGEST_START
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"a server did not start on port {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _resident(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
