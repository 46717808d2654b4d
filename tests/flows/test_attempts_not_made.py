"""An attempt whose password was not checked is none: a server that is too busy slows nobody's next login down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.flows.stage import FIREFOX, PASSWORD, Stage
from tests.settable_clock import SettableClock
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import HashingBusy, InvalidCredentials, Throttled
from tokenkeep.domain.limits import FREE_FAILURES, NEWCOMER
from tokenkeep.domain.sessions import Client
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.replace_password import Passwords
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.settings.kinds import Rate
from tokenkeep.storage.memory import MemoryLimiter

Attempt = Callable[[str], Awaitable[object]]
WRONG = "wrong-horse-battery"


async def fail(attempt: Attempt, times: int) -> None:
    """Guess wrongly so many times."""
    for _ in range(times):
        with pytest.raises(InvalidCredentials):
            await attempt(WRONG)


async def find_busy(stage: Stage, attempt: Attempt, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Try so many times while too many passwords are waiting."""

    async def verify(*_: object) -> bool:
        raise HashingBusy

    with monkeypatch.context() as patched:
        patched.setattr(stage.parts.hasher, "verify", verify)
        for _ in range(times):
            with pytest.raises(HashingBusy):
                await attempt(PASSWORD)


def by_login(stage: Stage, _pair: TokenPair) -> Attempt:
    """Return an attempt to log in."""
    return lambda password: stage.login(password=password)


def by_change(stage: Stage, pair: TokenPair) -> Attempt:
    """Return an attempt to change the password."""
    change = stage.parts.services.change_password.change
    return lambda password: change(stage.read(pair), Passwords(password, "another-good-password"), FIREFOX)


@pytest.mark.parametrize("way", [by_login, by_change])
async def test_a_busy_server_counts_no_attempt(
    stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch, way: Callable[[Stage, TokenPair], Attempt]
):
    """After any number of 503 there are as many free failures as before, and the right password opens at once."""
    attempt = way(stage, await stage.login())
    await fail(attempt, FREE_FAILURES - 1)
    await find_busy(stage, attempt, monkeypatch, 20)
    await fail(attempt, 1)
    await attempt(PASSWORD)


@pytest.mark.parametrize("way", [by_login, by_change])
async def test_a_busy_server_starts_no_delay_anew(
    stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch, way: Callable[[Stage, TokenPair], Attempt]
):
    """Who has waited out a delay and then finds the server busy need not wait again, nor longer."""
    attempt = way(stage, await stage.login())
    with pytest.raises(Throttled):  # a change comes from a place that is new for it, where two more are let in
        await fail(attempt, FREE_FAILURES + NEWCOMER.count + 2)
    stage.clock.elapse(1.0)
    await find_busy(stage, attempt, monkeypatch, 3)
    await attempt(PASSWORD)


async def test_an_attempt_for_which_there_is_no_room_in_all_is_none(settings: Settings, clock: SettableClock):
    """When everyone's quota is spent, a name is not held responsible for what it was not asked."""
    crowded = replace(settings, login_limit_everyone=Rate(1, timedelta(seconds=1)))
    async with AuthServer(crowded, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        await stage.login()
        elsewhere = Client("Firefox", "198.51.100.20")
        for _ in range(FREE_FAILURES * 2):
            with pytest.raises(Throttled, match="login-everyone"):
                await stage.login(client=elsewhere)
        clock.elapse(1.0)
        assert await stage.login(client=elsewhere)


async def test_a_busy_server_forgives_nothing(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """Failures of before still count: whoever makes the server busy gets no free guesses by it."""
    attempt = by_login(stage, await stage.login())
    await fail(attempt, FREE_FAILURES)
    await find_busy(stage, attempt, monkeypatch, 10)
    await fail(attempt, 1)
    with pytest.raises(Throttled):
        await attempt(PASSWORD)


async def test_nothing_is_taken_back_that_was_not_begun(clock: SettableClock):
    """Taking back an attempt on a name that has none, or whose attempts were forgiven, leaves it with none."""
    limiter = MemoryLimiter(clock)
    await limiter.take_back("ada")
    await limiter.begin("ada")
    await limiter.forgive("ada")
    await limiter.take_back("ada")
    for _ in range(FREE_FAILURES + 1):
        assert await limiter.begin("ada") == 0
    assert await limiter.begin("ada") == 1
