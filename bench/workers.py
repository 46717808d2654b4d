"""Measures what requests cost: how many a second of processor time carries, with one worker and with two.

    python bench/workers.py [--database-url URL] [--rounds N]

`GET /me` with an access token, `POST /refresh` and `POST /login`, on PostgreSQL with Redis. Counted is the processor
time of the server's main process and workers, and beside it that of PostgreSQL and of Redis, if they were started here.
Nothing is held to a core, and the client takes its share: the rate is what this machine did, not what the server can.
Linux only.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from databases import Place, create, postgres, redis
from load import run_for
from servers import Server, TokenkeepSession, processor_seconds, tokenkeep

CONNECTIONS = 16
LOGINS_AT_ONCE = 4
WARM_UP_SECONDS = 1.0
ROUND_SECONDS = 3.0


@dataclass(slots=True)
class Measured:
    """What the rounds of one kind of request came to."""

    rates: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    """Processor seconds of the database and Redis for each of the server's."""


async def measure(server: Server, beside: Sequence[Place], rounds: int) -> dict[str, Measured]:
    """Measure both kinds of requests in turn."""
    sessions = [TokenkeepSession(server.port) for _ in range(CONNECTIONS)]
    for session in sessions:
        await session.log_in()
    kinds: dict[str, list[Callable[[], Awaitable[None]]]] = {
        "GET /me": [session.me for session in sessions],
        "POST /refresh": [session.rotate for session in sessions],
        "POST /login": [session.log_in for session in sessions[:LOGINS_AT_ONCE]],
    }
    measured = {kind: Measured() for kind in kinds}
    for steps in kinds.values():
        await run_for(WARM_UP_SECONDS, steps)
    for _ in range(rounds):
        for kind, steps in kinds.items():
            used, used_beside = server.processor_seconds(), seconds_of(beside)
            durations, took = await run_for(ROUND_SECONDS, steps)
            used, used_beside = server.processor_seconds() - used, seconds_of(beside) - used_beside
            measured[kind].rates.append(len(durations) / took)
            measured[kind].per_second.append(len(durations) / used)
            measured[kind].beside.append(used_beside / used)
    for session in sessions:
        await session.connection.close()
    return measured


def seconds_of(places: Sequence[Place]) -> float:
    """Return the processor time of the servers that were started here."""
    return sum(processor_seconds(place.pid) for place in places if place.pid is not None)


def main() -> int:
    """Read the arguments, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database-url", help="a PostgreSQL where databases may be made; by default one is started")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(
        f"requests for each second of processor time of the server's processes, {CONNECTIONS} connections,"
        f" {options.rounds} rounds of {ROUND_SECONDS:.0f} s"
    )
    everywhere = os.sched_getaffinity(0)
    with postgres(options.database_url) as database, redis() as shared:
        for workers in (1, 2):
            environ = {"TOKENKEEP_WORKERS": str(workers), "TOKENKEEP_REDIS_URL": shared.url}
            url = create(database, f"bench_workers_{workers}")
            with (
                tempfile.TemporaryDirectory() as folder,
                tokenkeep(Path(folder), cores=everywhere, database=url, environ=environ) as server,
            ):
                measured = asyncio.run(measure(server, (database, shared), options.rounds))
                _, *resident = server.resident().values()
            for kind, found in measured.items():
                median, beside = statistics.median(found.per_second), statistics.median(found.beside)
                spread = f"{min(found.per_second):.0f} … {max(found.per_second):.0f}"
                print(
                    f"  {workers} worker{'s' if workers > 1 else ' '} {kind:<14} {median:>6.0f}   {spread:>15}"
                    f"   at {statistics.median(found.rates):>5.0f}/s;"
                    f" PostgreSQL and Redis used {beside:.2f} s beside each"
                )
            print(f"  resident memory of each worker: {', '.join(f'{each:.0f}' for each in resident)} MiB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
