"""Two server processes on one PostgreSQL and one Redis: limits are shared, revocations are known at once, and any
trouble of Redis costs nothing but that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import httpx2
import pytest

from tests.api.caller import PASSWORD, Caller
from tests.redis_server import RedisServer
from tokenkeep import chores
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.settings.kinds import Rate
from tokenkeep.storage import redis as redis_link

LONGEST_WAIT = 30.0
LONGEST_DELAY = 5.0
"""Seconds in which a loaded machine does what takes less than one."""
NEVER = 3600.0
HERE, ELSEWHERE = "192.0.2.7", "198.51.100.7"
pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("postgres")]


@pytest.fixture
def shared(postgres_settings: Settings, redis: RedisServer) -> Settings:
    """Settings of both processes."""
    return replace(
        postgres_settings,
        redis_url=Secret(redis.url),
        redis_prefix=redis.new_prefix(),
        rate_limits=True,
        login_limit_address=Rate(6, timedelta(minutes=10)),
        revocation_max_staleness=timedelta(minutes=1),
        ops_token=Secret("an-operations-token-of-32-chars."),
    )


@pytest.fixture
async def pair(shared: Settings) -> AsyncIterator[tuple[AuthServer, AuthServer]]:
    """Two open servers, and an account."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AuthServer(shared))
        second = await stack.enter_async_context(AuthServer(replace(shared)))
        await first.accounts.create("Ada", PASSWORD, role="user", actor="operator")
        yield first, second


async def login(server: AuthServer, address: str = ELSEWHERE, *, password: str = PASSWORD) -> httpx2.Response:
    """Try a password."""
    return await Caller(server, address)("POST", "/login", json={"name": "Ada", "password": password})


async def accepts(server: AuthServer, answer: httpx2.Response) -> bool:
    """Tell whether a server accepts the access token of an answer; it must not fail."""
    got = await Caller(server, HERE)("GET", "/me", bearer=answer.json()["accessToken"])
    assert got.status_code in {200, 401}
    return got.status_code == 200


async def logout(server: AuthServer, answer: httpx2.Response) -> None:
    """Log out with the cookie of an answer."""
    cookie = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert (await Caller(server, HERE)("POST", "/logout", cookie=cookie)).status_code == 200


async def until_refused(server: AuthServer, answer: httpx2.Response) -> float:
    """Return after how many seconds a server refuses the access token of an answer."""
    began = time.monotonic()
    async with asyncio.timeout(LONGEST_WAIT):
        while await accepts(server, answer):
            await asyncio.sleep(0.001)
    return time.monotonic() - began


async def up(server: AuthServer) -> str:
    """Return what the metric says of Redis."""
    answer = await Caller(server, HERE)("GET", "/metrics", bearer="an-operations-token-of-32-chars.")
    return next(line for line in answer.text.splitlines() if line.startswith("tokenkeep_redis_up"))


@pytest.mark.usefixtures("patient")
async def test_limits_are_shared_and_each_process_has_its_own_while_redis_is_away(
    pair: tuple[AuthServer, AuthServer], redis: RedisServer
):
    """Six logins are let in by both together; without Redis, six by each; nothing is answered 500."""
    wrong = "wrong-horse-battery"
    answers = [(await login(pair[turn % 2], HERE, password=f"{wrong}{turn}")).status_code for turn in range(8)]
    assert answers == [401] * 6 + [429] * 2
    assert [await up(server) for server in pair] == ["tokenkeep_redis_up 1.0"] * 2
    redis.stop()
    try:
        for server in pair:
            answers = [(await login(server, HERE, password=f"{wrong}{turn}")).status_code for turn in range(8)]
            assert answers == [401] * 6 + [429] * 2
            assert (await Caller(server, HERE)("GET", "/readyz")).status_code == 200
        assert [await up(server) for server in pair] == ["tokenkeep_redis_up 0.0"] * 2
    finally:
        redis.start()
    async with asyncio.timeout(LONGEST_WAIT):
        while {await up(server) for server in pair} != {"tokenkeep_redis_up 1.0"}:
            await asyncio.sleep(0.01)
    assert (await login(pair[0], HERE, password=wrong)).status_code == 401


@pytest.mark.usefixtures("patient")
async def test_a_revocation_is_known_everywhere_at_once(
    shared: Settings, monkeypatch: pytest.MonkeyPatch, pair: tuple[AuthServer, AuthServer]
):
    """A process that only reads when it is called refuses a token well within the tenth of a second that is aimed at.

    Of several the quickest counts: the first ones have connections to make, and others wait for a loaded machine.
    """
    monkeypatch.setattr(chores, "REVOCATION_POLL", NEVER)
    monkeypatch.setattr(chores, "CALL_INTERVAL", NEVER)
    first = pair[0]
    async with AuthServer(shared) as called:
        seconds = []
        for _ in range(6):
            session = await login(first)
            assert await accepts(called, session)
            await logout(first, session)
            seconds.append(await until_refused(called, session))
        assert min(seconds) < 0.1, seconds


@pytest.mark.usefixtures("patient")
async def test_what_was_missed_is_read_when_redis_is_there_again(
    shared: Settings, monkeypatch: pytest.MonkeyPatch, pair: tuple[AuthServer, AuthServer], redis: RedisServer
):
    """A call that was made while Redis was away is made up for, although nobody calls again."""
    monkeypatch.setattr(chores, "REVOCATION_POLL", NEVER)
    monkeypatch.setattr(chores, "CALL_INTERVAL", NEVER)
    first = pair[0]
    async with AuthServer(shared) as called:
        session = await login(first)
        assert await accepts(called, session)
        redis.stop()
        try:
            await logout(first, session)
            assert not await accepts(first, session)
            assert await accepts(called, session), "without a call nothing is known"
        finally:
            redis.start()
        await until_refused(called, session)


@pytest.mark.parametrize("trouble", ["stopped", "frozen", "flushed"])
async def test_no_trouble_of_redis_revives_or_delays(
    trouble: str, pair: tuple[AuthServer, AuthServer], redis: RedisServer
):
    """A logout is answered at once and known to the other process within a second; what was revoked stays so."""
    first, second = pair
    before, during = await login(first), await login(first)
    await logout(first, before)
    await until_refused(second, before)
    if trouble == "flushed":
        redis.ask("FLUSHALL")
    elif trouble == "stopped":
        redis.stop()
    frozen = redis.frozen() if trouble == "frozen" else None
    if frozen is not None:
        frozen.__enter__()
    try:
        began = time.monotonic()
        await logout(first, during)
        assert time.monotonic() - began < LONGEST_DELAY
        assert await until_refused(second, during) < LONGEST_DELAY
        assert redis_link.ANSWER_TIMEOUT + chores.REVOCATION_POLL < 1
        assert not await accepts(second, before)
        assert (await login(second)).status_code == 200
    finally:
        if frozen is not None:
            frozen.__exit__(None, None, None)
        if trouble == "stopped":
            redis.start()
    for session in (before, during):
        assert not await accepts(first, session)
        assert not await accepts(second, session)
