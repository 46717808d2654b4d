"""One access token is revoked, and nothing else: not its session, not its siblings."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.flows.stage import Stage
from tests.settable_clock import SettableClock
from tokenkeep.contract.access_token import TOKEN_TYPE
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.sessions import RefreshToken
from tokenkeep.flows.authority import Authority
from tokenkeep.jose import Key, jwt
from tokenkeep.jose.errors import TokenError
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

BY_OPERATOR = Authority(OPERATOR)
LIFE = 900_000


async def test_exactly_that_token_is_refused(stage: Stage, ada: Account):
    """The token is refused from now on; another one of the same session is accepted, and the session goes on."""
    first = await stage.login()
    second = await stage.refresh(first.refresh_token)
    token = await stage.parts.revoke_token.revoke(first.access_token, by=BY_OPERATOR)
    assert token.token_id == jwt.decode_unverified(first.access_token).claims["jti"]
    assert not stage.accepts(first)
    assert stage.accepts(second)
    assert stage.accepts(await stage.refresh(second.refresh_token))
    [revocation] = await stage.revocations()
    assert (revocation["kind"], revocation["value"], revocation["reason"]) == ("jti", token.token_id, "token_revoked")


async def test_the_end_of_a_token_is_remembered(stage: Stage, ada: Account):
    """The event names the account, the session and the token's id, never the token."""
    pair = await stage.login()
    token = await stage.parts.revoke_token.revoke(pair.access_token, by=BY_OPERATOR)
    [event] = await stage.events("token_revoked")
    assert (event["actor"], event["account_id"], event["detail"]) == ("operator", ada.id, token.token_id)
    assert event["session_id"] == RefreshToken.parse(pair.refresh_token).session_id
    assert pair.access_token not in str(event)


async def test_it_outlives_a_restart(settings: Settings, clock: SettableClock):
    """A revoked token is refused by the next process, too."""
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        first = await stage.login()
        second = await stage.refresh(first.refresh_token)
        await stage.parts.revoke_token.revoke(first.access_token, by=BY_OPERATOR)
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        assert not stage.accepts(first)
        assert stage.accepts(second)


async def test_a_token_for_another_audience_can_be_revoked(settings: Settings, clock: SettableClock):
    """Tokens for services elsewhere are this server's, too."""
    audience = "https://orders.example.com"
    async with AuthServer(replace(settings, audiences=(audience,)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login(audience=audience)
        assert (await stage.parts.revoke_token.revoke(pair.access_token, by=BY_OPERATOR)).audience == (audience,)
        assert [row["kind"] for row in await stage.revocations()] == ["jti"]


async def test_no_setting_is_needed_to_know_ones_own_token(settings: Settings, clock: SettableClock):
    """Who holds the keys can revoke a token whatever it takes for the issuer, as a command beside a server may."""
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
    async with AuthServer(replace(settings, issuer="http://127.0.0.1:9000"), clock=clock) as server:
        await server.graph.revoke_token.revoke(pair.access_token, by=BY_OPERATOR)
    async with AuthServer(settings, clock=clock) as server:
        assert not Stage(server, clock).accepts(pair)


async def test_what_is_no_good_token_is_refused(stage: Stage, ada: Account):
    """A forged, foreign, damaged or expired token, and a refresh token, revoke nothing."""
    pair = await stage.login()
    issued = {"issuer": "http://127.0.0.1:8000", "audience": "http://127.0.0.1:8000", "lifetime": timedelta(minutes=5)}
    foreign = jwt.issue(
        {"client_id": "tokenkeep"}, Key.generate("ES256"), subject=ada.id, token_type=TOKEN_TYPE, now=0, **issued
    )
    before = await stage.contents()
    for text in ("", "x", pair.access_token[:-4] + "AAAA", pair.access_token + "x", pair.refresh_token, foreign):
        with pytest.raises(TokenError):
            await stage.parts.revoke_token.revoke(text, by=BY_OPERATOR)
    stage.clock.advance(LIFE + 60_000 - 1_000)
    assert await stage.parts.revoke_token.revoke(pair.access_token, by=BY_OPERATOR), "some verifier may accept it still"
    assert len(await stage.revocations()) == 1
    stage.clock.advance(1_000)
    with pytest.raises(TokenError, match="expired"):
        await stage.parts.revoke_token.revoke(pair.access_token, by=BY_OPERATOR)
    assert len(await stage.revocations()) == 1
    assert before["sessions"] == (await stage.contents())["sessions"]
