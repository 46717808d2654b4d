"""Measures sessions over HTTP: rotations against a peer, token checks during a login storm, memory, and growth.

    python bench/sessions.py rotations --peer-python PYTHON     durable rotations per second, side by side on SQLite;
                              [--postgres | --database-url URL] on PostgreSQL: one that is started, or one that runs
    python bench/sessions.py storm                              p99 of GET /me with 32 logins in flight
    python bench/sessions.py memory [--logins N]                resident memory after many logins
    python bench/sessions.py growth [--most N]                  cost of a rotation from a thousand sessions to a million

Linux only. Every server is held to one core, the client to another; contenders take turns in every round. The peer's
interpreter needs what requirements/bench.txt names.
"""

import argparse
import asyncio
import os
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from databases import create, postgres
from load import percentile, run_for
from servers import CLIENT_CORE, SERVER_CORE, Server, SimplejwtSession, TokenkeepSession, simplejwt, tokenkeep

CONNECTIONS = 8
ROUND_SECONDS = 3.0
SESSION_SIZES = (1_000, 10_000, 100_000, 1_000_000)

Session = TokenkeepSession | SimplejwtSession


async def rotations(folder: Path, peer: Path, rounds: int, databases: Sequence[str | None]) -> None:
    """Compare durable rotations per second; `databases` are those of Tokenkeep and of the peer."""
    core = {SERVER_CORE}
    with (
        tokenkeep(folder, cores=core, database=databases[0]) as ours,
        simplejwt(folder, peer, cores=core, database=databases[1]) as theirs,
    ):
        contenders: dict[str, list[Session]] = {
            "tokenkeep": [TokenkeepSession(ours.port) for _ in range(CONNECTIONS)],
            "simplejwt": [SimplejwtSession(theirs.port) for _ in range(CONNECTIONS)],
        }
        servers = {"tokenkeep": ours, "simplejwt": theirs}
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        costs: dict[str, list[float]] = {name: [] for name in contenders}
        for sessions in contenders.values():
            await log_in(sessions)
            await rotation_rate(sessions)
        for number in range(rounds):
            order = list(contenders) if number % 2 else list(reversed(contenders))
            for name in order:
                used = servers[name].processor_seconds()
                durations, took = await run_for(ROUND_SECONDS, [session.rotate for session in contenders[name]])
                rates[name].append(len(durations) / took)
                costs[name].append(len(durations) / (servers[name].processor_seconds() - used))
    theirs_median, theirs_cost = (statistics.median(each["simplejwt"]) for each in (rates, costs))
    place = "SQLite" if databases[0] is None else "PostgreSQL (which has all cores)"
    print(f"durable rotations per second on one core and {place}, {CONNECTIONS} connections")
    print(f"  {rounds} rounds of {ROUND_SECONDS:.0f} s")
    for name, values in rates.items():
        median = statistics.median(values)
        spread = f"{min(values):.0f} … {max(values):.0f}"
        print(f"  {name:<12} {median:>7.0f}/s   {spread:>15}   {median / theirs_median:>5.1f}× simplejwt")
    print("the same for each second of processor time that the server's processes used")
    for name, values in costs.items():
        median = statistics.median(values)
        spread = f"{min(values):.0f} … {max(values):.0f}"
        print(f"  {name:<12} {median:>7.0f}     {spread:>15}   {median / theirs_cost:>5.1f}× simplejwt")


async def storm(folder: Path, rounds: int) -> None:
    """Measure token checks while logins fill the hashing pool."""
    with tokenkeep(folder, cores={SERVER_CORE}) as server:
        visitors = [TokenkeepSession(server.port) for _ in range(4)]
        await log_in(visitors)
        quiet, _ = await run_for(ROUND_SECONDS, [visitor.me for visitor in visitors])
        print("GET /me on one core, 4 connections, milliseconds (median, p99, longest)")
        print(f"  no logins in flight    {told(quiet)}")
        for _ in range(rounds):
            stop = asyncio.Event()
            logins = [asyncio.create_task(keep_logging_in(server, stop)) for _ in range(32)]
            during, _ = await run_for(ROUND_SECONDS, [visitor.me for visitor in visitors])
            stop.set()
            answered = [sum(counts) for counts in zip(*await asyncio.gather(*logins), strict=True)]
            print(f"  32 logins in flight    {told(during)}   logins: {answered[0]} done, {answered[1]} told to wait")


async def keep_logging_in(server: Server, stop: asyncio.Event) -> tuple[int, int]:
    """Log in again and again; returns how many succeeded, and how many were answered 503."""
    session = TokenkeepSession(server.port)
    done = refused = 0
    while not stop.is_set():
        if await session.try_to_log_in():
            done += 1
        else:
            refused += 1
            await asyncio.sleep(0.02)
    await session.connection.close()
    return done, refused


