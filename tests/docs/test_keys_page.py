"""docs/keys.md: its numbers are those of the code, and its commands are those that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click
import pytest

from tokenkeep.api.routes import routes_served
from tokenkeep.cli.main import commands
from tokenkeep.domain.revocations import GREATEST_LEEWAY
from tokenkeep.domain.signing_keys import KeyState
from tokenkeep.policies import rotation_policy
from tokenkeep.settings import Settings

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "keys.md").read_text("utf-8")


def spoken(milliseconds: int) -> str:
    """Return a duration as the page says it."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    return f"{minutes} minutes {seconds} seconds"


def test_the_numbers_on_the_page_are_those_of_the_code():
    """The timetable with the default settings is the one that is written there."""
    settings = Settings()
    policy = rotation_policy(settings)
    life = int(settings.access_ttl.total_seconds() * 1000)
    for text in (
        f"published before it signs | {spoken(policy.lead)} |",
        f"after it has signed | {spoken(policy.trail(life))} with tokens of {life // 60_000} minutes |",
        f"keep the key set for {policy.key_set_age // 1000} seconds",
        f"may wait {policy.fetch_cooldown // 1000} seconds",
        f"{policy.propagation // 1000} seconds in which every server process",
        f"{GREATEST_LEEWAY // 1000} seconds by which a verifier",
        f"within {spoken(policy.key_set_age + policy.propagation)}; while",
        f"`key_rotation`, {settings.key_rotation.days} days by default",
        f"less than {spoken(policy.lead)} ago",
    ):
        assert text in PAGE, text


@pytest.mark.parametrize("state", KeyState)
def test_every_state_is_told(state: KeyState):
    """Each state has a row, which says truly whether the key is published."""
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{state}`")]
    assert row.split(" | ")[1] == ("yes" if state.published else "no")


def test_what_is_told_to_be_done_can_be():
    """Each command has the options that it is shown with, and each route exists."""
    group = commands.commands["keys"]
    assert isinstance(group, click.Group)
    calls = re.findall(r"tokenkeep keys (\w+)([^`\n#]*)", PAGE)
    assert {verb for verb, _ in calls} == set(group.commands)
    for verb, rest in calls:
        options = {name for parameter in group.commands[verb].params for name in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, verb
    served = {f"{route.method} {route.path}".replace("{kid}", "{id}") for route in routes_served(registration=True)}
    told = re.findall(r"`((?:GET|POST) /[^`]+)`", PAGE)
    assert len(told) == 3
    assert set(told) <= served
