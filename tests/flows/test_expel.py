"""Expelling others: one session, all of an account, or everyone's, and exactly those."""

from __future__ import annotations

import pytest

from tests.flows.stage import CURL, Stage
from tests.settable_clock import START
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.errors import Forbidden, InvalidCredentials, NotFound, NoValidRefreshToken
from tokenkeep.domain.identifiers import SessionId
from tokenkeep.domain.sessions import RefreshToken
from tokenkeep.flows import expel
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.find_account import by_id, by_name
from tokenkeep.flows.issue_tokens import TokenPair

BY_OPERATOR = Authority(OPERATOR)
MINUTE = 60_000
DAY = 86_400_000


def session_of(pair: TokenPair) -> SessionId:
    """Return the id of a pair's session."""
    return RefreshToken.parse(pair.refresh_token).session_id


async def is_over(stage: Stage, pair: TokenPair) -> bool:
    """Tell whether neither token of a pair is good for anything."""
    if stage.accepts(pair):
        return False
    with pytest.raises(NoValidRefreshToken):
        await stage.refresh(pair.refresh_token)
    return True


async def test_one_session_of_anybody_ends(stage: Stage, ada: Account):
    """The session named ends with its access tokens; the account's other session goes on."""
    lost, kept = await stage.login(), await stage.login(client=CURL)
    assert await stage.parts.services.expel.from_session(session_of(lost), by=BY_OPERATOR) == ada.id
    assert await is_over(stage, lost)
    assert stage.accepts(kept)
    assert (await stage.session(lost.refresh_token))["revoked_reason"] == "ended_by_admin"
    [event] = await stage.events("session_ended")
    assert (event["actor"], event["account_id"], event["session_id"], event["detail"]) == (
        "operator",
        ada.id,
        session_of(lost),
        "ended_by_admin",
    )


async def test_session_that_is_over_is_not_there(stage: Stage, ada: Account):
    """One that has ended or expired, and one that never was, are not found, and nothing changes."""
    ended, expired = await stage.login(), await stage.login()
    await stage.logout(ended.refresh_token)
    await stage.execute("UPDATE sessions SET idle_expires_at = $1 WHERE id = $2", START, session_of(expired))
    before = await stage.contents()
    for session in (session_of(ended), session_of(expired), SessionId("A" * 22)):
        with pytest.raises(NotFound):
            await stage.parts.services.expel.from_session(session, by=BY_OPERATOR)
    assert await stage.contents() == before


@pytest.mark.parametrize("by_which", ["name", "id"])
async def test_all_sessions_of_an_account_end(stage: Stage, ada: Account, by_which: str):
    """Whether found by its name or its id; other accounts are left alone."""
    await stage.add("Grace")
    graces = await stage.login("Grace")
    pairs = [await stage.login(), await stage.login(client=CURL)]
    find = by_name("ADA") if by_which == "name" else by_id(ada.id)
    assert await stage.parts.services.expel.from_account(find, by=BY_OPERATOR) == 2
    assert all([await is_over(stage, pair) for pair in pairs])
    assert stage.accepts(graces)
    assert stage.accepts(await stage.login())
    [event] = await stage.events("logged_out_everywhere")
    assert (event["actor"], event["account_id"], event["detail"]) == ("operator", ada.id, "ended_by_admin")


async def test_disabled_account_has_nothing_to_end(stage: Stage, ada: Account):
    """Everything ended when it was disabled: nothing is done again."""
    await stage.server.accounts.disable("Ada", actor=OPERATOR)
    before = await stage.contents()
    assert await stage.parts.services.expel.from_account(by_name("Ada"), by=BY_OPERATOR) == 0
    assert await stage.contents() == before
    with pytest.raises(NotFound):
        await stage.parts.services.expel.from_account(by_name("Nobody"), by=BY_OPERATOR)


