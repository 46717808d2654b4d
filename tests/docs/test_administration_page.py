"""docs/administration.md: its routes, commands and events are those that there are, and none is missing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click
import pytest

from tokenkeep.api.routes import routes_served
from tokenkeep.cli.main import commands
from tokenkeep.domain.audit import EventKind, Outcome

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "administration.md").read_text("utf-8")


@pytest.mark.parametrize("kind", EventKind)
def test_every_event_is_told(kind: EventKind):
    """Each kind of event has a row, which says so if it is an alarm."""
    [row] = [line for line in PAGE.splitlines() if line.startswith("| `") and f"`{kind.value}`" in line.split(" | ")[0]]
    assert ("**alarm:**" in row) is (kind.outcome is Outcome.ALARM)


def test_no_event_is_made_up():
    """Every kind that the table names exists."""
    rows = PAGE.partition("| kind |")[2].splitlines()
    named = {kind for row in rows if row.startswith("| `") for kind in re.findall(r"`(\w+)`", row.split(" | ")[0])}
    assert named == {kind.value for kind in EventKind}


def test_every_route_of_administrators_is_told():
    """Each route for administrators is on the page, and the page names no other."""
    served = {
        f"{route.method} {re.sub(r'{user}|{kid}', '{id}', route.path)}"
        for route in routes_served(registration=True)
        if route.path.startswith("/admin/") or route.path == "/register"
    }
    told = set(re.findall(r"`(GET|POST|PUT|DELETE) (/(?:admin|register)[^\s`?]*)", PAGE))
    assert {f"{method} {path}" for method, path in told} | {"POST /admin/users/{id}/enable"} == served
    assert "`…/enable`" in PAGE


def test_every_command_that_is_told_exists():
    """Each command of the table can be called, and has the options that it is shown with."""
    table = PAGE.partition("| to |")[2].partition("\n\n")[0]
    calls = re.findall(r"`((?:users|sessions|keys|token|audit) [^`]+)`", table)
    assert len(calls) >= 12
    for call in calls:
        noun, verb = call.split()[:2]
        group = commands.commands[noun]
        assert isinstance(group, click.Group)
        options = {name for parameter in group.commands[verb].params for name in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", call)) <= options, call
