"""Purging: what can no longer matter goes, in small batches and on schedule, and nothing goes a moment earlier."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.flows.stage import Stage
from tests.settable_clock import START, SettableClock
from tokenkeep import chores
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import InvalidRefreshToken, NoValidRefreshToken
from tokenkeep.flows import purge
from tokenkeep.flows.purge import Purged
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

MINUTE = 60_000
DAY = 86_400_000
LEEWAY = MINUTE
"""The greatest leeway of a verifier."""


async def count(stage: Stage, table: str) -> int:
    """Return how many rows a table has."""
    return len(await stage.rows(f"SELECT * FROM {table}"))


async def test_a_session_is_kept_to_its_absolute_end(stage: Stage, ada: Account):
    """Ended or not, a session's row stays as long as one of its refresh tokens could turn up, and not longer."""
    live, ended = await stage.login(), await stage.login()
    await stage.logout(ended.refresh_token)
    stage.clock.advance(30 * DAY)
    assert (await stage.parts.purge.purge()).sessions == 0
    with pytest.raises(NoValidRefreshToken):
        await stage.refresh(ended.refresh_token)
    stage.clock.advance(1)
    assert (await stage.parts.purge.purge()).sessions == 2
    assert await count(stage, "sessions") == 0
    for pair in (live, ended):
        with pytest.raises(InvalidRefreshToken):
            await stage.refresh(pair.refresh_token)


async def test_reuse_is_detected_after_a_purge(stage: Stage, ada: Account):
    """A spent refresh token that turns up after many purges still ends its session."""
    first = await stage.login()
    current = first
    for _ in range(4):
        stage.clock.advance(6 * DAY)
        current = await stage.refresh(current.refresh_token)
        await stage.parts.purge.purge()
    with pytest.raises(NoValidRefreshToken):
        await stage.refresh(first.refresh_token)
    assert (await stage.session(first.refresh_token))["revoked_reason"] == "reuse"
    with pytest.raises(NoValidRefreshToken):
        await stage.refresh(current.refresh_token)
    await stage.parts.purge.purge()
    assert len(await stage.events("refresh_reused")) == 1


async def test_a_revocation_is_kept_as_long_as_a_token_may_live(settings: Settings, clock: SettableClock):
    """Entries stay for the life of an access token and the greatest leeway, to the millisecond."""
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
        await stage.logout(pair.refresh_token)
        clock.advance(15 * MINUTE + LEEWAY)
        assert (await stage.parts.purge.purge()).revocations == 0
        clock.advance(1)
        assert (await stage.parts.purge.purge()).revocations == 1


async def test_a_shorter_life_frees_no_token_that_is_about(settings: Settings, clock: SettableClock):
    """After access_ttl was lowered, revocations still outlive the tokens of before, over purges and restarts."""
    async with AuthServer(replace(settings, access_ttl=timedelta(minutes=30)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
    lowered = replace(settings, access_ttl=timedelta(minutes=1))
    async with AuthServer(lowered, clock=clock) as server:
        await Stage(server, clock).logout(pair.refresh_token)
    for minutes in (5, 20, 4):
        clock.advance(minutes * MINUTE)
        async with AuthServer(lowered, clock=clock) as server:
            stage = Stage(server, clock)
            assert (await stage.parts.purge.purge()).revocations == 0
            assert not stage.accepts(pair), "it was revoked, and has a minute to live"
    clock.advance(MINUTE + LEEWAY + 1)
    async with AuthServer(lowered, clock=clock) as server:
        stage = Stage(server, clock)
        assert (await stage.parts.purge.purge()).revocations == 1
        assert not stage.accepts(pair), "it has expired"


async def test_a_longer_life_counts_for_what_is_revoked_from_then_on(settings: Settings, clock: SettableClock):
    """After access_ttl was raised, revocations outlive the tokens of the new life."""
    async with AuthServer(replace(settings, access_ttl=timedelta(minutes=1)), clock=clock) as server:
        await Stage(server, clock).add()
    async with AuthServer(replace(settings, access_ttl=timedelta(minutes=30)), clock=clock) as server:
        stage = Stage(server, clock)
        pair = await stage.login()
        await stage.logout(pair.refresh_token)
        clock.advance(30 * MINUTE + LEEWAY)
        assert (await stage.parts.purge.purge()).revocations == 0
        clock.advance(1)
        assert (await stage.parts.purge.purge()).revocations == 1


async def test_audit_events_are_kept_as_long_as_the_setting_says(settings: Settings, clock: SettableClock):
    """Events older than audit_retention go, those of that age stay."""
    async with AuthServer(replace(settings, audit_retention=timedelta(days=2)), clock=clock) as server:
        stage = Stage(server, clock)
        before = await count(stage, "audit_events")
        await stage.add()
        clock.advance(DAY)
        await stage.add("Grace")
        clock.advance(DAY)
        await stage.parts.purge.purge()
        assert len(await stage.events("account_created")) == 2
        clock.advance(1)
        assert (await stage.parts.purge.purge()).audit_events == before + 1
        [event] = await stage.events("account_created")
        assert event["at"] == START + DAY


async def test_forgetting_is_done_in_small_batches(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """No transaction deletes more than a batch of each, so that nobody waits long, and all that may go goes."""
    monkeypatch.setattr(purge, "BATCH", 2)
    for _ in range(5):
        await stage.logout((await stage.login()).refresh_token)
    stage.clock.advance(91 * DAY)
    left: list[int] = []
    transact = stage.parts.storage.transact

    async def counted(steps: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        result = await transact(steps, *args)
        left.append(await count(stage, "sessions"))
        return result

    monkeypatch.setattr(stage.parts.storage, "transact", counted)
    purged = await stage.parts.purge.purge()
    assert (purged.sessions, purged.revocations) == (5, 5)
    assert purged.audit_events > 10
    assert left[:3] == [3, 1, 0]
    assert len(left) == -(-(purged.audit_events + 1) // 2), "the last batch is not full"
    assert await stage.parts.purge.purge() == Purged(0, 0, 0)


async def test_an_open_server_purges_by_itself(
    settings: Settings, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
):
    """Without any command, what may go goes while the server runs; what may not stays."""
    monkeypatch.setattr(chores, "PURGE_INTERVAL", 0.01)
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        await stage.login()
        clock.advance(1)
        kept = await stage.login()
        clock.advance(30 * DAY)
        async with asyncio.timeout(20):
            while await count(stage, "sessions") > 1:
                await asyncio.sleep(0.01)
        assert await stage.session(kept.refresh_token)
