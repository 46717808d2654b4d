"""One server on SQLite, then two on one PostgreSQL and Redis, then two behind PgBouncer, for all races."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx2
import pytest

from tests.pgbouncer import pooled
from tests.system.conftest import POSTGRES, SECRET, SQLITE
from tests.system.races.arena import Arena, operator_settings
from tests.system.server_process import ServerProcess
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings


@dataclass(frozen=True)
class Site:
    """Running servers on one database, and how to open it beside them."""

    servers: list[ServerProcess]
    settings: Settings


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("sqlite", marks=SQLITE),
        pytest.param("postgres", marks=POSTGRES),
        pytest.param("pgbouncer", marks=POSTGRES),
    ],
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Running servers on each engine in turn."""
    directory = tmp_path_factory.mktemp("races")
    with ExitStack() as stack:
        if request.param == "sqlite":
            server = stack.enter_context(ServerProcess(directory))
            server.start()
            yield Site([server], operator_settings(server))
            return
        schema = request.getfixturevalue("postgres_server").add_schema()
        stack.callback(lambda: asyncio.run(schema.drop()))
        stack.callback(lambda: asyncio.run(schema.wait_until_left()))
        url = stack.enter_context(pooled(schema)) if request.param == "pgbouncer" else schema.url
        redis = request.getfixturevalue("redis_server")
        environ = {
            "TOKENKEEP_DATABASE_URL": stack.enter_context(pooled(schema))
            if request.param == "pgbouncer"
            else schema.url,
            "TOKENKEEP_REDIS_URL": redis.url,
            "TOKENKEEP_REDIS_PREFIX": redis.new_prefix(),
            "TOKENKEEP_SECRET": SECRET,
        }
        first = stack.enter_context(ServerProcess(directory, environ=environ))
        first.start()
        second = stack.enter_context(ServerProcess(directory, environ=environ, issuer=first.url))
        second.start()
        yield Site([first, second], operator_settings(first, database_url=Secret(url), secret=Secret(SECRET)))


@pytest.fixture
async def arena(site: Site) -> AsyncIterator[Arena]:
    """The servers, and an operator beside them."""
    operator = AuthServer(site.settings)
    await operator.open_for_commands()
    try:
        async with httpx2.AsyncHTTPTransport(verify=False) as transport:
            yield Arena(site.servers, operator, transport)
    finally:
        await operator.close()
