"""Measures how soon services refuse what was revoked: from the answered revocation to the first refusal in each.

    python bench/revocation.py [--services N] [--revocations N]

Each service is a process of its own that follows the server's feed and looks at one token again and again, without the
network. Half of the revocations are logouts, half end a session from the list of sessions. Linux only: all processes
share one monotonic clock. Nothing is held to a core: on a machine with few, the services themselves are the load.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from load import percentile
from servers import TokenkeepSession, tokenkeep

from tokenkeep.verifier import InvalidToken, RevocationFeed, TokenVerifier

FEED_TOKEN = "token-of-the-feed-that-is-measured-3f9a0c77"
MAX_STALENESS = timedelta(seconds=60)
LOOK_EVERY = 0.001
"""Seconds between two looks at a token."""
LONGEST_WAIT = 10.0
"""Seconds after which a token that is still accepted counts as never refused."""


def serve(issuer: str, orders: Pipe) -> None:
    """Be a service: for each token that is named, say that it is accepted, and then when it was first refused."""
    feed = RevocationFeed(max_staleness=MAX_STALENESS, token=FEED_TOKEN)
    with TokenVerifier(issuer=issuer, audience=issuer, algorithms=["ES256"], revocations=feed) as verifier:
        while token := orders.recv():
            verifier.verify(token)
            orders.send("accepted")
            deadline = time.monotonic() + LONGEST_WAIT
            refused_at = None
            while refused_at is None and time.monotonic() < deadline:
                try:
                    verifier.verify(token)
                except InvalidToken:
                    refused_at = time.monotonic()
                else:
                    time.sleep(LOOK_EVERY)
            orders.send(refused_at)


async def measure(port: int, services: list[Pipe], revocations: int) -> tuple[list[float], int]:
    """Return the seconds until each service refused each token, and how often one never did."""
    delays: list[float] = []
    never = 0
    session = TokenkeepSession(port)
    for number in range(revocations):
        await session.log_in()
        for service in services:
            service.send(session.access_token)
        for service in services:
            assert await asyncio.to_thread(service.recv) == "accepted"
        answered_at = await (session.log_out() if number % 2 else session.delete())
        for service in services:
            refused_at = await asyncio.to_thread(service.recv)
            if refused_at is None:
                never += 1
            else:
                # A service may hear of it before the answer has come back to whoever asked.
                delays.append(max(0.0, refused_at - answered_at))
    return delays, never


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=10)
    parser.add_argument("--revocations", type=int, default=200)
    chosen = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    everywhere, feed = os.sched_getaffinity(0), {"TOKENKEEP_FEED_TOKEN": FEED_TOKEN}
    with tempfile.TemporaryDirectory() as folder, tokenkeep(Path(folder), cores=everywhere, environ=feed) as server:
        processes, pipes = [], []
        for _ in range(chosen.services):
            here, there = spawn.Pipe()
            process = spawn.Process(target=serve, args=(f"http://127.0.0.1:{server.port}", there), daemon=True)
            process.start()
            processes.append(process)
            pipes.append(here)
        delays, never = asyncio.run(measure(server.port, pipes, chosen.revocations))
        for pipe in pipes:
            pipe.send(None)
        for process in processes:
            process.join(LONGEST_WAIT)
    told = sorted(each * 1000 for each in delays)
    print(f"{chosen.revocations} revocations, {chosen.services} services, a look every {LOOK_EVERY * 1000:.0f} ms")
    print("from the answered revocation to the first refusal, milliseconds")
    print(
        f"  p50 {statistics.median(told):.1f}   p99 {percentile(told, 0.99):.1f}   longest {told[-1]:.1f}"
        f"   never refused: {never}"
    )
    if never:
        sys.exit(1)


if __name__ == "__main__":
    main()