async def test_everyone_is_logged_out_in_batches(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """Every session of every account ends with its access tokens, a few in each transaction; passwords still work."""
    monkeypatch.setattr(expel, "BATCH", 2)
    await stage.add("Grace")
    pairs = [await stage.login(name) for name in ("Ada", "Grace", "Ada", "Grace", "Ada")]
    ended_before = await stage.login()
    await stage.logout(ended_before.refresh_token)
    assert await stage.parts.services.expel.everyone(by=BY_OPERATOR) == 5
    assert all([await is_over(stage, pair) for pair in pairs])
    assert (await stage.session(ended_before.refresh_token))["revoked_reason"] == "logout"
    events = await stage.events("everyone_logged_out")
    assert [event["detail"] for event in events] == ["2 sessions", "2 sessions", "1 sessions"]
    assert {event["actor"] for event in events} == {"operator"}
    for name in ("Ada", "Grace"):
        assert stage.accepts(await stage.login(name))
    assert await stage.parts.services.expel.everyone(by=BY_OPERATOR) == 2


async def test_nobody_to_log_out_leaves_no_trace(stage: Stage, ada: Account):
    """Without a session there is nothing to end, and nothing to tell of."""
    before = await stage.contents()
    assert await stage.parts.services.expel.everyone(by=BY_OPERATOR) == 0
    assert await stage.contents() == before


async def test_what_has_no_access_token_any_more_is_not_revoked(stage: Stage, ada: Account):
    """Verifiers are told of sessions that were used lately, to the last millisecond at which a token may live."""
    longest = 15 * MINUTE + MINUTE  # the life of an access token, and the greatest leeway of a verifier
    idle, late = await stage.login(), await stage.login()
    stage.clock.advance(1)
    await stage.refresh(late.refresh_token)
    stage.clock.advance(longest - 1)
    recent = await stage.login()
    assert await stage.parts.services.expel.everyone(by=BY_OPERATOR) == 3
    revoked = {row["value"] for row in await stage.revocations()}
    assert revoked == {session_of(late), session_of(recent)}
    for pair in (idle, late, recent):
        assert (await stage.session(pair.refresh_token))["revoked_reason"] == "ended_by_admin"
    assert not stage.accepts(recent)


async def test_session_that_expired_idle_still_loses_its_access_token(stage: Stage, ada: Account):
    """A session past its idle end may have handed out a token that lives: it is ended and revoked, too."""
    pair = await stage.login()
    await stage.execute("UPDATE sessions SET idle_expires_at = $1 WHERE id = $2", START, session_of(pair))
    assert stage.accepts(pair)
    assert await stage.parts.services.expel.everyone(by=BY_OPERATOR) == 1
    assert not stage.accepts(pair)


async def test_sessions_begun_after_the_order_go_on(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """Whoever logs in while everyone is logged out stays logged in."""
    pair = await stage.login()
    original = expel._now

    async def log_in_later(tx: object) -> int:
        now = await original(tx)  # type: ignore[arg-type]
        stage.clock.advance(1)
        return now

    monkeypatch.setattr(expel, "_now", log_in_later)
    transact = stage.parts.storage.transact
    later: list[TokenPair] = []

    async def transact_after_a_login(steps: object, *args: object) -> object:
        if not later and getattr(steps, "__name__", "") == "_some":
            later.append(await stage.login())
        return await transact(steps, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(stage.parts.storage, "transact", transact_after_a_login)
    assert await stage.parts.services.expel.everyone(by=BY_OPERATOR) == 1
    assert not stage.accepts(pair)
    assert stage.accepts(later[0])


async def test_administrator_must_still_be_one(stage: Stage, ada: Account):
    """Whoever has lost the role ends nobody's session, and nothing changes."""
    root = await stage.add("Root", role="admin")
    pair = await stage.login()
    by = Authority(root.id, token_version=root.token_version)
    await stage.server.accounts.set_role("Root", "user", actor=OPERATOR)
    before = await stage.contents()
    for order in (
        stage.parts.services.expel.from_account(by_id(ada.id), by=by),
        stage.parts.services.expel.from_session(session_of(pair), by=by),
        stage.parts.services.expel.everyone(by=by),
    ):
        with pytest.raises(Forbidden):
            await order
    assert await stage.contents() == before
    assert stage.accepts(pair)


async def test_expelled_people_may_come_back(stage: Stage, ada: Account):
    """Ending sessions takes no password away."""
    await stage.parts.services.expel.everyone(by=BY_OPERATOR)
    assert stage.accepts(await stage.login())
    with pytest.raises(InvalidCredentials):
        await stage.login(password="wrong-horse-battery")