async def memory(folder: Path, logins: int) -> None:
    """Measure the resident memory of the worker after many logins."""
    everywhere = set(os.sched_getaffinity(0))
    with tokenkeep(folder, cores=everywhere) as server:
        sessions = [TokenkeepSession(server.port) for _ in range(4)]
        await log_in(sessions)
        print(f"after {len(sessions)} logins: {memory_told(server)}", flush=True)
        done = len(sessions)
        while done < logins:
            await asyncio.gather(*(repeat_login(session, 250) for session in sessions))
            done += 250 * len(sessions)
            print(f"after {done} logins: {memory_told(server)}", flush=True)


async def repeat_login(session: TokenkeepSession, times: int) -> None:
    """Log in some times, one after the other."""
    for _ in range(times):
        await session.log_in()


async def growth(folder: Path, most: int, rounds: int) -> None:
    """Measure rotations with more and more sessions in the database."""
    with tokenkeep(folder, cores={SERVER_CORE}) as server:
        sessions = [TokenkeepSession(server.port) for _ in range(CONNECTIONS)]
        await log_in(sessions)
        await rotation_rate(sessions)
        print(f"rotations per second on one core, {rounds} rounds of {ROUND_SECONDS:.0f} s (median, least … most)")
        for size in (size for size in SESSION_SIZES if size <= most):
            fill(server.data / "tokenkeep.db", size)
            await rotation_rate(sessions)  # the pages that are touched come into the cache
            values = [await rotation_rate(sessions) for _ in range(rounds)]
            print(
                f"  {size:>9} sessions   {statistics.median(values):>6.0f}/s   {min(values):.0f} … {max(values):.0f}",
                flush=True,
            )


def fill(database: Path, size: int) -> None:
    """Bring the sessions in a database to a number, as copies of one that differ in id, secret and instants."""
    connection = sqlite3.connect(database, timeout=30)
    connection.row_factory = sqlite3.Row
    pattern = dict(connection.execute("SELECT * FROM sessions ORDER BY created_at LIMIT 1").fetchone())
    (present,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
    columns = list(pattern)
    statement = f"INSERT INTO sessions ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    for start in range(present, size, 10_000):
        rows = []
        for number in range(start, min(start + 10_000, size)):
            changed = {"id": os.urandom(16).hex()[:22], "secret": os.urandom(32)}
            changed["last_used_at"] = pattern["last_used_at"] - number
            rows.append([(pattern | changed)[column] for column in columns])
        with connection:
            connection.executemany(statement, rows)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def log_in(sessions: Sequence[Session]) -> None:
    """Log in with every session, one after the other."""
    for session in sessions:
        await session.log_in()


async def rotation_rate(sessions: Sequence[Session]) -> float:
    """Return how many rotations a second all sessions together come to."""
    durations, took = await run_for(ROUND_SECONDS, [session.rotate for session in sessions])
    return len(durations) / took


def told(durations: Sequence[float]) -> str:
    """Return median, p99 and the longest in milliseconds, and the rate."""
    numbers = (statistics.median(durations), percentile(durations, 0.99), max(durations))
    return "  ".join(f"{number * 1000:>7.2f}" for number in numbers) + f"   {len(durations)} requests"


def memory_told(server: Server) -> str:
    """Return the resident memory of the main process and of its workers."""
    parent, *workers = server.resident().values()
    return f"worker {', '.join(f'{worker:.1f}' for worker in workers)} MiB, main process {parent:.1f} MiB"


def main() -> int:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rotations", "storm", "memory", "growth"])
    parser.add_argument("--peer-python", type=Path, help="an interpreter with the packages of requirements/bench.txt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--logins", type=int, default=10_000)
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true", help="rotations: on the PostgreSQL that comes as a wheel")
    parser.add_argument("--database-url", help="rotations: on a PostgreSQL where two databases may be made")
    options = parser.parse_args()
    if options.what == "rotations" and options.peer_python is None:
        parser.error("rotations needs --peer-python")
    # Absolute, since servers run elsewhere; not resolved, since a link is what makes an environment.
    peer = options.peer_python and options.peer_python.absolute()
    if options.what != "memory":
        os.sched_setaffinity(0, {CLIENT_CORE})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        match options.what:
            case "rotations":
                if options.postgres or options.database_url:
                    with postgres(options.database_url) as place:
                        databases = [create(place, f"bench_{name}") for name in ("tokenkeep", "simplejwt")]
                        asyncio.run(rotations(folder, peer, options.rounds, databases))
                else:
                    asyncio.run(rotations(folder, peer, options.rounds, [None, None]))
            case "storm":
                asyncio.run(storm(folder, options.rounds))
            case "memory":
                asyncio.run(memory(folder, options.logins))
            case "growth":
                asyncio.run(growth(folder, options.most, options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
