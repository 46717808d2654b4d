"""One server on SQLite, then three workers on PostgreSQL and Redis, then two nodes behind PgBouncer, for all races."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx2
import pytest

from tests.pgbouncer import pooled
from tests.system.conftest import SECRET, WORKERS, sharing
from tests.system.races.arena import Arena, operator_settings
from tests.system.server_process import ServerProcess
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings


@dataclass(frozen=True)
class Site:
    """Running servers on one database, and how to open it beside them."""

    servers: list[ServerProcess]
    settings: Settings


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Running servers on each engine in turn."""
    directory = tmp_path_factory.mktemp("races")
    with ExitStack() as stack:
        if engine == "sqlite":
            server = stack.enter_context(ServerProcess(directory))
            server.start()
            yield Site([server], operator_settings(server))
            return
        schema = stack.enter_context(request.getfixturevalue("postgres_server").schema())
        environ = sharing(schema, request.getfixturevalue("redis_server"))
        if engine == "pgbouncer":
            environ["TOKENKEEP_DATABASE_URL"] = stack.enter_context(pooled(schema))
        flags = {"workers": str(WORKERS)} if engine == "fleet" else {}
        servers = [stack.enter_context(ServerProcess(directory, environ=environ, **flags))]
        if engine == "pgbouncer":
            servers.append(stack.enter_context(ServerProcess(directory, environ=environ, issuer=servers[0].url)))
        for server in servers:
            server.start()
        url = Secret(environ["TOKENKEEP_DATABASE_URL"])
        yield Site(servers, operator_settings(servers[0], database_url=url, secret=Secret(SECRET)))


@pytest.fixture
async def arena(site: Site) -> AsyncIterator[Arena]:
    """The servers, and an operator beside them."""
    operator = AuthServer(site.settings)
    await operator.open_for_commands()
    try:
        # A connection for each request, so that those to one port are spread over all who listen there.
        alone = httpx2.Limits(max_keepalive_connections=0)
        async with httpx2.AsyncHTTPTransport(verify=False, limits=alone) as transport:
            arena = Arena(site.servers, operator, transport)
            yield arena
            arena.close()
    finally:
        await operator.close()
