"""The engines as fixtures: a test that takes one of them runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.settable_clock import SettableClock
from tests.storage.contracts import Engine, PostgresEngine, Processes, SqliteEngine
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.stores import SqlStorage


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.xdist_group("postgres")])]
)
def engine(request: pytest.FixtureRequest, tmp_path: Path, clock: SettableClock) -> Engine:
    """Each engine in turn, with an empty database."""
    if request.param == "sqlite":
        return SqliteEngine(tmp_path, clock)
    return PostgresEngine(request.getfixturevalue("postgres_schema"))


@pytest.fixture
async def processes(engine: Engine) -> AsyncIterator[Processes]:
    """Opens as many handles on the engine's database as the test has processes."""
    opened = Processes(engine)
    yield opened
    await opened.close()


@pytest.fixture
async def database(processes: Processes) -> Database:
    """An open database, empty."""
    return await processes.database()


@pytest.fixture
async def storage(processes: Processes) -> SqlStorage:
    """Open storage with the schema of this version, and nothing in it."""
    return await processes.storage()
