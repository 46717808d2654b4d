"""Every verdict on a refresh token is told from every other: in the answer, in the audit log and in the metrics."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.flows.stage import FIREFOX, Row, Stage
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import REFRESH_VERDICTS, Event, EventKind, refresh_verdict
from tokenkeep.domain.errors import InvalidRefreshToken, NoValidRefreshToken
from tokenkeep.domain.sessions import Delivery, RefreshToken, Verdict
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.settings import Settings

GRACE = 10_000
PAGE = Path(__file__).resolve().parents[2] / "docs" / "sessions.md"

Provocation = Callable[[Stage, TokenPair], Awaitable[str]]
"""Brings about that a token gets a verdict, and returns the token."""


async def rotated(stage: Stage, first: TokenPair) -> str:
    """The newest token."""
    return first.refresh_token


async def replayed(stage: Stage, first: TokenPair) -> str:
    """A token whose answer was lost."""
    await stage.refresh(first.refresh_token)
    return first.refresh_token


async def overtaken(stage: Stage, first: TokenPair) -> str:
    """A token of a slow tab, two behind."""
    second = await stage.refresh(first.refresh_token)
    await stage.refresh(second.refresh_token)
    return first.refresh_token


async def reused(stage: Stage, first: TokenPair) -> str:
    """A token that was used before the window."""
    await stage.refresh(first.refresh_token)
    stage.clock.advance(GRACE)
    return first.refresh_token


async def abandoned(stage: Stage, first: TokenPair) -> str:
    """A token that was used before the window, from somebody who has hung up."""
    return await reused(stage, first)


async def ended(stage: Stage, first: TokenPair) -> str:
    """A token of a session that was logged out."""
    await stage.logout(first.refresh_token)
    return first.refresh_token


async def rolled_back(stage: Stage, first: TokenPair) -> str:
    """A token that is newer than the database."""
    second = await stage.refresh(first.refresh_token)
    await stage.execute("UPDATE sessions SET generation = 0")
    return second.refresh_token


async def invalid(stage: Stage, first: TokenPair) -> str:
    """A token with a tag of nobody's."""
    return first.refresh_token[:-4] + ("AAAA" if first.refresh_token[-4:] != "AAAA" else "BBBB")


async def malformed(stage: Stage, first: TokenPair) -> str:
    """No token at all."""
    return "tkr_"


EXPECTED: dict[Provocation, tuple[Verdict, type[Exception] | None, str, str, bool]] = {
    rotated: (Verdict.ROTATE, None, "refresh_rotated", "", True),
    replayed: (Verdict.REPLAY, None, "refresh_replayed", "", True),
    overtaken: (Verdict.OVERTAKEN, InvalidRefreshToken, "refresh_refused", "overtaken", True),
    reused: (Verdict.REUSE, NoValidRefreshToken, "refresh_reused", "", False),
    abandoned: (Verdict.ABANDONED, NoValidRefreshToken, "refresh_refused", "abandoned", True),
    ended: (Verdict.ENDED, NoValidRefreshToken, "refresh_refused", "ended", False),
    rolled_back: (Verdict.ROLLED_BACK, NoValidRefreshToken, "refresh_rolled_back", "", False),
    invalid: (Verdict.INVALID, InvalidRefreshToken, "refresh_refused", "invalid", True),
    malformed: (Verdict.INVALID, InvalidRefreshToken, "refresh_refused", "invalid", True),
}
"""By provocation: verdict, what is raised, kind and detail of its event, and whether the session lives on."""


def counted(stage: Stage) -> dict[str, float]:
    """Return the metric of verdicts."""
    text = stage.parts.services.metrics().decode()
    return {name: float(value) for name, value in re.findall(r'tokenkeep_refreshes_total{verdict="(\w+)"} (\S+)', text)}


async def refresh_events(stage: Stage) -> list[Row]:
    """Return the events about refresh tokens, those that are waiting to be written too."""
    await stage.parts.refusals.flush()
    return [event for event in await stage.events() if event["kind"].startswith("refresh_")]


