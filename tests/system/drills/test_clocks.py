"""A node whose clock is a minute off: it says so, sessions go on, and what has ended stays ended."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.system.drills.crowd import PASSWORD, seconds_until
from tests.system.drills.drill import MARKS, Drill, drill, is_ready
from tests.system.drills.plan import SPREAD, Plan
from tests.system.server_process import ServerProcess, wait_until
from tests.system.visitor import Visitor
from tests.system.workers import workers_of

pytestmark = MARKS

LIBRARIES: Final = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
REFRESHES: Final = 60
SLEEP: Final = """
import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds)
"""
"""Python sleeps until an instant of the clock that never steps, which libfaketime takes for one of the other clock."""


class Clock:
    """The clock of a node, which can be set while it runs; that which never steps goes on as ever."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self._modules = directory / "modules"
        self._modules.mkdir()
        (self._modules / "sitecustomize.py").write_text(SLEEP)
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set it off the time by so many seconds."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.replace(self._file)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process with this clock."""
        return {
            "PYTHONPATH": str(self._modules),
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


def check_crossing(running: Drill, seconds: int) -> None:
    """Hold both nodes to what they owe somebody who asks the wrong one too, though no proxy would.

    Sessions and ends are judged alike by both, and what either issues is good at the right one. The wrong one may
    only take a good token for one of the future or the past, by its name.
    """
    right, wrong = running.nodes
    for here, there in ((right, wrong), (wrong, right)):
        ada, elsewhere = Visitor(here, "Ada", PASSWORD), Visitor(there, "Ada", PASSWORD)
        assert ada.login().status_code == 200
        elsewhere.access_token, elsewhere.cookie = ada.access_token, ada.cookie
        before = ada.cookie
        check_good(right, wrong, ada.access_token, seconds)
        assert elsewhere.refresh().status_code == 200
        assert ada.refresh(cookie=before).status_code == 200
        assert ada.cookie == elsewhere.cookie, "a lost answer is repeated, within the time that the database tells"
        check_good(right, wrong, ada.access_token, seconds)
        assert elsewhere.logout().status_code == 200
        for node in running.nodes:
            ended = Visitor(node, "Ada", PASSWORD)
            assert ended.refresh(cookie=ada.cookie).json()["code"] == "no_valid_refresh_token"
            assert ended.get("/me", token=elsewhere.access_token).status_code in {200, 401}
            wait_until(
                lambda ended=ended, token=ada.access_token: ended.get("/me", token=token).status_code == 401,
                "the end is known",
                within=SPREAD,
            )


def check_good(right: ServerProcess, wrong: ServerProcess, access_token: str, seconds: int) -> None:
    """Hold the right node to accepting a token, and the wrong one to refusing it for its time if at all."""
    somebody = Visitor(right, "Ada", PASSWORD)
    assert somebody.get("/me", token=access_token).status_code == 200
    answer = Visitor(wrong, "Ada", PASSWORD).get("/me", token=access_token)
    assert answer.status_code == (200 if seconds > 0 else 401)
    assert answer.status_code == 200 or answer.json()["reason"] == "NotBeforeError"


@pytest.mark.drill
@pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed")
def test_a_clock_is_a_minute_off_and_set_right_again(tmp_path: Path):
    """Ahead, then behind: that node is not ready and says so, and neither node ends or forks anybody's session."""
    clock = Clock(tmp_path)
    plan = Plan(nodes=2, workers=1, pace=0.3, environ=({}, clock.environ), excused={"NotBeforeError"})
    with drill(tmp_path, plan) as running:
        right, wrong = running.nodes
        right.add_user("Ada", PASSWORD)
        for seconds in (60, -60):
            running.crowd.go_on(REFRESHES)
            clock.set(seconds)
            noticed = seconds_until(lambda: not is_ready(wrong), "the node is not ready")
            running.crowd.spared.add(1)
            print(f"{seconds:+d} s: not ready after {noticed:.1f} s")
            assert is_ready(right)
            assert read(wrong, "tokenkeep_clock_offset_seconds") == pytest.approx(seconds, abs=1)
            assert read(right, "tokenkeep_clock_offset_seconds") == pytest.approx(0, abs=1)
            running.crowd.go_on(REFRESHES)
            check_crossing(running, seconds)
            clock.set(0)
            running.wait_for_recovery()
            running.crowd.spared.clear()
            running.crowd.go_on(REFRESHES)
        assert "s off the database's, so that this process is not ready" not in right.log
        assert wrong.log.count("s off the database's, so that this process is not ready") == 2


def read(node: ServerProcess, metric: str) -> float:
    """Return a metric of a node with one process."""
    with workers_of(node) as (worker,):
        return worker.metric(metric)
