"""Administrators elsewhere, at once: whatever they do to each other, one of them is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.flows.stage import PASSWORD, Stage
from tests.settable_clock import SettableClock
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.errors import Forbidden, LastAdministrator, PasswordChangeRequired
from tokenkeep.flows.authority import Authority
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings

SECRET = Secret("a server secret of thirty-two bytes or more")


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.xdist_group("postgres")])]
)
def somewhere(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings of a server on each engine in turn."""
    if request.param == "sqlite":
        return settings
    return replace(settings, database_url=Secret(request.getfixturevalue("postgres_schema").url), secret=SECRET)


@pytest.fixture
async def anywhere(somewhere: Settings, clock: SettableClock) -> AsyncIterator[AuthServer]:
    """An open server on each engine in turn."""
    async with AuthServer(somewhere, clock=clock) as server:
        yield server


async def administrators(server: AuthServer) -> list[Account]:
    """Return those who can act as administrators."""
    return [account for account in await server.accounts.list() if account.administers]


def of(account: Account) -> Authority:
    """Return the authority that an administrator's access token gives."""
    return Authority(account.id, token_version=account.token_version)


async def test_administrators_who_resign_at_once_leave_one(anywhere: AuthServer):
    """Of several who give up the role, disable or delete themselves at the same time, one is refused."""
    administer = anywhere.graph.services.administer
    for turn in range(3):
        team = [
            await anywhere.accounts.create(f"Root {turn} {number}", PASSWORD, role="admin", actor=OPERATOR)
            for number in range(3)
        ]
        for account in await administrators(anywhere):
            if account.id not in {each.id for each in team}:
                await anywhere.accounts.delete(account.name, actor=OPERATOR)
        outcomes = await asyncio.gather(
            administer.disable(team[0].id, by=of(team[0])),
            administer.set_role(team[1].id, "user", by=of(team[1])),
            administer.delete(team[2].id, by=of(team[2])),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes].count(LastAdministrator) == 1, outcomes
        assert len(await administrators(anywhere)) == 1


async def test_administrators_who_disable_each_other_leave_one(anywhere: AuthServer):
    """Whoever comes second has lost the role in the same moment, and is refused."""
    administer = anywhere.graph.services.administer
    ada = await anywhere.accounts.create("Ada", PASSWORD, role="admin", actor=OPERATOR)
    bob = await anywhere.accounts.create("Bob", PASSWORD, role="admin", actor=OPERATOR)
    outcomes = await asyncio.gather(
        administer.disable(bob.id, by=of(ada)), administer.disable(ada.id, by=of(bob)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes].count(Forbidden) == 1, outcomes
    assert len(await administrators(anywhere)) == 1


async def test_first_password_is_as_long_as_the_policy_wants(settings: Settings, clock: SettableClock):
    """Whatever the least length of passwords is, the one that is drawn has it."""
    async with AuthServer(replace(settings, password_min_length=64), clock=clock) as server:
        stage = Stage(server, clock)
        root = await stage.add("Root", role="admin", password=PASSWORD * 4)
        created = await server.graph.services.administer.create("Ada", "user", by=of(root))
        assert len(created.first_password) == 64
        assert created.first_password not in repr(created)
        with pytest.raises(PasswordChangeRequired):
            await stage.login("Ada", created.first_password)


async def test_role_that_is_lost_meanwhile_creates_nobody(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Who loses the role while the first password is being hashed has created nobody."""
    root = await stage.add("Root", role="admin")
    hash_password = stage.parts.hasher.hash

    async def hash_and_demote(password: str) -> str:
        await stage.server.accounts.set_role("Root", "user", actor=OPERATOR)
        return await hash_password(password)

    monkeypatch.setattr(stage.parts.hasher, "hash", hash_and_demote)
    with pytest.raises(Forbidden):
        await stage.parts.services.administer.create("Eve", "admin", by=of(root))
    assert [account.name for account in await stage.server.accounts.list()] == ["Root"]


async def test_nobody_who_may_not_ask_makes_the_server_hash(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Who has lost the role is refused before any password is hashed."""
    root = await stage.add("Root", role="admin")
    by = of(root)
    await stage.server.accounts.set_role("Root", "user", actor=OPERATOR)

    async def hash_nothing(_password: str) -> str:
        raise AssertionError("a password was hashed")

    monkeypatch.setattr(stage.parts.hasher, "hash", hash_nothing)
    with pytest.raises(Forbidden):
        await stage.parts.services.administer.create("Eve", "admin", by=by)
