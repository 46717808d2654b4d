"""The real server on each engine, ready to be talked to. Each engine has an xdist group: these processes are heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.system.server_process import ServerProcess

SECRET = "canary-of-the-server-secret-5f4e3d2c1b0a"
"""The server secret where none is generated."""

Start = Callable[..., ServerProcess]
"""Starts a server; settings as keywords, in words of the command line."""

SQLITE = [pytest.mark.system, pytest.mark.xdist_group("system")]
POSTGRES = [pytest.mark.system, pytest.mark.postgres, pytest.mark.xdist_group("postgres")]


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
    url, redis = request.getfixturevalue("postgres_schema").url, request.getfixturevalue("redis_server")
    environ = {"TOKENKEEP_DATABASE_URL": url, "TOKENKEEP_SECRET": SECRET}
    shared = {"TOKENKEEP_REDIS_URL": redis.url, "TOKENKEEP_REDIS_PREFIX": redis.new_prefix()}
    with _starting(tmp_path, environ | shared) as start:
        yield start


@pytest.fixture(params=[pytest.param("sqlite", marks=SQLITE), pytest.param("postgres", marks=POSTGRES)])
def start(request: pytest.FixtureRequest) -> Start:
    """Starts servers on one database of each engine in turn."""
    chosen: Start = request.getfixturevalue(f"{request.param}_start")
    return chosen


@pytest.fixture
def server(start: Start) -> ServerProcess:
    """A running server with default settings, on each engine in turn."""
    return start()


@pytest.fixture
def sqlite_server(sqlite_start: Start) -> ServerProcess:
    """A running server with default settings, on SQLite."""
    return sqlite_start()


@contextmanager
def _starting(directory: Path, environ: Mapping[str, str]) -> Iterator[Start]:
    with ExitStack() as servers:

        def start(**settings: str) -> ServerProcess:
            server = servers.enter_context(ServerProcess(directory, environ=environ, **settings))
            server.start()
            return server

        yield start
