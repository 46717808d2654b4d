"""The pair of tokens: what an embedding application may add to an access token, and what it may not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, TypeVarTuple

import pytest

from tests.flows.stage import Stage
from tests.settable_clock import SettableClock
from tokenkeep.contract.access_token import RESERVED_CLAIMS
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import NoValidRefreshToken, StorageUnavailable
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.jose import jwt
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Interrupted:
    """The real storage, and something that happens after each of its looks and before the next transaction."""

    def __init__(self, storage: Storage, interruption: Callable[[int], Awaitable[object]]) -> None:
        self._storage = storage
        self._interruption = interruption
        self.looks = 0

    async def read(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Look, then let it happen; it is told which look this was."""
        found = await self._storage.read(steps, *args)
        self.looks += 1
        await self._interruption(self.looks)
        return found

    async def transact(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what the real storage does."""
        return await self._storage.transact(steps, *args)

    async def change_once(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what the real storage does."""
        return await self._storage.change_once(steps, *args)


def tell_role(account: Account) -> Mapping[str, Any]:
    """Add a claim that depends on the role: what a hook is for."""
    return {"may_pay": account.role == "admin"}


async def claims_with(settings: Settings, clock: SettableClock, extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the claims of an access token of a server whose hook adds these."""
    async with AuthServer(settings, clock=clock, claims=lambda _: extra) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
        assert stage.accepts(pair)
        return jwt.decode_unverified(pair.access_token).claims


async def test_hook_adds_claims(settings: Settings, clock: SettableClock):
    """What the hook returns is in the token, beside what the server writes."""
    claims = await claims_with(settings, clock, {"tenant": "blue", "groups": ["a", "b"], "nested": {"x": 1}})
    assert claims["tenant"] == "blue"
    assert claims["groups"] == ("a", "b")
    assert claims["nested"]["x"] == 1
    assert claims["name"] == "Ada"


async def test_hook_is_asked_for_each_token(settings: Settings, clock: SettableClock):
    """A refresh asks the hook again, with the account as it is now."""
    seen: list[Account] = []

    def hook(account: Account) -> Mapping[str, Any]:
        seen.append(account)
        return {"asked": len(seen)}

    async with AuthServer(settings, clock=clock, claims=hook) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
        await server.accounts.set_role("Ada", "admin", actor="operator")
        renewed = await stage.refresh(pair.refresh_token)
        assert jwt.decode_unverified(renewed.access_token).claims["asked"] == 2
    assert [account.role for account in seen] == ["user", "admin"]


@pytest.mark.parametrize("repeated", [False, True], ids=["rotation", "repetition"])
async def test_refresh_never_carries_what_a_role_before_allowed(
    settings: Settings, clock: SettableClock, repeated: bool
):
    """A role that is taken away between the hook's answer and the rotation takes the hook's claims with it."""
    async with AuthServer(settings, clock=clock, claims=tell_role) as server:
        stage = Stage(server, clock)
        await stage.add(role="admin")
        pair = await stage.login()
        assert jwt.decode_unverified(pair.access_token).claims["may_pay"]
        if repeated:
            await stage.refresh(pair.refresh_token)
        refresh = stage.parts.services.refresh

        async def demote(look: int) -> None:
            if look == 1:
                await server.accounts.set_role("Ada", "user", actor="operator")

        refresh._storage = storage = Interrupted(refresh._storage, demote)
        renewed = await stage.refresh(pair.refresh_token)
        assert storage.looks == 2
        claims = jwt.decode_unverified(renewed.access_token).claims
        assert (claims["role"], claims["may_pay"], claims["ver"]) == ("user", False, 2)
        assert stage.accepts(renewed)


async def test_account_that_never_rests_is_told_to_come_again(settings: Settings, clock: SettableClock):
    """When the account changes at each look, the refresh is refused as unavailable, and the token is not spent."""
    async with AuthServer(settings, clock=clock, claims=tell_role) as server:
        stage = Stage(server, clock)
        await stage.add(role="admin")
        pair = await stage.login()
        refresh = stage.parts.services.refresh

        async def change(look: int) -> None:
            await server.accounts.set_role("Ada", ("user", "admin")[look % 2], actor="operator")

        storage, refresh._storage = refresh._storage, Interrupted(refresh._storage, change)
        await server.accounts.set_role("Ada", "user", actor="operator")
        before = await stage.session(pair.refresh_token)
        with pytest.raises(StorageUnavailable):
            await stage.refresh(pair.refresh_token)
        assert await stage.session(pair.refresh_token) == before
        assert await stage.events("refresh_rotated", "refresh_replayed") == []
        refresh._storage = storage
        renewed: TokenPair = await stage.refresh(pair.refresh_token)
        assert jwt.decode_unverified(renewed.access_token).claims["ver"] == (await stage.account())["token_version"]


async def test_refusal_asks_the_application_once(settings: Settings, clock: SettableClock):
    """What is refused anyway, whatever the account is now, is refused at once."""
    asked: list[str] = []

    def hook(account: Account) -> Mapping[str, Any]:
        asked.append(account.role)
        return {}

    async with AuthServer(settings, clock=clock, claims=hook) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
        await stage.logout(pair.refresh_token)
        asked.clear()
        with pytest.raises(NoValidRefreshToken):
            await stage.refresh(pair.refresh_token)
        assert asked == ["user"]


@pytest.mark.parametrize("name", sorted(RESERVED_CLAIMS))
async def test_reserved_claim_is_refused(settings: Settings, clock: SettableClock, name: str):
    """The hook can neither replace nor add what decides about a token."""
    with pytest.raises(ValueError, match=name):
        await claims_with(settings, clock, {name: "forged", "tenant": "blue"})
