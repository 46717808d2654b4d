"""What a server has stored, read beside it with the same SQL on each engine."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg

from tests.system.server_process import LONGEST_WAIT, ServerProcess

Row = dict[str, Any]
Ask = Callable[[str], list[Row]]
"""Runs a query without values on a database, and returns its rows."""


def stored_by(server: ServerProcess) -> Ask:
    """Return what asks the database of a server, which may be running."""
    if server.database_url is None:
        return asking_file(server.data)
    return asking(server.database_url)


def asking_file(data: Path) -> Ask:
    """Return what asks the SQLite database in a data directory."""
    return lambda sql: _ask_file(data / "tokenkeep.db", sql)


def asking(url: str) -> Ask:
    """Return what asks a PostgreSQL, over a connection of its own for each question."""
    return lambda sql: asyncio.run(_ask_postgres(url, sql))


def _ask_file(path: Path, sql: str) -> list[Row]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


async def _ask_postgres(url: str, sql: str) -> list[Row]:
    connection = await asyncpg.connect(url, timeout=LONGEST_WAIT, command_timeout=LONGEST_WAIT)
    try:
        return [dict(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()
