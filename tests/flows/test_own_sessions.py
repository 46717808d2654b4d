"""One's own sessions: seen, ended one by one or all at once, and nobody else's touched."""

from __future__ import annotations

import pytest

from tests.flows.stage import CURL, FIREFOX, Stage
from tests.settable_clock import START
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import InvalidCredentials, NotFound, NoValidRefreshToken
from tokenkeep.domain.identifiers import SessionId
from tokenkeep.domain.sessions import RefreshToken
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.find_account import by_id
from tokenkeep.flows.issue_tokens import TokenPair

DAY = 86_400_000


def session_of(pair: TokenPair) -> SessionId:
    """Return the id of a pair's session."""
    return RefreshToken.parse(pair.refresh_token).session_id


async def test_live_sessions_are_listed_last_used_first(stage: Stage, ada: Account):
    """Ended, expired and other people's sessions are not in the list."""
    await stage.add("Grace")
    await stage.login("Grace")
    await stage.login()  # expires
    stage.clock.advance(7 * DAY)
    first, second, ended = await stage.login(), await stage.login(client=CURL), await stage.login()
    await stage.logout(ended.refresh_token)
    stage.clock.advance(1_000)
    await stage.refresh(first.refresh_token)
    listed = await stage.parts.services.list_sessions.live(ada.id)
    assert [session.id for session in listed] == [session_of(first), session_of(second)]
    assert [session.user_agent for session in listed] == ["Firefox", "curl"]


async def test_one_session_ends(stage: Stage, ada: Account):
    """The session named ends with its access tokens, the one that asked goes on."""
    mine, lost = await stage.login(), await stage.login(client=CURL)
    await stage.parts.services.end_sessions.end_one(ada.id, session_of(lost), FIREFOX)
    assert not stage.accepts(lost)
    assert stage.accepts(mine)
    with pytest.raises(NoValidRefreshToken):
        await stage.refresh(lost.refresh_token, client=CURL)
    assert (await stage.session(lost.refresh_token))["revoked_reason"] == "ended_by_owner"
    [event] = await stage.events("session_ended")
    assert (event["actor"], event["session_id"], event["user_agent"]) == (ada.id, session_of(lost), "Firefox")


async def test_session_of_somebody_else_is_not_there(stage: Stage, ada: Account):
    """Another's session, one that is over, and one that never was look alike, and nothing ends."""
    await stage.add("Grace")
    graces, ended, expired = await stage.login("Grace"), await stage.login(), await stage.login()
    await stage.logout(ended.refresh_token)
    await stage.execute("UPDATE sessions SET idle_expires_at = $1 WHERE id = $2", START, session_of(expired))
    before = await stage.contents()
    for session in (session_of(graces), session_of(ended), session_of(expired), SessionId("A" * 22), SessionId("")):
        with pytest.raises(NotFound):
            await stage.parts.services.end_sessions.end_one(ada.id, session, FIREFOX)
    assert await stage.contents() == before
    assert stage.accepts(graces)


async def test_all_sessions_end(stage: Stage, ada: Account):
    """Logging out everywhere ends every session and access token of the account and of no other."""
    await stage.add("Grace")
    graces = await stage.login("Grace")
    pairs = [await stage.login(), await stage.login(client=CURL)]
    assert await stage.parts.services.end_sessions.end_all(ada.id, FIREFOX) == 2
    assert not any(stage.accepts(pair) for pair in pairs)
    assert {(await stage.session(pair.refresh_token))["revoked_reason"] for pair in pairs} == {"ended_by_owner"}
    assert stage.accepts(graces)
    again = await stage.login()
    assert stage.accepts(again), "a login in the same millisecond is not reached"
    [event] = await stage.events("logged_out_everywhere")
    assert (event["actor"], event["account_id"]) == (ada.id, ada.id)


async def test_administrator_ends_all_sessions_of_another(stage: Stage, ada: Account):
    """Who ended them is told apart."""
    pair = await stage.login()
    await stage.parts.services.expel.from_account(by_id(ada.id), by=Authority("operator", FIREFOX))
    assert (await stage.session(pair.refresh_token))["revoked_reason"] == "ended_by_admin"


async def test_deleted_account_is_gone(stage: Stage, ada: Account):
    """Account, sessions and access tokens are gone, and its name can be taken by an account of another id."""
    pair = await stage.login()
    await stage.server.accounts.delete("Ada", actor="operator")
    assert not stage.accepts(pair)
    assert await stage.rows("SELECT id FROM sessions") == []
    with pytest.raises(InvalidCredentials):
        await stage.login()
    successor = await stage.add("Ada")
    assert successor.id != ada.id
    assert not stage.accepts(pair)
    assert stage.accepts(await stage.login())
    [event] = await stage.events("account_deleted")
    assert (event["actor"], event["account_id"]) == ("operator", ada.id)
    with pytest.raises(NotFound):
        await stage.server.accounts.delete("Nobody", actor="operator")
