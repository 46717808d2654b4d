"""Measures where the time of a refresh on PostgreSQL goes: the flow, the driver, the database, its commit.

    python bench/postgres.py [--database-url URL] [--refreshes N]

One refresh after the other, in one process, without HTTP. The flow and the driver are processor time, the driver's that
of the same two statements when nothing but asyncpg sends them; the database is what those take besides when the commit
need not be durable, and its commit the rest.
"""

import argparse
import asyncio
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import asyncpg
from databases import create, postgres

from tokenkeep.domain.sessions import Client, Delivery
from tokenkeep.flows.login import Credentials
from tokenkeep.flows.ports import Storage
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.sql.postgres import CONNECT_TIMEOUT
from tokenkeep.storage.sql.postgres_transaction import PostgresTransaction

NAME, PASSWORD = "Ada", "wombat-lantern-quarry-71"
CLIENT = Client("bench", "127.0.0.1")
WARM_UP = 20

Step = Callable[[], Awaitable[None]]
Statement = tuple[str, list[Any]]


class Refreshing:
    """A session that is refreshed again and again."""

    def __init__(self, server: AuthServer) -> None:
        self._services = server.graph.services
        self._token = ""

    @classmethod
    async def begun(cls, server: AuthServer) -> Self:
        """Log in, and return the session."""
        session = cls(server)
        pair = await session._services.login.login(
            Credentials(NAME, PASSWORD), CLIENT, delivery=Delivery.COOKIE, audience=None, replaces=None
        )
        session._token = pair.refresh_token
        return session

    async def refresh(self) -> None:
        """Refresh it once."""
        pair = await self._services.refresh.refresh(self._token, CLIENT, delivery=Delivery.COOKIE)
        self._token = pair.refresh_token


async def measure(url: str, refreshes: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=Path(folder) / "data",
            database_url=Secret(url),
            secret=Secret(secrets.token_urlsafe(32)),
            rate_limits=False,
        )
        async with AuthServer(settings) as server, AsyncExitStack() as stack:
            await server.accounts.create(NAME, PASSWORD, role="user", actor="operator")
            sessions = [await Refreshing.begun(server) for _ in range(4)]
            steps = {
                "whole": sessions[0].refresh,
                "in full": in_one_transaction(server.graph.storage, sessions[1]),
                "durable": await driven(url, await overhear(server, sessions[2]), stack, commit="on"),
                "hasty": await driven(url, await overhear(server, sessions[3]), stack, commit="off"),
            }
            took, busy = await take_turns(steps, refreshes)
    flow, driver, database = busy["whole"] - busy["durable"], busy["durable"], took["hasty"] - busy["hasty"]
    print(f"a refresh on PostgreSQL, microseconds, median of {refreshes}")
    for what, seconds in (
        ("whole", took["whole"]),
        ("  the flow and the stores", flow),
        ("  the driver", driver),
        ("  the database and the way there", database),
        ("  its commit, made durable", took["whole"] - flow - driver - database),
        ("in BEGIN and COMMIT, one text each", took["in full"]),
    ):
        print(f"  {what:<36} {seconds * 1e6:>7.0f}   {seconds / took['whole']:>5.0%}")


async def take_turns(steps: Mapping[str, Step], times: int) -> tuple[dict[str, float], dict[str, float]]:
    """Take each step some times, in turn; returns the medians of the seconds, and of the processor's."""
    took: dict[str, list[float]] = {name: [] for name in steps}
    busy: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(WARM_UP + times):
        for name, step in steps.items():
            begun, begun_busy = time.perf_counter(), time.process_time()
            await step()
            if number >= WARM_UP:
                busy[name].append(time.process_time() - begun_busy)
                took[name].append(time.perf_counter() - begun)
    return (
        {name: statistics.median(values) for name, values in took.items()},
        {name: statistics.median(values) for name, values in busy.items()},
    )


def in_one_transaction(storage: Storage, session: Refreshing) -> Step:
    """Return a refresh whose statements are those that SQLite is given too, between BEGIN and COMMIT."""

    async def refresh() -> None:
        original = storage.change_once
        storage.change_once = storage.transact  # type: ignore[method-assign]
        PostgresTransaction.nests_changes = False
        try:
            await session.refresh()
        finally:
            storage.change_once = original  # type: ignore[method-assign]
            PostgresTransaction.nests_changes = True

    return refresh


async def overhear(server: AuthServer, session: Refreshing) -> list[Statement]:
    """Return the two statements of a session's last refresh."""
    heard: list[Statement] = []
    lending = server.graph.storage._database._lending  # type: ignore[attr-defined]
    async with lending.lent(CONNECT_TIMEOUT) as connection:
        logger = heard.append
        connection.add_query_logger(lambda query: logger((query.query, list(query.args))))
    while not [sql for sql, _ in heard if "UPDATE sessions" in sql]:
        heard.clear()
        await session.refresh()
        await asyncio.sleep(0)  # the driver tells of a statement in the loop's next round
    logger = [].append
    return [next(each for each in heard if words in each[0]) for words in ("AS dated", "UPDATE sessions")]


async def driven(url: str, statements: Sequence[Statement], stack: AsyncExitStack, *, commit: str) -> Step:
    """Return a refresh's statements, sent by nothing but the driver."""
    (look, looked), (change, changed) = statements
    connection = await asyncpg.connect(url, server_settings={"synchronous_commit": commit})
    stack.push_async_callback(connection.close)
    generation = changed[2]

    async def step() -> None:
        nonlocal generation
        await connection.fetchrow(look, *looked)
        # The generation that is found, the one that follows, and an event that is not stored yet.
        values = [changed[0], generation, generation + 1, *changed[3:10], secrets.token_hex(12), *changed[11:]]
        assert await connection.execute(change, *values) == "INSERT 0 1"
        generation += 1

    return step


def main() -> int:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database-url", help="a PostgreSQL where a database may be made; by default one is started")
    parser.add_argument("--refreshes", type=int, default=2_000)
    options = parser.parse_args()
    with postgres(options.database_url) as place:
        asyncio.run(measure(create(place, "bench_refresh"), options.refreshes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
