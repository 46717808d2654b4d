"""`tokenkeep calibrate`: what it proposes may be configured, and it says what that costs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tokenkeep.cli import calibrate as command
from tokenkeep.domain.password_hashes import Argon2Cost
from tokenkeep.settings import Settings, check_safety


@pytest.fixture(autouse=True)
def passwords_in_no_time() -> None:
    """Hashes take their time here."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which the usual cost takes 25 milliseconds on each of two processors."""

    def seconds_of(cost: Argon2Cost) -> float:
        return 0.025 * cost.weight / (19_456 * 2)

    monkeypatch.setattr(command, "seconds_of", seconds_of)
    monkeypatch.setattr(command, "throughput_of", lambda cost, concurrency: concurrency / seconds_of(cost))
    monkeypatch.setattr(command, "_processors", lambda: 2)


def test_proposal_is_told_as_settings(run: Run, machine: None):
    """The output is a settings file, with comments that say what a login costs and how many a second that makes."""
    outcome = run("calibrate")
    assert outcome.code == 0
    proposed = tomllib.loads(outcome.out)
    assert proposed == {"argon2_memory": 131_072, "argon2_passes": 2, "hash_concurrency": 2}
    assert check_safety(Settings(**proposed)) == []
    assert "takes 168 ms of one processor and 128 MiB" in outcome.out
    assert "2 at once take 256 MiB and make 11.9 logins a second" in outcome.out


def test_proposal_is_told_to_programs(run: Run, machine: None):
    """`--json` is one object with the same numbers."""
    told = json.loads(run("calibrate", "--json", "--target", "100ms", "--memory", "1GiB").out)
    assert told.keys() == {
        "argon2_memory",
        "argon2_passes",
        "hash_concurrency",
        "seconds_per_login",
        "logins_per_second",
        "memory_kib",
    }
    assert 0.09 <= told["seconds_per_login"] <= 0.11
    assert told["memory_kib"] == told["argon2_memory"] * told["hash_concurrency"]


def test_less_than_safe_is_not_proposed(run: Run, machine: None):
    """A wish that cannot be met safely is not met, and that is said."""
    outcome = run("calibrate", "--target", "5ms")
    assert tomllib.loads(outcome.out)["argon2_memory"] == 19_456
    assert "more than the 5 ms wished for, and the least that is safe" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--memory", "4MiB"], "7168 KiB"),
        (["--memory", "4"], "expected a size"),
        (["--memory", "4MB"], "expected a size"),
        (["--target", "250"], "expected a duration"),
        (["--target", "0ms"], "between 1ms and 10s"),
        (["--target", "1h"], "between 1ms and 10s"),
    ],
)
def test_impossible_wish_is_refused(run: Run, machine: None, arguments: list[str], complaint: str):
    """What is no size or duration, and memory that is too little for anything, is wrong usage."""
    outcome = run("calibrate", *arguments)
    assert outcome.code == 2
    assert complaint in outcome.complaint


@pytest.mark.slow
def test_this_machine_is_measured(run: Run, folder: Path):
    """With real hashes the proposal is one that may be configured, and no data directory is needed or made."""
    told = json.loads(run("calibrate", "--json", "--target", "50ms", "--memory", "64MiB").out)
    assert check_safety(Settings(argon2_memory=told["argon2_memory"], argon2_passes=told["argon2_passes"])) == []
    assert told["logins_per_second"] > 0
    assert list(folder.iterdir()) == []
