"""Measures how soon another node refuses what was revoked on one: with Redis, and after Redis was stopped.

    python bench/fleet.py [--database-url URL] [--revocations N]

Two nodes, on one PostgreSQL and one Redis, take turns: on one of them a session ends, by logout or from the list of
sessions, and the other is asked again and again with its access token. The time is from the answer to the revocation to
the first refusal. Without Redis, nodes read the list of revocations on schedule. Nothing is held to a core.
"""

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from databases import create, postgres, redis
from load import Connection, percentile
from servers import TokenkeepSession, another_node, tokenkeep

LOOK_EVERY = 0.001
"""Seconds between two looks at a token."""
LONGEST_WAIT = 10.0
"""Seconds after which a token that is still accepted counts as never refused."""
BARS = {"with Redis": 0.1, "after Redis was stopped": 1.2}
"""Seconds in which 99 of 100 must be refused."""


class Visitor:
    """Somebody whose session begins and ends on one node, and whose token is shown to another."""

    def __init__(self, here: int, elsewhere: int) -> None:
        self._session = TokenkeepSession(here)
        self._elsewhere = Connection(elsewhere)

    async def log_in(self) -> None:
        """Begin a session, which both nodes accept."""
        await self._session.log_in()
        assert await self._status_elsewhere() == 200

    async def until_refused(self, *, by_logout: bool) -> float | None:
        """End the session; returns the seconds until the other node refuses its token, or None if it never does."""
        answered_at = await (self._session.log_out() if by_logout else self._session.delete())
        while (status := await self._status_elsewhere()) == 200:
            if time.monotonic() - answered_at > LONGEST_WAIT:
                return None
            await asyncio.sleep(LOOK_EVERY)
        assert status == 401, status
        return time.monotonic() - answered_at

    async def _status_elsewhere(self) -> int:
        shown = [f"Authorization: Bearer {self._session.access_token}"]
        return (await self._elsewhere.request("GET", "/me", headers=shown)).status


async def measure(ports: tuple[int, int], revocations: int) -> list[float | None]:
    """Return the seconds until each token was refused."""
    visitors = [Visitor(*ports), Visitor(*reversed(ports))]
    delays = []
    for number in range(revocations):
        visitor = visitors[number % 2]
        await visitor.log_in()
        delays.append(await visitor.until_refused(by_logout=number // 2 % 2 == 0))
    return delays


def tell(what: str, delays: list[float | None]) -> bool:
    """Print what came of it; returns whether the bar was met."""
    refused = [each for each in delays if each is not None]
    never, p99 = len(delays) - len(refused), percentile(refused, 0.99)
    print(
        f"  {what:<24} p50 {statistics.median(refused) * 1000:>6.1f}   p99 {p99 * 1000:>6.1f}"
        f"   longest {max(refused) * 1000:>6.1f}   never refused: {never}   (p99 below {BARS[what] * 1000:.0f} wanted)",
        flush=True,
    )
    return never == 0 and p99 < BARS[what]


def main() -> int:
    """Read the arguments, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database-url", help="a PostgreSQL where a database may be made; by default one is started")
    parser.add_argument("--revocations", type=int, default=200)
    options = parser.parse_args()
    everywhere = os.sched_getaffinity(0)
    with ExitStack() as running:
        database = running.enter_context(postgres(options.database_url))
        shared = running.enter_context(redis())
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        url, environ = create(database, "bench_fleet"), {"TOKENKEEP_REDIS_URL": shared.url}
        first = running.enter_context(tokenkeep(folder, cores=everywhere, database=url, environ=environ))
        second = running.enter_context(another_node(first, folder, cores=everywhere))
        ports = first.port, second.port
        print(
            "from a revocation answered by one node to the first refusal by another, milliseconds,"
            f" {options.revocations} each"
        )
        met = [tell("with Redis", asyncio.run(measure(ports, options.revocations)))]
        assert shared.pid is not None
        os.kill(shared.pid, signal.SIGKILL)
        met.append(tell("after Redis was stopped", asyncio.run(measure(ports, options.revocations))))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
