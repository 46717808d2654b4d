"""`tokenkeep audit`: what happened, found and shown without letting anyone write on the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_users import PASSWORD


@pytest.fixture
def ada(run: Run, data: Path) -> str:
    """The id of an account that was added, disabled and enabled."""
    added = run("users", "add", "Ada", "--password-stdin", stdin=PASSWORD).out
    run("users", "disable", "Ada")
    run("users", "enable", "Ada")
    return added.partition("(")[2].partition(")")[0]


def kinds(out: str) -> list[str]:
    """Return what happened, from lines of JSON."""
    return [json.loads(line)["event"] for line in out.splitlines()]


def test_newest_events_are_last(run: Run, ada: str):
    """The log reads like a story, for people and for programs."""
    outcome = run("audit", "tail", "--json")
    assert kinds(outcome.out)[-3:] == ["account_created", "account_disabled", "account_enabled"]
    newest = json.loads(outcome.out.splitlines()[-1])
    assert newest.keys() >= {"at", "event", "outcome", "actor", "accountId", "detail"}
    assert (newest["outcome"], newest["actor"]) == ("done", "operator")
    assert kinds(run("audit", "tail", "--limit", "1", "--json").out) == ["account_enabled"]
    lines = run("audit", "tail").out.splitlines()
    assert "account_enabled" in lines[-1]
    assert f"account={ada}" in lines[-1]
    assert "by=operator" in lines[-1]


def test_events_are_found(run: Run, ada: str):
    """By what happened, whom it concerned, and how long ago."""
    assert kinds(run("audit", "search", "--kind", "account_disabled", "--json").out) == ["account_disabled"]
    assert len(kinds(run("audit", "search", "--account", ada, "--json").out)) == 3
    assert kinds(run("audit", "search", "--account", "x", "--json").out) == []
    assert len(kinds(run("audit", "search", "--actor", "operator", "--json").out)) == 3
    assert kinds(run("audit", "search", "--actor", "anyone", "--json").out) == []
    assert len(kinds(run("audit", "search", "--within", "1h", "--account", ada, "--json").out)) == 3
    assert kinds(run("audit", "search", "--address", "192.0.2.1", "--json").out) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "--kind", "nonsense"],
        ["search", "--within", "yesterday"],
        ["search", "--within", "5"],
        ["search", "--within", "999999999d"],
        ["tail", "--limit", "0"],
        ["tail", "--limit", "many"],
    ],
    ids=" ".join,
)
def test_wrong_call_exits_with_2(run: Run, data: Path, arguments: list[str]):
    """What cannot be searched for is said to be wrong."""
    outcome = run("audit", *arguments)
    assert outcome.code == 2
    assert outcome.complaint
