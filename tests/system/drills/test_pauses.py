"""A node that does nothing for a while, and then goes on as if no time had passed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.system.drills.drill import MARKS, drill, let_pass, paused
from tests.system.drills.plan import Plan

pytestmark = MARKS

PATIENCE: Final = 1.5
"""Seconds after which a client asks the other node."""


@pytest.mark.drill
@pytest.mark.parametrize(
    ("seconds", "flags"), [(5, {}), (30, {"refresh_grace": "60s"})], ids=["for five seconds", "for thirty"]
)
def test_a_node_is_paused_and_goes_on(tmp_path: Path, seconds: int, flags: dict[str, str]):
    """Its clients go on at the other node; what it does late, for who has left, ends nobody's session.

    A request that was kept all the while has an old token when it is let go, several refreshes behind.
    """
    with drill(
        tmp_path, Plan(nodes=2, workers=2, patience=PATIENCE, pace=seconds / 10, people=8, flags=flags)
    ) as running:
        running.crowd.go_on(8)
        with paused(running.nodes[1]):
            let_pass(seconds)
        running.wait_for_recovery()
        running.crowd.go_on(24)
