"""Disks that fill up: a small one of its own, and the limit that a process may be given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.system.server_process import ServerProcess

SIZE: Final = "1m"
_BLOCK: Final = b"\0" * 4096


class SmallDisk:
    """A disk of one megabyte."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no room on it."""
        handle = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(handle, _BLOCK)
        except OSError:
            pass
        finally:
            os.close(handle)

    def make_room(self) -> None:
        """Take away what filled it."""
        self._ballast.unlink()


@contextmanager
def small_disk(path: Path) -> Iterator[SmallDisk]:
    """Mount a small disk at `path`; the test is skipped where that is not allowed."""
    path.mkdir(mode=0o700)
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(path)]
    if sys.platform != "linux" or os.geteuid() != 0 or _fails(mounting):
        pytest.skip("a disk can be mounted by root on Linux only")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def no_file_grows(server: ServerProcess) -> Iterator[None]:
    """Let the workers of a server make no file larger than its log is now; skipped where that cannot be done."""
    if sys.platform != "linux":
        pytest.skip("the limits of a running process can be changed on Linux only")
    import resource

    limit = (server.data / "tokenkeep.db-wal").stat().st_size
    workers = server.children()
    before = [resource.prlimit(worker.pid, resource.RLIMIT_FSIZE) for worker in workers]
    for worker, (_, hard) in zip(workers, before, strict=True):
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (limit, hard))
    yield
    for worker, limits in zip(workers, before, strict=True):
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, limits)


def _fails(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode != 0
