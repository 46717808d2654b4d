"""The real server on each engine, ready to be talked to. Each engine has an xdist group: these processes are heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.postgres_server import PostgresSchema
from tests.redis_server import RedisServer
from tests.system.server_process import ServerProcess

SECRET = "canary-of-the-server-secret-5f4e3d2c1b0a"
"""The server secret where none is generated."""

Start = Callable[..., ServerProcess]
"""Starts a server; settings as keywords, in words of the command line; `added` to its environment."""

SQLITE = [pytest.mark.system, pytest.mark.xdist_group("system")]
POSTGRES = [pytest.mark.system, pytest.mark.postgres, pytest.mark.xdist_group("postgres")]
FLEET = [*POSTGRES, pytest.mark.fleet]
MARKS = {"sqlite": SQLITE, "postgres": POSTGRES, "fleet": FLEET, "pgbouncer": POSTGRES}
WORKERS = 3
"""Server processes behind the one port of a fleet."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of the real server on each engine that it is for, or on the one that was asked for."""
    if "engine" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("engines")
    engines = marker.args if marker else ("sqlite", "postgres")
    pinned = marker is not None and marker.kwargs.get("pinned")
    if metafunc.config.getoption("--fleet") and not pinned:
        engines = ("fleet",)
    metafunc.parametrize("engine", [pytest.param(each, marks=MARKS[each]) for each in engines], scope="module")


def on_sqlite(test: Callable[..., object]) -> Callable[..., object]:
    """Mark a test that runs the server on SQLite only."""
    for mark in SQLITE:
        test = mark(test)
    return test


def on_postgres(test: Callable[..., object]) -> Callable[..., object]:
    """Mark a test that runs the server on PostgreSQL only."""
    for mark in POSTGRES:
        test = mark(test)
    return test


@pytest.fixture
def sqlite_start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers on SQLite; all are killed in the end."""
    with _starting(tmp_path, {}) as start:
        yield start


@pytest.fixture
def postgres_start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts servers on one PostgreSQL database; all are killed in the end."""
    url = request.getfixturevalue("postgres_schema").url
    with _starting(tmp_path, {"TOKENKEEP_DATABASE_URL": url, "TOKENKEEP_SECRET": SECRET}) as start:
        yield start


@pytest.fixture
def shared_start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts servers on one PostgreSQL database and one Redis; all are killed in the end."""
    schema, redis = request.getfixturevalue("postgres_schema"), request.getfixturevalue("redis_server")
    with _starting(tmp_path, sharing(schema, redis)) as start:
        yield start


@pytest.fixture
def fleet_start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts servers with several workers each, on one PostgreSQL database and one Redis; all are killed in the end."""
    schema, redis = request.getfixturevalue("postgres_schema"), request.getfixturevalue("redis_server")
    with _starting(tmp_path, sharing(schema, redis), workers=str(WORKERS)) as start:
        yield start


@pytest.fixture
def start(request: pytest.FixtureRequest, engine: str) -> Start:
    """Starts servers on one database of each engine in turn."""
    chosen: Start = request.getfixturevalue(f"{engine}_start")
    return chosen


@pytest.fixture
def server(start: Start) -> ServerProcess:
    """A running server with default settings, on each engine in turn."""
    return start()


@pytest.fixture
def sqlite_server(sqlite_start: Start) -> ServerProcess:
    """A running server with default settings, on SQLite."""
    return sqlite_start()


def sharing(schema: PostgresSchema, redis: RedisServer) -> dict[str, str]:
    """Return the environment of servers that share a database and a Redis, where they have a place of their own."""
    return {
        "TOKENKEEP_DATABASE_URL": schema.url,
        "TOKENKEEP_REDIS_URL": redis.url,
        "TOKENKEEP_REDIS_PREFIX": redis.new_prefix(),
        "TOKENKEEP_SECRET": SECRET,
    }


@contextmanager
def _starting(directory: Path, environ: Mapping[str, str], **usual: str) -> Iterator[Start]:
    with ExitStack() as servers:

        def start(*, added: Mapping[str, str] | None = None, **settings: str) -> ServerProcess:
            both = {**environ, **(added or {})}
            server = servers.enter_context(ServerProcess(directory, environ=both, **(usual | settings)))
            server.start()
            return server

        yield start