@pytest.mark.parametrize("provoke", EXPECTED, ids=lambda provoke: provoke.__name__)
async def test_each_verdict_has_its_own_answer_event_and_count(stage: Stage, ada: Account, provoke: Provocation):
    """A verdict is told by what is raised, by one event of its own, and by one count of its own."""
    verdict, raised, kind, detail, lives = EXPECTED[provoke]
    first = await stage.login()
    presented = await provoke(stage, first)
    events, before = await refresh_events(stage), counted(stage)
    assert set(before) == set(REFRESH_VERDICTS)
    if raised is None:
        await stage.refresh(presented)
    else:
        with pytest.raises(raised):
            await stage.refresh(presented, waits=provoke is not abandoned)
    [event] = (await refresh_events(stage))[len(events) :]
    session = None if verdict is Verdict.INVALID else RefreshToken.parse(first.refresh_token).session_id
    assert (event["kind"], event["detail"], event["session_id"]) == (kind, detail, session)
    assert (event["address"], event["user_agent"]) == (FIREFOX.address, FIREFOX.user_agent)
    after = counted(stage)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {verdict.value: 1.0}
    assert stage.accepts(first) == lives


async def test_a_token_that_came_the_wrong_way_is_invalid(stage: Stage, ada: Account):
    """A cookie's token in a body is told as invalid, with the session that it would have been of."""
    pair = await stage.login()
    with pytest.raises(InvalidRefreshToken):
        await stage.refresh(pair.refresh_token, delivery=Delivery.BODY)
    [event] = await refresh_events(stage)
    session = RefreshToken.parse(pair.refresh_token).session_id
    assert (event["kind"], event["detail"], event["session_id"]) == ("refresh_refused", "invalid", session)
    assert counted(stage)["invalid"] == 1


@pytest.mark.parametrize(
    ("provoke", "raised"),
    [(rotated, None), (replayed, None), (rolled_back, NoValidRefreshToken)],
    ids=["rotated", "replayed", "rolled back"],
)
async def test_only_a_reused_token_is_forgiven_to_who_has_left(
    stage: Stage, ada: Account, provoke: Provocation, raised: type[Exception] | None
):
    """Every other token is judged alike, whether its sender waits or not."""
    first = await stage.login()
    presented = await provoke(stage, first)
    if raised is None:
        await stage.refresh(presented, waits=False)
    else:
        with pytest.raises(raised):
            await stage.refresh(presented, waits=False)
    assert stage.accepts(first) == (raised is None)


async def test_alarms_are_raised_once(stage: Stage, ada: Account):
    """A token that is used again and again raises one alarm; afterwards its session is over, and told as that."""
    pair = await stage.login()
    presented = await reused(stage, pair)
    for _ in range(3):
        with pytest.raises(NoValidRefreshToken):
            await stage.refresh(presented)
    told = [(event["kind"], event["detail"]) for event in await refresh_events(stage)][1:]
    assert told == [("refresh_reused", ""), ("refresh_refused", "ended"), ("refresh_refused", "ended")]
    assert (counted(stage)["reused"], counted(stage)["ended"]) == (1, 2)


def test_verdicts_are_all_told_apart():
    """No two verdicts share an event, and the metric has one label for each."""
    told: dict[tuple[str, str], Verdict] = {}
    for verdict, _, kind, detail, _ in EXPECTED.values():
        assert told.setdefault((kind, detail), verdict) is verdict
        assert refresh_verdict(Event(EventKind(kind), 0, "anyone", detail=detail)) == verdict.value
    assert set(told.values()) == set(Verdict)
    assert sorted(REFRESH_VERDICTS) == sorted(verdict.value for verdict in Verdict)
    assert refresh_verdict(Event(EventKind.SESSION_ENDED, 0, "anyone", detail="ended")) is None
    assert refresh_verdict(Event(EventKind.REFRESH_REFUSED, 0, "anyone", detail="from outside")) is None


def test_the_page_has_the_whole_table():
    """The table of the documentation names event and verdict of each, as they are."""
    rows = re.findall(r"\| `(refresh_\w+)`(?:, detail `(\w+)`)? \| `(\w+)` \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {(kind, detail, verdict.value) for verdict, _, kind, detail, _ in EXPECTED.values()}
    assert set(rows) == told
    assert len(rows) == len(told)


def test_the_page_has_the_lives_in_force():
    """Lives in the documentation are the defaults of the settings."""
    page, settings = PAGE.read_text("utf-8"), Settings()
    assert f"| {settings.access_ttl.seconds // 60} minutes, " in page
    assert f"| {settings.refresh_idle_ttl.days} days | `refresh_idle_ttl` |" in page
    assert f"| {settings.session_ttl.days} days | `session_ttl` |" in page
    assert f"| {settings.refresh_grace.seconds} seconds | `refresh_grace` |" in page
    assert f"`revocation_max_staleness` ({settings.revocation_max_staleness.seconds} seconds)" in page
