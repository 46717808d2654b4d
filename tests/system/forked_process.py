"""Processes of `tokenkeep` that are copies of one which has loaded its libraries: they start in a tenth of the time.

That one is the fork server of `multiprocessing`. What runs in a copy is the command itself, from its first line, with
an environment, a directory and standard files of its own.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOADED: Final = multiprocessing.get_context("forkserver")
"""Makes processes that have loaded the libraries."""
LOADED.set_forkserver_preload(["tokenkeep.cli.main"])
IMPATIENCE: Final = {"STATEMENT_TIMEOUT": 3.0, "CONNECT_TIMEOUT": 2.0, "CLOSE_TIMEOUT": 1.0, "BUSY_TIMEOUT": 2.0}
"""Seconds, shorter than usual, for which a database is waited for by those who have little patience."""
_CAPABILITY_VERSION: Final = 0x20080522


@dataclass(frozen=True)
class Surroundings:
    """Where a command runs.

    Attributes:
        keyboard: the file that is its standard input.
        output: the file to which its standard output is added.
        errors: the file to which its standard error is added; by default the same.
        powerless: take from root what other users do not have: reading and writing what is closed to them.
        now: what its clock says, in milliseconds since the epoch; by default the time.
        impatient: whether it waits for a database as `IMPATIENCE` says, and not as long as usual.
    """

    directory: Path
    environ: Mapping[str, str]
    output: str
    keyboard: str = os.devnull
    errors: str | None = None
    powerless: bool = False
    now: int | None = None
    impatient: bool = False


class ForkedProcess:
    """A running command, in a session of its own, with as much of the face of `subprocess.Popen` as is needed."""

    def __init__(self, words: Sequence[str], around: Surroundings) -> None:
        """Start `tokenkeep` with these words."""
        self._process = LOADED.Process(target=_run, args=(list(words), around))
        self._process.start()

    @property
    def pid(self) -> int:
        """The id of the process and of its group."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative after a signal, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code when it has ended."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("tokenkeep", timeout or 0)
        return self._process.exitcode


def run_forked(words: Sequence[str], around: Surroundings, *, within: float) -> int:
    """Run `tokenkeep` with these words, and return its exit code; it has so many seconds, and then is killed.

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    process = ForkedProcess(words, around)
    try:
        return process.wait(within)
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _run(words: list[str], around: Surroundings) -> None:
    os.setsid()
    output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = ((around.keyboard, os.O_RDONLY), (around.output, output), (around.errors or around.output, output))
    for number, (path, flags) in enumerate(files):
        handle = os.open(path, flags, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    os.environ.clear()
    os.environ.update(around.environ)
    os.chdir(around.directory)
    sys.argv = ["tokenkeep", *words]
    # The server starts its workers as it would have otherwise, and not as this process was started.
    multiprocessing.set_start_method(None, force=True)
    if around.powerless and os.geteuid() == 0 and sys.platform == "linux":
        _drop_capabilities()
    from tokenkeep import assembly
    from tokenkeep.cli import main

    if around.impatient:
        # Its workers are to know it too.
        multiprocessing.set_start_method("fork", force=True)
        _lose_patience()
    if (now := around.now) is not None:
        assembly.SystemClock.now = lambda _clock: now  # type: ignore[method-assign]
    main()


def _lose_patience() -> None:
    from tokenkeep.storage.sql import postgres, sqlite, sqlite_thread

    for module in (postgres, sqlite, sqlite_thread):
        for name, seconds in IMPATIENCE.items():
            if hasattr(module, name):
                setattr(module, name, seconds)


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")
