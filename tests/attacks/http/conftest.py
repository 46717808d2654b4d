"""Two servers to attack: one inside the test, one as a child process that all tests with sockets share."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

import pytest

from tests.attacks.http.attacker import NAME, PASSWORD, Attacker
from tests.attacks.http.wire import Target
from tests.quick_hashes import quick_hashes
from tests.system.conftest import WORKERS, sharing
from tests.system.server_process import ServerProcess
from tokenkeep.observability import set_up_logging
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

Log = Callable[[], list[dict[str, Any]]]
"""Returns the lines logged so far; each must be one JSON object."""

OpenServer = Callable[..., Any]
"""Opens another server in the test; settings as keywords."""


@pytest.fixture(autouse=True)
def passwords_in_no_time() -> Iterator[None]:
    """Servers in the process of the tests hash passwords in no time; what that costs is tested elsewhere."""
    with quick_hashes():
        yield


@pytest.fixture
async def attacker(server: AuthServer) -> Attacker:
    """Somebody who talks to the server inside the test, where one account exists."""
    await server.accounts.create(NAME, PASSWORD, role="admin", actor="operator")
    return Attacker(server)


@pytest.fixture
async def attack(settings: Settings, clock: Any) -> AsyncIterator[OpenServer]:
    """Opens servers with other settings and returns who talks to them."""
    opened: list[AuthServer] = []

    async def open_server(**changed: Any) -> Attacker:
        server = AuthServer(replace(settings, **{"api_docs": True, "rate_limits": True, **changed}), clock=clock)
        await server.open()
        opened.append(server)
        return Attacker(server)

    yield open_server
    for server in opened:
        await server.close()


@pytest.fixture
def log() -> Log:
    """What the server inside the test logs, everything that can be logged included."""
    stream = io.StringIO()
    set_up_logging(level="debug", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests with sockets attack a fleet too, if one is asked for."""
    for item in items:
        if "target" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.fleet)


def _life(fixture_name: str, config: pytest.Config) -> Literal["package", "module"]:
    """Return how long the target lives: while it is connected to the shared PostgreSQL, no other test can use that."""
    return "module" if config.getoption("--fleet") else "package"


@pytest.fixture(scope=_life)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A real server that logs everything, with one account; tests that use it belong to the xdist group `system`."""
    directory = tmp_path_factory.mktemp("attacked")
    with ExitStack() as stack:
        environ, flags = {}, {"log_level": "debug"}
        if request.config.getoption("--fleet"):
            schema = stack.enter_context(request.getfixturevalue("postgres_server").schema())
            environ, flags = sharing(schema, request.getfixturevalue("redis_server")), flags | {"workers": str(WORKERS)}
        process = stack.enter_context(ServerProcess(directory, environ=environ, **flags))
        process.start()
        process.add_user(NAME, PASSWORD, role="admin")
        yield Target(process)
