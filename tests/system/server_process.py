"""The real server as a child process, and the commands beside it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Self

import httpx2
import psutil

from tests.ports import free_port
from tests.system.forked_process import Surroundings, run_forked

COMMAND: Final = Path(sys.executable).with_name("tokenkeep")
LONGEST_WAIT: Final = 60.0
"""Seconds in which a process must have started, stopped or answered; a loaded machine is slow.

It is waited out only where something has failed. What must not wait for one of the server's own limits, such as the
thirty seconds that a reader of the feed may wait, has a shorter one.
"""
PAUSE: Final = 0.02
"""Seconds between two looks at what cannot be waited for otherwise."""


class ServerProcess:
    """`tokenkeep serve` in a process group of its own, with its data and its log in a directory of its own.

    It keeps its port over restarts, since tokens carry it in their issuer. It takes nothing from the environment of
    the tests, and finds no settings file.
    """

    program: Sequence[str] = (str(COMMAND),)
    """What is run, before its arguments."""

    def __init__(self, directory: Path, *, environ: Mapping[str, str] | None = None, **settings: str) -> None:
        """Prepare a server; `settings` are flags of `serve`, `environ` is for settings that have no flag."""
        self.directory = directory
        self.data = directory / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        flags = {"port": str(self.port), "issuer": self.url, "data_dir": str(self.data), **settings}
        self.workers = int(flags.get("workers", 1))
        self.arguments = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)]
        # Tests come from one address, and faster than people.
        self._environ = clean_environment() | {"TOKENKEEP_RATE_LIMITS": "off"} | dict(environ or {})
        self._log = directory / f"serve-{self.port}.log"
        self._output: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if kind is not None:
            print(f"--- log of the server on port {self.port} ---\n{self.log}---")
        self.kill()

    @property
    def log(self) -> str:
        """What the server has written to standard output and standard error, over all its lives."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    @property
    def database_url(self) -> str | None:
        """The database that was named; None where it is a file in the data directory."""
        return self._environ.get("TOKENKEEP_DATABASE_URL")

    @property
    def secret(self) -> str:
        """The server secret: the one that was given, or the one that was made at the first start."""
        return self._environ.get("TOKENKEEP_SECRET") or (self.data / "secret").read_text().strip()

    @property
    def pid(self) -> int:
        """The id of the process that was started; also that of its group."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[psutil.Process]:
        """Return the processes that it has started: its workers, and what the way of starting them needs."""
        return psutil.Process(self.pid).children()

    def start(self) -> None:
        """Start the server and return when it is ready."""
        self.launch()
        deadline = time.monotonic() + LONGEST_WAIT
        while not self._ready():
            assert self._process is not None
            assert self._process.poll() is None, f"the server ended:\n{self.log}"
            assert time.monotonic() < deadline, f"the server is not ready:\n{self.log}"
            time.sleep(PAUSE)

    def launch(self) -> None:
        """Start the process and return at once."""
        assert self._process is None
        self._output = self._log.open("ab")
        self._process = subprocess.Popen(
            [*self.program, "serve", *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env=self._environ,
            start_new_session=True,
        )

    def wait(self) -> int:
        """Return the exit code once the process has ended and nothing listens any more."""
        assert self._process is not None
        try:
            code = self._process.wait(LONGEST_WAIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server does not end:\n{self.log}") from None
        self._forget()
        return code

    def stop(self) -> int:
        """Ask the server to end, and return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kill the whole process group at once, workers included, as a power cut would."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended by itself
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(LONGEST_WAIT)
        self._forget()
        wait_until(self._port_is_free, "the port of a killed server is free again")

    def restart(self) -> None:
        """Stop the server in good order and start it again."""
        assert self.stop() == 0, self.log
        self.start()

    def run(self, *words: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command beside the server, on the same data; `typed` is its standard input."""
        arguments = [*words, "--data-dir", str(self.data)]
        with tempfile.TemporaryDirectory() as folder:
            keyboard, output, errors = (Path(folder, name) for name in ("keyboard", "output", "errors"))
            keyboard.write_text(typed or "", "utf-8")
            around = Surroundings(
                self.directory, self._environ, str(output), keyboard=str(keyboard), errors=str(errors)
            )
            code = run_forked(arguments, around, within=LONGEST_WAIT)
            told, complained = output.read_text("utf-8"), errors.read_text("utf-8")
        return subprocess.CompletedProcess(["tokenkeep", *arguments], code, told, complained)

    def command(self, *words: str, typed: str | None = None) -> str:
        """Run a command that must succeed, and return what it printed."""
        done = self.run(*words, typed=typed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add_user(self, name: str, password: str, *, role: str = "user") -> None:
        """Add an account with the command that people use."""
        self.command("users", "add", name, "--role", role, "--password-stdin", typed=f"{password}\n")

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send one request over a connection of its own, with exactly the cookies and headers given."""
        # Nothing is encrypted here; reading the certificates of this machine would take most of the time.
        with httpx2.Client(base_url=self.url, timeout=LONGEST_WAIT, trust_env=False, verify=False) as client:
            return client.request(method, path, **options)

    def _ready(self) -> bool:
        try:
            return self.request("GET", "/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def _forget(self) -> None:
        self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def _port_is_free(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0


def clean_environment() -> dict[str, str]:
    """Return the environment without what would set Tokenkeep up."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TOKENKEEP_")}


def wait_until(condition: Callable[[], bool], what: str, *, within: float = LONGEST_WAIT) -> None:
    """Return when the condition holds; fail when it does not for too long (seconds)."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"waited {within} seconds in vain until {what}"
        time.sleep(PAUSE)
