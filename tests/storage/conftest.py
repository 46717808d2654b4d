"""The engines as fixtures: a test that takes one of them runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.pgbouncer import pooled
from tests.settable_clock import SettableClock
from tests.storage.contracts import Engine, PgbouncerEngine, PostgresEngine, Processes, SqliteEngine
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.stores import SqlStorage

ON_POSTGRES = [pytest.mark.postgres, pytest.mark.xdist_group("postgres")]


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=ON_POSTGRES), pytest.param("pgbouncer", marks=ON_POSTGRES)]
)
def engine(request: pytest.FixtureRequest, tmp_path: Path, clock: SettableClock) -> Iterator[Engine]:
    """Each engine in turn, with an empty database."""
    if request.param == "sqlite":
        yield SqliteEngine(tmp_path, clock)
        return
    schema = request.getfixturevalue("postgres_schema")
    if request.param == "postgres":
        yield PostgresEngine(schema)
        return
    with pooled(schema) as url:
        yield PgbouncerEngine(schema, url)


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
