"""PostgreSQL and Redis stop under load and start again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.system.drills.drill import MARKS, drill, let_pass
from tests.system.drills.plan import SPREAD, Plan

pytestmark = MARKS

AWAY: Final = 8.0
"""Seconds for which a store is away: longer than what was known of revocations counts as known."""
BETWEEN: Final = 100
"""Refreshes between two faults."""


@pytest.mark.drill
def test_postgres_stops_under_load_twice(tmp_path: Path):
    """It crashes twice while three workers serve: who asked is told to come again, and nothing confirmed is lost."""
    with drill(tmp_path, Plan()) as running:
        for _ in range(2):
            running.crowd.go_on(BETWEEN)
            with running.cluster.away():
                let_pass(AWAY)
            running.wait_for_recovery()
        running.crowd.go_on(BETWEEN)


@pytest.mark.drill
def test_redis_stops_under_load_twice(tmp_path: Path):
    """It is killed twice with all it held while three workers serve: ends are known everywhere as soon as ever."""
    with drill(tmp_path, Plan(bound=SPREAD)) as running:
        for _ in range(2):
            running.crowd.go_on(BETWEEN)
            running.redis.stop()
            let_pass(AWAY)
            running.redis.start()
            running.wait_for_recovery()
        running.crowd.go_on(BETWEEN)
    assert set(running.crowd.figures.answers) <= {"200", "401"}
