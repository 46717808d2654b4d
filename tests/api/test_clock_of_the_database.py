"""A process whose clock is not the database's: not ready, on a real PostgreSQL and a clock that is set by the test."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.caller import Caller, assert_problem
from tests.postgres_server import PostgresSchema
from tests.settable_clock import SettableClock
from tokenkeep import chores
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings

SECRET = "a secret of thirty-two bytes, or more"
LONGEST_WAIT = 10.0


class ClockThatIsOff:
    """A running clock (port `Clock`), a number of milliseconds off this machine's, which is PostgreSQL's too."""

    def __init__(self) -> None:
        self.off = 0

    def now(self) -> int:
        """Return the wall clock in milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000 + self.off

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps."""
        return time.monotonic()


@pytest.fixture
def running() -> ClockThatIsOff:
    """The clock of the process."""
    return ClockThatIsOff()


@pytest.fixture
async def on_postgres(
    postgres_schema: PostgresSchema, tmp_path: Path, running: ClockThatIsOff
) -> AsyncIterator[AuthServer]:
    """An open server on PostgreSQL with that clock, which compares only when it is told to."""
    async with AuthServer(on_schema(postgres_schema, tmp_path), clock=running) as opened:
        yield opened


def on_schema(schema: PostgresSchema, directory: Path) -> Settings:
    """Return the settings of a server on a schema."""
    return Settings(database_url=Secret(schema.url), secret=Secret(SECRET), data_dir=directory / "data")


async def offset_told(call: Caller) -> float:
    """Return the offset that the metrics tell of."""
    told = (await call("GET", "/metrics")).text
    return float(told.partition("\ntokenkeep_clock_offset_seconds ")[2].partition("\n")[0])


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged about the clock."""
    return [record.getMessage() for record in caplog.records if record.name == "tokenkeep.flows.watch_clock"]


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
@pytest.mark.parametrize(("off", "sign"), [(10_000, "+"), (-3_600_000, "-3")])
async def test_a_clock_that_is_off_makes_not_ready(
    on_postgres: AuthServer, running: ClockThatIsOff, caplog: pytest.LogCaptureFixture, off: int, sign: str
):
    """Beyond 2 s, ahead or behind: 503 that says nothing, one line in the log, a metric; set right, it recovers."""
    caplog.set_level(logging.INFO)
    call = Caller(on_postgres, address="127.0.0.1")
    assert (await call("GET", "/readyz")).status_code == 200
    running.off = off
    for _ in range(3):
        await on_postgres.graph.watch_clock.compare()
        assert_problem(await call("GET", "/readyz"), "unavailable", missing=["clock"])
    assert 0.5 < await offset_told(call) / (off / 1000) <= 1.001
    assert (await call("GET", "/livez")).status_code == 200
    [line] = lines(caplog)
    assert line.startswith(f"the clock is {sign}")
    assert "set it" in line
    running.off = 0
    for _ in range(2):
        await on_postgres.graph.watch_clock.compare()
        assert (await call("GET", "/readyz")).status_code == 200
    assert abs(await offset_told(call)) < 0.01  # instants are rounded
    assert lines(caplog) == [line, "the clock agrees with the database's again"]


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
@pytest.mark.parametrize("off", [1_900, -1_900])
async def test_a_clock_that_is_nearly_right_will_do(
    on_postgres: AuthServer, running: ClockThatIsOff, caplog: pytest.LogCaptureFixture, off: int
):
    """Up to 2 s nothing is said and the process is ready; the metric shows it."""
    running.off = off
    await on_postgres.graph.watch_clock.compare()
    call = Caller(on_postgres, address="127.0.0.1")
    assert (await call("GET", "/readyz")).status_code == 200
    assert await offset_told(call) * off > 0
    assert lines(caplog) == []


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
async def test_the_clocks_are_compared_at_the_start_and_from_then_on(
    postgres_schema: PostgresSchema, tmp_path: Path, running: ClockThatIsOff, monkeypatch: pytest.MonkeyPatch
):
    """A process that starts with a wrong clock is not ready, becomes it when the clock is set, and ceases to be it."""
    monkeypatch.setattr(chores, "CLOCK_INTERVAL", 0.01)
    running.off = 10_000
    async with AuthServer(on_schema(postgres_schema, tmp_path), clock=running) as opened:
        call = Caller(opened)
        assert_problem(await call("GET", "/readyz"), "unavailable", missing=["clock"])
        for off, status in ((0, 200), (-10_000, 503), (0, 200)):
            running.off = off
            async with asyncio.timeout(LONGEST_WAIT):
                while (await call("GET", "/readyz")).status_code != status:
                    await asyncio.sleep(0.01)


async def test_on_sqlite_there_is_one_clock(call: Caller, clock: SettableClock):
    """A clock that jumps by a day is still the one by which sessions are judged: the process stays ready."""
    for step in (86_400_000, -2 * 86_400_000):
        clock.advance(step)
        await call.server.graph.watch_clock.compare()
        await call.server.graph.follow_revocations.poll()
        assert (await call("GET", "/readyz")).status_code == 200
    assert call.server.graph.watch_clock.offset == 0
