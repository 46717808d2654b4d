"""The ceiling on sessions of one account: who goes when somebody logs in once too often, and what is known of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.flows.stage import CURL, FIREFOX, PASSWORD, Stage
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import NoValidRefreshToken
from tokenkeep.domain.identifiers import SessionId
from tokenkeep.domain.sessions import RefreshToken
from tokenkeep.flows import end_sessions
from tokenkeep.flows.change_password import Passwords
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

MOST = 3
SECOND = 1_000
DAY = 86_400_000
LONGEST_USE = 900_000 + 60_000
"""Milliseconds after which no verifier takes an access token any more: its life, and the greatest leeway."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that let three sessions of an account live."""
    return replace(settings, max_sessions=MOST, rate_limits=False)


def session_of(pair: TokenPair) -> SessionId:
    """Return the id of a pair's session."""
    return RefreshToken.parse(pair.refresh_token).session_id


async def log_in(stage: Stage, times: int, *, apart: int = SECOND) -> list[TokenPair]:
    """Log Ada in so often, some milliseconds apart, and return the pairs."""
    pairs = []
    for _ in range(times):
        stage.clock.advance(apart)
        pairs.append(await stage.login())
    return pairs


async def reasons(stage: Stage) -> list[str | None]:
    """Return why each session ended, in the order of their beginning; None for those that did not."""
    return [row["revoked_reason"] for row in await stage.rows("SELECT revoked_reason FROM sessions ORDER BY rowid")]


@asynccontextmanager
async def served(settings: Settings, clock: SettableClock, *, most: int) -> AsyncIterator[Stage]:
    """Yield the stage of a server with another ceiling."""
    async with AuthServer(replace(settings, max_sessions=most), clock=clock) as server:
        yield Stage(server, clock)


async def test_one_too_many_ends_the_least_recently_used(stage: Stage, ada: Account):
    """The session that was not used for longest is dead at once, both tokens of it; a refresh counts as use."""
    first, second, third = await log_in(stage, MOST)
    first = await stage.refresh(first.refresh_token)
    assert all(stage.accepts(pair) for pair in (first, second, third))
    [fourth] = await log_in(stage, 1)
    assert [stage.accepts(pair) for pair in (first, second, third, fourth)] == [True, False, True, True]
    with pytest.raises(NoValidRefreshToken):
        await stage.refresh(second.refresh_token)
    for pair in (first, third, fourth):
        assert await stage.refresh(pair.refresh_token)


async def test_what_is_kept_of_it(stage: Stage, ada: Account):
    """One event and one revocation say that the server did it, why, and from where the login came; the session too."""
    oldest, *_ = await log_in(stage, MOST)
    stage.clock.advance(SECOND)
    await stage.login(client=CURL)
    now = stage.clock.now()
    [event] = await stage.events("session_ended")
    assert event == {
        "at": now,
        "kind": "session_ended",
        "actor": "system",
        "account_id": ada.id,
        "session_id": session_of(oldest),
        "address": CURL.address,
        "user_agent": CURL.user_agent,
        "detail": "too_many",
    }
    [revocation] = await stage.revocations()
    assert (revocation["kind"], revocation["value"]) == ("sid", session_of(oldest))
    assert (revocation["reason"], revocation["actor"]) == ("too_many", "system")
    stored = await stage.session(oldest.refresh_token)
    assert (stored["revoked_at"], stored["revoked_reason"]) == (now, "too_many")


async def test_as_many_as_allowed_end_nothing(stage: Stage, ada: Account):
    """Up to the ceiling nothing ends, and each account has its own."""
    await stage.add("Grace")
    graces = await stage.login("Grace")
    pairs = await log_in(stage, MOST)
    assert all(stage.accepts(pair) for pair in [graces, *pairs])
    assert await stage.revocations() == []
    assert await stage.events("session_ended") == []


async def test_the_session_replaced_makes_room(stage: Stage, ada: Account):
    """Who logs in where a session is, at the ceiling, takes that one's place and nobody else's."""
    first, second, third = await log_in(stage, MOST)
    stage.clock.advance(SECOND)
    fourth = await stage.login(replaces=third.refresh_token)
    assert [stage.accepts(pair) for pair in (first, second, third, fourth)] == [True, True, False, True]
    assert await reasons(stage) == [None, None, "replaced", None]


