"""Logouts are limited by address where they end nothing; one that ends a session costs nobody anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.flows.stage import CURL, FIREFOX, Stage
from tests.settable_clock import SettableClock
from tokenkeep.domain.errors import StorageUnavailable, Throttled
from tokenkeep.jose.encoding import encode_base64url
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.settings.kinds import Rate

FORGED = "tkr_" + encode_base64url(b"\1" + bytes(52))
QUOTA = 3


@pytest.fixture
async def stage(settings: Settings, clock: SettableClock) -> AsyncIterator[Stage]:
    """A server that lets three logouts in vain be tried in a minute."""
    limited = replace(settings, logout_limit_address=Rate(QUOTA, timedelta(minutes=1)))
    async with AuthServer(limited, clock=clock) as server:
        yield Stage(server, clock)


async def exhaust(stage: Stage) -> None:
    """Use up the quota of Firefox's address."""
    for _ in range(QUOTA):
        assert await stage.logout(FORGED) is False


async def test_logouts_in_vain_are_limited_before_the_database_is_asked(stage: Stage):
    """Forged tokens, each of which would cost a look at the database, soon cost none; other addresses stay free."""
    await exhaust(stage)
    await stage.database.close()
    with pytest.raises(Throttled) as refusal:
        await stage.logout(FORGED)
    assert refusal.value.retry_after == 20
    with pytest.raises(StorageUnavailable):
        await stage.logout(FORGED, CURL)
    await stage.database.open()


async def test_text_that_is_no_token_costs_nothing(stage: Stage):
    """What is no token is not looked up, and is not counted."""
    for _ in range(QUOTA * 3):
        assert await stage.logout("no token") is False
    await exhaust(stage)


async def test_a_crowd_behind_one_address_logs_out_at_once(stage: Stage):
    """A logout that ends a session takes nobody's room, however many there are."""
    await stage.add()
    for pair in [await stage.login() for _ in range(QUOTA * 4)]:
        assert await stage.logout(pair.refresh_token) is True
    await exhaust(stage)


async def test_a_limited_logout_has_ended_nothing_and_can_be_repeated(stage: Stage):
    """Whoever is refused is told so, still has the session, and ends it when the time has come."""
    await stage.add()
    pair = await stage.login()
    await exhaust(stage)
    with pytest.raises(Throttled) as refusal:
        await stage.logout(pair.refresh_token)
    assert stage.accepts(pair)
    stage.clock.elapse(refusal.value.retry_after)
    await stage.parts.key_ring.reload()
    assert await stage.logout(pair.refresh_token, FIREFOX) is True
    assert not stage.accepts(pair)


async def test_where_attempts_are_not_limited_logouts_are_not(settings: Settings, clock: SettableClock):
    """With limits off, as on a loopback address, forged tokens are refused without end."""
    free = replace(settings, rate_limits=False, logout_limit_address=Rate(1, timedelta(minutes=1)))
    async with AuthServer(free, clock=clock) as server:
        for _ in range(5):
            assert await Stage(server, clock).logout(FORGED) is False
