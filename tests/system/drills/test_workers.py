"""Workers are killed under load, one after the other, and replaced."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.system.drills.drill import MARKS, Drill, drill, let_pass
from tests.system.drills.plan import SPREAD, Plan

pytestmark = MARKS

BETWEEN: Final = 1.0
"""Seconds between two kills."""


def kill_a_worker(running: Drill) -> None:
    """Kill one that serves, without warning."""
    workers = running.nodes[0].children()
    with suppress(ProcessLookupError, IndexError):
        os.kill(random.choice(workers).pid, signal.SIGKILL)


@pytest.mark.parametrize("refreshes", [60, pytest.param(1000, marks=pytest.mark.drill)])
def test_a_worker_is_killed_every_second(tmp_path: Path, refreshes: int):
    """Whoever asked one that died asks again and goes on, and what has ended is known to each that comes."""
    kills = 0
    with drill(tmp_path, Plan(bound=SPREAD, killing=True)) as running:
        done = running.crowd.figures.did
        while done["refresh"] < refreshes and not running.crowd.figures.wrong:
            let_pass(BETWEEN)
            kill_a_worker(running)
            kills += 1
        running.wait_for_recovery()
    print(f"{kills} kills")
    assert kills > 0
