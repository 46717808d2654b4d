"""The pair of tokens: what an embedding application may add to an access token, and what it may not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.flows.stage import Stage
from tests.settable_clock import SettableClock
from tokenkeep.contract.access_token import RESERVED_CLAIMS
from tokenkeep.domain.accounts import Account
from tokenkeep.jose import jwt
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings


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


@pytest.mark.parametrize("name", sorted(RESERVED_CLAIMS))
async def test_reserved_claim_is_refused(settings: Settings, clock: SettableClock, name: str):
    """The hook can neither replace nor add what decides about a token."""
    with pytest.raises(ValueError, match=name):
        await claims_with(settings, clock, {name: "forged", "tenant": "blue"})
