"""The page about guarding an API: its code runs, and its numbers are those of the code."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from tokenkeep.contract.revocation_feed import LARGEST_DOCUMENT
from tokenkeep.domain.key_rotation import KEY_SET_AGE
from tokenkeep.jose.key_set import MAX_PUBLISHED_KEYS
from tokenkeep.verifier import KeyFetching, Profile, Refused, RevocationFeed, RevocationStatus, challenge
from tokenkeep.verifier.feed import LONGEST_WAIT
from tokenkeep.verifier.feed_following import FIRST_PAUSE, LONGEST_PAUSE
from tokenkeep.verifier.jwks import LARGEST_KEY_SET
from tokenkeep.verifier.key_cache import LONGEST_AGE, REFRESH_FROM, REFRESH_SPREAD, SHORTEST_AGE, USUAL_AGE

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "verifier.md").read_text("utf-8")


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the blocks of Python on the page define, run in order, in one program."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/verifier.md", "exec"), names)
    return names


def test_the_code_on_the_page_runs(names: dict[str, Any]):
    """Every block runs, and what it makes guards what it says."""
    client = TestClient(names["app"])
    assert client.get("/orders").status_code == 401
    assert client.get("/openapi.json").json()["components"]["securitySchemes"]
    assert TestClient(names["guarded"]).get("/orders").json()["code"] == "missing_token"
    status, answer = names["who_is_it"](["Bearer x"])
    assert (status, answer["body"]["code"]) == (401, "invalid_token")


def test_the_numbers_on_the_page_are_those_of_the_code():
    """Limits and durations are written as they are."""
    usual = KeyFetching()
    for number, text in (
        (LONGEST_WAIT, "30 seconds at most"),
        (LONGEST_PAUSE, "at most 10 seconds apart"),
        (LARGEST_DOCUMENT / 1024**2, "at most 64 MiB"),
        (LARGEST_KEY_SET / 1024, "at most 256 KiB"),
        (usual.timeout.total_seconds(), "within 5 seconds"),
        (MAX_PUBLISHED_KEYS, "at most 100;"),
        (SHORTEST_AGE, "at least 30 seconds"),
        (LONGEST_AGE / 3600, "at most 24 hours"),
        (USUAL_AGE / 60, "5 minutes if it says nothing"),
        (usual.cooldown.total_seconds(), "never within 10 seconds"),
        (REFRESH_FROM * 100, "from 75 to"),
        ((REFRESH_FROM + REFRESH_SPREAD) * 100, "to 90 %"),
        (KEY_SET_AGE / 1000, "`max-age` of 300 seconds"),
        ((KEY_SET_AGE / 1000 + usual.stale_limit.total_seconds()) / 60, "for 65 minutes"),
    ):
        assert str(round(number)) in re.findall(r"\d+", text), text
        assert text in PAGE, text
    assert usual.stale_limit == timedelta(hours=1)
    assert FIRST_PAUSE == 0.5
    assert "tried again after half a second" in PAGE
    assert "up to an hour longer" in PAGE


def test_every_log_line_is_told():
    """Each line that the verifier logs is in the table of lines, with its level."""
    calls = [
        (re.sub(r"%[sr]", "…", line), level)
        for file in sorted((ROOT / "src/tokenkeep/verifier").glob("*.py"))
        for level, line in re.findall(r'_log\.(\w+)\(\s*"([^"]+)"', file.read_text("utf-8"))
    ]
    assert len(calls) == 10
    for line, level in calls:
        assert f"| `{line.replace('… … refused', '… refused')}` | {level} |" in PAGE


def test_the_page_names_every_refusal_and_profile():
    """Each refusal is listed with status, code and challenge, and each profile is named."""
    kinds = [kind for kind in vars(challenge).values() if isinstance(kind, type) and issubclass(kind, Refused)]
    for kind in kinds:
        if kind is not Refused:
            line = f"| {kind.status} `{kind.code}` | "
            assert line in PAGE, line
            assert kind.challenge is None or f"{line}`WWW-Authenticate: {kind.challenge}`" in PAGE
    for profile in Profile:
        assert f"`{profile.name}`" in PAGE


def test_the_page_names_what_a_feed_takes_and_tells():
    """Each argument of the feed and each member of its status is named."""
    for field in fields(RevocationFeed):
        assert f"| `{field.name}` |" in PAGE, field.name
    for field in fields(RevocationStatus):
        assert f"`{field.name}`" in PAGE, field.name
