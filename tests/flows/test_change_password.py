"""Changing one's password: the old one is needed, everything of before ends, and a new session begins."""

from __future__ import annotations

import asyncio

import pytest

from tests.flows.stage import CURL, FIREFOX, PASSWORD, Stage, count_checks
from tests.settable_clock import START
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import InvalidCredentials, InvalidField, NoValidRefreshToken, Unavailable
from tokenkeep.domain.sessions import Client, Delivery
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.replace_password import Passwords

NEW_PASSWORD = "another-good-password"


async def change(
    stage: Stage, pair: TokenPair, current: str = PASSWORD, new: str = NEW_PASSWORD, *, client: Client = FIREFOX
) -> tuple[TokenPair, Delivery]:
    """Change the password of the account whose access token this is."""
    return await stage.parts.services.change_password.change(stage.read(pair), Passwords(current, new), client)


async def test_everything_of_before_ends(stage: Stage, ada: Account):
    """All sessions, this one too, and all access tokens end; the old password opens nothing; a new session is there."""
    mine, elsewhere = await stage.login(), await stage.login(client=CURL)
    stage.clock.advance(1_000)
    renewed, _ = await change(stage, mine, client=CURL)
    for pair in (mine, elsewhere):
        assert not stage.accepts(pair)
        assert (await stage.session(pair.refresh_token))["revoked_reason"] == "password_changed"
        with pytest.raises(NoValidRefreshToken):
            await stage.refresh(pair.refresh_token)
    assert stage.accepts(renewed)
    assert stage.read(renewed).authenticated_at == (START + 1_000) // 1000
    assert await stage.refresh(renewed.refresh_token, client=CURL)
    with pytest.raises(InvalidCredentials):
        await stage.login()
    assert await stage.login(password=NEW_PASSWORD)
    [event] = await stage.events("password_changed")
    assert (event["actor"], event["account_id"], event["user_agent"]) == (ada.id, ada.id, "curl")


async def test_a_change_is_no_login(stage: Stage, ada: Account):
    """When the account last logged in is not when its password was changed."""
    pair = await stage.login()
    stage.clock.advance(1_000)
    await change(stage, pair)
    assert (await stage.account())["last_login_at"] == START


async def test_who_knows_the_password_leaves_a_trace(stage: Stage, ada: Account):
    """A right current password is noted although the new one is refused: a thief's guess is not confirmed unseen."""
    pair = await stage.login()
    with pytest.raises(InvalidField):
        await change(stage, pair, new="short", client=CURL)
    await stage.parts.refusals.flush()
    [event] = await stage.events("login_refused")
    assert (event["account_id"], event["address"]) == (ada.id, CURL.address)
    assert event["detail"] == "right password, but the new one is refused"


@pytest.mark.parametrize("current", [PASSWORD, "wrong-horse-battery"])
async def test_without_a_key_no_password_is_checked(
    stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch, current: str
):
    """While there is no key to sign with, a bearer learns nothing about the password either."""
    pair = await stage.login()
    token = stage.read(pair)
    await stage.execute("UPDATE signing_keys SET state = 'retired' WHERE state = 'active'")
    await stage.parts.key_ring.reload()
    before = await stage.contents()
    checked = count_checks(monkeypatch)
    with pytest.raises(Unavailable):
        await stage.parts.services.change_password.change(token, Passwords(current, NEW_PASSWORD), FIREFOX)
    assert checked == []
    assert await stage.contents() == before


@pytest.mark.parametrize("delivery", list(Delivery))
async def test_new_session_is_delivered_as_the_old_one(stage: Stage, ada: Account, delivery: Delivery):
    """A program gets the new token in the body, a browser in the cookie."""
    pair = await stage.login(delivery=delivery)
    renewed, delivered = await change(stage, pair)
    assert delivered is delivery
    assert (await stage.session(renewed.refresh_token))["delivery"] == delivery


@pytest.mark.parametrize("current", ["", "wrong-horse-battery", PASSWORD + " ", NEW_PASSWORD])
async def test_wrong_password_changes_nothing(
    stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch, current: str
):
    """An access token alone is not enough; a refusal costs one hash and leaves everything."""
    pair = await stage.login()
    before = await stage.contents()
    checked = count_checks(monkeypatch)
    with pytest.raises(InvalidCredentials):
        await change(stage, pair, current)
    assert len(checked) == 1
    assert await stage.contents() == before


@pytest.mark.parametrize("new", ["", "too-short-one!", "x" * 1025, "AdaAdaAdaAdaAda"])
async def test_new_password_obeys_the_rules(stage: Stage, ada: Account, new: str):
    """A password that may not be set is refused under the name of its field, and changes nothing."""
    pair = await stage.login()
    before = await stage.contents()
    with pytest.raises(InvalidField) as refusal:
        await change(stage, pair, new=new)
    assert refusal.value.field == "newPassword"
    assert await stage.contents() == before


async def test_impossible_current_password_is_called_by_its_name(stage: Stage, ada: Account):
    """The refusal of a password that no account can have names the field it came in."""
    pair = await stage.login()
    with pytest.raises(InvalidField) as refusal:
        await change(stage, pair, current="x" * 1025)
    assert refusal.value.field == "currentPassword"


async def test_of_two_changes_at_once_one_wins(stage: Stage, ada: Account):
    """Two requests that both know the old password end with one new password and one live session."""
    pair = await stage.login()
    news = [f"another-good-password-{number}" for number in range(4)]
    outcomes = await asyncio.gather(*(change(stage, pair, new=new) for new in news), return_exceptions=True)
    winners = [new for new, outcome in zip(news, outcomes, strict=True) if not isinstance(outcome, BaseException)]
    assert len(winners) == 1
    assert await stage.login(password=winners[0])
    assert len(await stage.rows("SELECT id FROM sessions WHERE revoked_at IS NULL")) == 2


async def test_disabled_account_changes_nothing(stage: Stage, ada: Account):
    """A change that was under way when the account was disabled is refused."""
    pair = await stage.login()
    token = stage.read(pair)
    await stage.server.accounts.disable("Ada", actor="operator")
    with pytest.raises(InvalidCredentials):
        await stage.parts.services.change_password.change(token, Passwords(PASSWORD, NEW_PASSWORD), FIREFOX)
