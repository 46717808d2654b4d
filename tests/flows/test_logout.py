"""Logout: any rightly tagged token ends its session and its access tokens; nothing else ends anything."""

from __future__ import annotations

import pytest

from tests.flows.stage import CURL, FIREFOX, Stage
from tests.settable_clock import START
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.domain.sessions import Delivery, RefreshToken
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.jose.encoding import decode_base64url, encode_base64url

DAY = 86_400_000


@pytest.fixture
async def pair(stage: Stage, ada: Account) -> TokenPair:
    """The pair of a new login."""
    return await stage.login()


async def test_session_and_access_tokens_end_at_once(stage: Stage, ada: Account, pair: TokenPair):
    """A logout is stored, ends the access tokens in the same moment, and is remembered with where it came from."""
    second = await stage.refresh(pair.refresh_token)
    stage.clock.advance(5_000)
    assert await stage.logout(second.refresh_token, CURL) is True
    assert not stage.accepts(pair)
    assert not stage.accepts(second)
    session = await stage.session(pair.refresh_token)
    assert (session["revoked_at"], session["revoked_reason"]) == (START + 5_000, "logout")
    [event] = await stage.events("session_ended")
    assert event == {
        "at": START + 5_000,
        "kind": "session_ended",
        "actor": ada.id,
        "account_id": ada.id,
        "session_id": session["id"],
        "address": "192.0.2.2",
        "user_agent": "curl",
        "detail": "logout",
    }
    [revocation] = await stage.revocations()
    assert (revocation["kind"], revocation["value"], revocation["version"]) == ("sid", session["id"], None)
    assert (revocation["reason"], revocation["actor"]) == ("logout", ada.id)
    assert revocation["revoked_at"] == START + 5_000
    assert revocation["expires_at"] == START + 5_000 + 900_000 + 60_000


@pytest.mark.parametrize("generations_behind", [0, 1, 2, 5])
async def test_any_generation_logs_out(stage: Stage, pair: TokenPair, generations_behind: int):
    """An old tab's token ends the session too, and is no reuse."""
    newest = pair
    for _ in range(generations_behind):
        stage.clock.advance(60_000)
        newest = await stage.refresh(newest.refresh_token)
    assert await stage.logout(pair.refresh_token) is True
    assert not stage.accepts(newest)
    assert await stage.events("refresh_reused") == []


async def test_second_logout_changes_nothing(stage: Stage, pair: TokenPair):
    """Logging out twice is logging out."""
    await stage.logout(pair.refresh_token)
    stage.clock.advance(1_000)
    before = await stage.contents()
    assert await stage.logout(pair.refresh_token) is False
    assert await stage.contents() == before


async def test_forged_token_ends_nothing(stage: Stage, pair: TokenPair):
    """Who knows a session's id but not its token cannot end it."""
    raw = decode_base64url(pair.refresh_token[4:])
    before = await stage.contents()
    for forged in (raw[:21] + bytes(32), raw[:-1] + bytes([raw[-1] ^ 1])):
        assert await stage.logout("tkr_" + encode_base64url(forged)) is False
    assert await stage.contents() == before
    assert stage.accepts(pair)


@pytest.mark.parametrize("text", ["", "x", "tkr_", "tkr_" + "A" * 71, "tkr_" + "é" * 71, "\0" * 75])
async def test_text_that_is_no_token_ends_nothing(stage: Stage, pair: TokenPair, text: str):
    """Malformed text is as good as none."""
    assert await stage.logout(text) is False
    assert stage.accepts(pair)


async def test_other_sessions_stay(stage: Stage, pair: TokenPair):
    """A logout ends this session only."""
    other = await stage.login()
    await stage.logout(pair.refresh_token)
    assert stage.accepts(other)
    assert await stage.refresh(other.refresh_token)


@pytest.mark.parametrize("delivery", list(Delivery))
async def test_both_deliveries_log_out(stage: Stage, ada: Account, delivery: Delivery):
    """However its tokens travel, a session can be ended."""
    pair = await stage.login(delivery=delivery)
    assert await stage.logout(pair.refresh_token) is True
    assert not stage.accepts(pair)


async def test_session_that_expired_can_be_ended(stage: Stage, pair: TokenPair):
    """A logout with an old token works, so that nothing stays open in the books."""
    stage.clock.advance(60 * DAY)
    assert await stage.logout(pair.refresh_token) is True


async def test_session_of_a_disabled_account_is_over_already(stage: Stage, pair: TokenPair):
    """What disabling ended is not ended again."""
    await stage.server.accounts.disable("Ada", actor="operator")
    assert await stage.logout(pair.refresh_token) is False
    assert (await stage.session(pair.refresh_token))["revoked_reason"] == "account_disabled"


async def test_session_that_was_reused_is_over_already(stage: Stage, pair: TokenPair):
    """What a reuse ended keeps its reason."""
    await stage.refresh(pair.refresh_token)
    stage.clock.advance(10_000)
    with pytest.raises(Exception, match="reused"):
        await stage.refresh(pair.refresh_token)
    assert await stage.logout(pair.refresh_token) is False
    assert (await stage.session(pair.refresh_token))["revoked_reason"] == "reuse"


async def test_logout_that_could_not_be_stored_is_none(stage: Stage, pair: TokenPair):
    """Without the database a logout fails, so that nobody believes in one that was not made durable."""
    await stage.database.close()
    with pytest.raises(StorageUnavailable):
        await stage.logout(pair.refresh_token)
    await stage.database.open()
    assert stage.accepts(pair)
    assert await stage.logout(pair.refresh_token) is True


async def test_login_after_logout_is_a_new_session(stage: Stage, pair: TokenPair):
    """A logout in the same millisecond does not reach a session that begins after it."""
    await stage.logout(pair.refresh_token)
    again = await stage.login(client=FIREFOX)
    assert stage.accepts(again)
    ids = {RefreshToken.parse(each.refresh_token).session_id for each in (pair, again)}
    assert len(ids) == 2