async def test_one_replaced_and_one_too_many(settings: Settings, clock: SettableClock):
    """Where there are too many even so, both end in the one transaction, each for its own reason."""
    async with served(settings, clock, most=MOST) as before:
        await before.add("Ada")
        pairs = await log_in(before, MOST)
    async with served(settings, clock, most=MOST - 1) as lowered:
        fourth = await lowered.login(replaces=pairs[2].refresh_token)
        assert [lowered.accepts(pair) for pair in (*pairs, fourth)] == [False, True, False, True]
        assert await reasons(lowered) == ["too_many", None, "replaced", None]
        assert [each["reason"] for each in await lowered.revocations()] == ["replaced", "too_many"]


async def test_what_is_over_takes_no_place(stage: Stage, ada: Account):
    """A session that has expired or was logged out does not count, and its end is not told again."""
    expired, logged_out = await log_in(stage, 2)
    stage.clock.advance(7 * DAY)
    await stage.logout(logged_out.refresh_token)
    before = await stage.events("session_ended")
    pairs = await log_in(stage, MOST)
    assert all(stage.accepts(pair) for pair in pairs)
    assert await stage.events("session_ended") == before
    assert (await stage.session(expired.refresh_token))["revoked_reason"] is None


async def test_a_clock_set_back_does_not_end_the_new_session(settings: Settings, clock: SettableClock):
    """The session just opened is never the one to go, although all others seem to have been used later."""
    async with served(settings, clock, most=1) as single:
        await single.add("Ada")
        [before] = await log_in(single, 1)
        clock.advance(-SECOND // 2)
        after = await single.login()
        assert (single.accepts(before), single.accepts(after)) == (False, True)
        assert await single.refresh(after.refresh_token)


async def test_a_new_password_leaves_one_session(settings: Settings, clock: SettableClock):
    """With a ceiling of one, who changes the password goes on; what ended did so for the password."""
    async with served(settings, clock, most=1) as single:
        await single.add("Ada")
        pair = await single.login()
        passwords = Passwords(PASSWORD, "another-good-password")
        after, _ = await single.parts.services.change_password.change(single.read(pair), passwords, FIREFOX)
        assert (single.accepts(pair), single.accepts(after)) == (False, True)
        assert await reasons(single) == ["password_changed", None]


async def test_a_lowered_ceiling_is_reached_step_by_step(
    settings: Settings, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
):
    """Nothing ends before the next login; each ends no more than a batch, the least recently used first."""
    monkeypatch.setattr(end_sessions, "BATCH", 3)
    async with served(settings, clock, most=10) as before:
        await before.add("Ada")
        pairs = await log_in(before, 7)
    async with served(settings, clock, most=MOST) as lowered:
        assert all(lowered.accepts(pair) for pair in pairs)
        for ended in (3, 6, 7, 8):
            pairs += await log_in(lowered, 1)
            assert [lowered.accepts(pair) for pair in pairs] == [False] * ended + [True] * (len(pairs) - ended)
            assert (await reasons(lowered)).count("too_many") == ended
            assert len(await lowered.events("session_ended")) == ended
            assert len(await lowered.revocations()) == ended


def test_a_batch_is_a_hundred():
    """The number in the documentation is the one in force."""
    assert end_sessions.BATCH == 100


@pytest.mark.parametrize(("later", "revoked"), [(LONGEST_USE - 1, 1), (LONGEST_USE, 0)])
async def test_only_tokens_that_may_live_are_revoked(stage: Stage, ada: Account, later: int, revoked: int):
    """A session whose last access token nobody can take any more ends like any other, and revokes nothing."""
    oldest, *_ = await log_in(stage, MOST, apart=0)
    await stage.execute("UPDATE sessions SET last_used_at = $1 WHERE id = $2", START - 1, session_of(oldest))
    stage.clock.advance(later - 1)
    [_] = await log_in(stage, 1, apart=0)
    assert await reasons(stage) == ["too_many", None, None, None]
    assert len(await stage.events("session_ended")) == 1
    assert len(await stage.revocations()) == revoked


@pytest.mark.parametrize("logins", [MOST + 1, 2 * MOST, 3 * MOST])
async def test_logins_at_once_leave_as_many_as_allowed(stage: Stage, ada: Account, logins: int):
    """However many log in together, the ceiling is what lives in the end, and every other pair is dead."""
    pairs = await asyncio.gather(*(stage.login() for _ in range(logins)))
    accepted = [pair for pair in pairs if stage.accepts(pair)]
    assert len(accepted) == MOST
    assert (await reasons(stage)).count(None) == MOST
    for pair in pairs:
        if pair in accepted:
            assert await stage.refresh(pair.refresh_token)
        else:
            with pytest.raises(NoValidRefreshToken):
                await stage.refresh(pair.refresh_token)
