"""What tests of every folder share: a clock to set, an opened server, a real PostgreSQL and a real Redis."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import hypothesis
import pytest

from tests.postgres_front import PostgresFront, fronted
from tests.postgres_server import PostgresSchema, PostgresServer
from tests.redis_server import PROGRAMS, RedisServer
from tests.settable_clock import SettableClock
from tokenkeep import assembly, policies
from tokenkeep.api.openapi import described
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage import redis as redis_link

# Settings files that others may write are refused: what tests write must not depend on the mask of whoever runs them.
os.umask(0o022)

# No deadline: the first example of a property pays for imports, and machines differ. `--hypothesis-profile` chooses.
hypothesis.settings.register_profile("usual", deadline=None, print_blob=True)
hypothesis.settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=5_000)
hypothesis.settings.load_profile("usual")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the engine of real servers be chosen."""
    parser.addoption(
        "--fleet",
        action="store_true",
        help="of the tests of real servers, those that can, and no others: three workers on PostgreSQL and Redis",
    )
    parser.addoption("--drills", action="store_true", help="the fault drills too, each of which takes a minute or so")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group tests of real servers and databases by module: within one they share processes, between them nothing.

    Each process of the tests starts a PostgreSQL and a Redis of its own when a test first needs one. Where a fleet
    was asked for, all other tests are left out; drills are run where they are asked for.
    """
    if not config.getoption("--drills"):
        _keep(config, items, [item for item in items if not item.get_closest_marker("drill")])
    if config.getoption("--fleet"):
        _keep(config, items, [item for item in items if item.get_closest_marker("fleet")])
    shared = {("system",), ("postgres",), ("redis",)}
    for item in items:
        if any(mark.args in shared for mark in item.iter_markers("xdist_group")):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _keep(config: pytest.Config, items: list[pytest.Item], chosen: list[pytest.Item]) -> None:
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Puts the root logger back: a command run in this process points it at a stream that ends with its test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def described_once() -> Iterator[None]:
    """Describes the same routes once: thousands of servers are opened, and nearly all have one OpenAPI document."""
    rows = functools.cache(lambda endpoints, about: tuple(described(endpoints, about)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policies, "described", lambda endpoints, about: list(rows(tuple(endpoints), about)))
        yield


@pytest.fixture
def clock() -> SettableClock:
    """A clock that stands still until the test moves it."""
    return SettableClock()


@pytest.fixture
def keys_read_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has servers that are opened in the test look at their signing keys when they are told to, not by themselves."""
    monkeypatch.setattr(assembly, "KEY_POLLS", 1e-6)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a server on SQLite in a directory of its own."""
    return Settings(issuer="http://127.0.0.1:8000", data_dir=tmp_path / "data", hash_concurrency=1, rate_limits=False)


@pytest.fixture
async def server(settings: Settings, clock: SettableClock) -> AsyncIterator[AuthServer]:
    """An open server with these settings and this clock."""
    async with AuthServer(settings, clock=clock) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL. Tests that use it belong to the xdist group `postgres`, so that only one is started."""
    server = PostgresServer(os.environ.get("TOKENKEEP_TEST_DATABASE_URL"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A real Redis that tests share; each takes a prefix of its own. They belong to the xdist group `redis`."""
    with RedisServer.shared() as server:
        yield server


@pytest.fixture(scope="session", params=PROGRAMS)
def each_redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A real Redis and a real Valkey in turn, that tests share in the same way."""
    with RedisServer.shared(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A real Redis of the module's own, which its tests may stop."""
    with RedisServer.running() as server:
        yield server


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives a Redis that is well the time to answer that it needs on a loaded machine."""
    monkeypatch.setattr(redis_link, "ANSWER_TIMEOUT", 10.0)
    monkeypatch.setattr(redis_link, "ASKING_TIMEOUT", 10.0)


@pytest.fixture
def postgres_settings(postgres_schema: PostgresSchema, tmp_path: Path) -> Settings:
    """Settings of a server on PostgreSQL, with a schema and a directory of its own."""
    return Settings(
        data_dir=tmp_path / "data",
        database_url=Secret(postgres_schema.url),
        secret=Secret("a-server-secret-for-tests-1f2e3d4c5b"),
        hash_concurrency=1,
        rate_limits=False,
    )


@pytest.fixture
def postgres_socket(postgres_server: PostgresServer) -> str:
    """The directory of the unix socket of the real PostgreSQL."""
    named = parse_qs(urlsplit(postgres_server.url).query).get("host")
    if named is None:
        pytest.skip("the server is reached over TCP")
    return named[0]


@pytest.fixture
def postgres_front(postgres_socket: str) -> Iterator[PostgresFront]:
    """A way to the real PostgreSQL over TCP, which counts, and can be made silent."""
    with fronted(postgres_socket) as opened:
        yield opened


@pytest.fixture
def postgres_schema(postgres_server: PostgresServer) -> Iterator[PostgresSchema]:
    """An empty schema of its own for a test, which must have closed its connections in the end."""
    with postgres_server.schema() as schema:
        yield schema
