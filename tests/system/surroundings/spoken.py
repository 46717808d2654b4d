"""What a command says: its exit code and its lines. Run in a process that has the command already in memory.

A command needs a second to load its libraries and a tenth of one to do its work. Here a process that has loaded them
(the fork server of `multiprocessing`) is copied for each command.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from tests.system.server_process import LONGEST_WAIT, ServerProcess

_LOADED: Final = multiprocessing.get_context("forkserver")
_LOADED.set_forkserver_preload(["tokenkeep.cli.main"])
_CAPABILITY_VERSION: Final = 0x20080522


@dataclass(frozen=True)
class Said:
    """The exit code of a command and the lines it wrote, without the one that names the data directory."""

    code: int
    lines: list[str]

    def check_refusal(self, *patterns: str) -> None:
        """Hold it to a refusal: exit code 1, one or two lines, no traceback, and each pattern somewhere in them."""
        assert self.code == 1, self
        assert 1 <= len(self.lines) <= 2, self
        assert self.lines[0].startswith("tokenkeep: "), self
        self._check_words(*patterns)

    def check_finding(self, *patterns: str) -> None:
        """Hold the output of `doctor` to a broken rule with its fix, in whose lines each pattern is somewhere."""
        assert self.code == 1, self
        broken = [at for at, line in enumerate(self.lines) if line.startswith("BROKEN")]
        assert broken, self
        findings = Said(self.code, [line for at in broken for line in self.lines[at : at + 2]])
        assert all(line.strip().startswith("fix: ") for line in findings.lines[1::2]), self
        findings._check_words(*patterns)

    def _check_words(self, *patterns: str) -> None:
        text = "\n".join(self.lines)
        assert "Traceback" not in text, text
        for pattern in patterns:
            assert re.search(pattern, text, re.IGNORECASE), f"{pattern!r} is not in: {text}"


@dataclass(frozen=True)
class Command:
    """A command under way."""

    process: BaseProcess
    output: Path

    def kill(self) -> None:
        """Kill it with all that it has started; nothing happens when it has ended."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)

    def wait(self) -> Said:
        """Return what it said, once it has ended; the exit code is negative when it was killed."""
        self.process.join(LONGEST_WAIT)
        assert self.process.exitcode is not None, self.output.read_text()
        lines = [line for line in self.output.read_text().splitlines() if line.strip()]
        return Said(self.process.exitcode, [line for line in lines if not line.startswith("data directory: ")])


@contextmanager
def started(
    site: ServerProcess, *words: str, typed: str = "", powerless: bool = False, now: int | None = None
) -> Iterator[Command]:
    """Start a command on the data of a server; it is dead in the end.

    Args:
        typed: its standard input.
        powerless: take from root what other users do not have: reading and writing what is closed to them.
        now: what its clock says, in milliseconds since the epoch; by default the time.
    """
    with tempfile.NamedTemporaryFile("w+", suffix=".in") as keyboard, tempfile.NamedTemporaryFile("w+") as output:
        keyboard.write(typed)
        keyboard.flush()
        arguments = [*words, "--data-dir", str(site.data)]
        around = _Surroundings(site.directory, site._environ, keyboard.name, output.name, powerless, now)
        process = _LOADED.Process(target=_run, args=(arguments, around))
        process.start()
        command = Command(process, Path(output.name))
        try:
            yield command
        finally:
            command.kill()
            process.join()


def say(site: ServerProcess, *words: str, **around: Any) -> Said:
    """Run a command to its end, and return what it said; `around` is as for `started`."""
    with started(site, *words, **around) as command:
        return command.wait()


def serve(site: ServerProcess, **around: Any) -> Said:
    """Start a server that must not start, and return what it said; `around` is as for `started`."""
    return say(site, "serve", *site.arguments, **around)


@dataclass(frozen=True)
class _Surroundings:
    directory: Path
    environ: Mapping[str, str]
    keyboard: str
    output: str
    powerless: bool
    now: int | None


def _run(arguments: list[str], around: _Surroundings) -> None:
    os.setsid()
    for path, flags, numbers in ((around.keyboard, os.O_RDONLY, (0,)), (around.output, os.O_WRONLY, (1, 2))):
        handle = os.open(path, flags)
        for number in numbers:
            os.dup2(handle, number)
        os.close(handle)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    os.environ.clear()
    os.environ.update(around.environ)
    os.chdir(around.directory)
    sys.argv = ["tokenkeep", *arguments]
    if around.powerless and os.geteuid() == 0 and sys.platform == "linux":
        _drop_capabilities()
    from tokenkeep import assembly
    from tokenkeep.cli import main

    if (now := around.now) is not None:
        assembly.SystemClock.now = lambda _clock: now  # type: ignore[method-assign]
    main()


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")
