"""Every way to end a session or access token: what is revoked, why and by whom is kept, and all of it is one step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from tests.flows.stage import CURL, FIREFOX, PASSWORD, Stage
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import NoValidRefreshToken
from tokenkeep.domain.sessions import RefreshToken
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.find_account import by_id
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.replace_password import Passwords
from tokenkeep.settings import Settings
from tokenkeep.storage.sql.revocations import SqlRevocations

GRACE = 10_000
OPERATOR, OWNER, SYSTEM = "operator", "owner", "system"


@dataclass(frozen=True)
class Held:
    """Somebody with a session that is going to end, and another."""

    stage: Stage
    account: Account
    pair: TokenPair
    other: TokenPair


async def log_out(held: Held) -> None:
    """The owner logs out."""
    await held.stage.logout(held.pair.refresh_token)


async def log_in_over(held: Held) -> None:
    """The owner logs in where the session is."""
    await held.stage.login(replaces=held.pair.refresh_token)


async def log_in_too_often(held: Held) -> None:
    """The owner logs in once more than sessions may live."""
    await held.stage.login(client=CURL)


async def end_one(held: Held) -> None:
    """The owner ends it from the list."""
    session = RefreshToken.parse(held.pair.refresh_token).session_id
    await held.stage.parts.services.end_sessions.end_one(held.account.id, session, CURL)


async def reuse(held: Held) -> None:
    """Its first token is used a second time."""
    await held.stage.refresh(held.pair.refresh_token)
    held.stage.clock.advance(GRACE)
    with pytest.raises(NoValidRefreshToken):
        await held.stage.refresh(held.pair.refresh_token)


async def end_all(held: Held) -> None:
    """The owner logs out everywhere."""
    await held.stage.parts.services.end_sessions.end_all(held.account.id, CURL)


async def end_all_as_operator(held: Held) -> None:
    """An operator ends all sessions of the account."""
    await held.stage.parts.services.expel.from_account(by_id(held.account.id), by=Authority(OPERATOR, CURL))


async def change_password(held: Held) -> None:
    """The owner changes the password, from the other session."""
    passwords = Passwords(PASSWORD, "another-good-password")
    await held.stage.parts.services.change_password.change(held.stage.read(held.other), passwords, FIREFOX)


async def set_password(held: Held) -> None:
    """An operator sets a password."""
    await held.stage.server.accounts.set_password("Ada", "another-good-password", actor=OPERATOR)


async def disable(held: Held) -> None:
    """An operator disables the account."""
    await held.stage.server.accounts.disable("Ada", actor=OPERATOR)


async def delete(held: Held) -> None:
    """An operator deletes the account."""
    await held.stage.server.accounts.delete("Ada", actor=OPERATOR)


async def set_role(held: Held) -> None:
    """An operator changes the role."""
    await held.stage.server.accounts.set_role("Ada", "admin", actor=OPERATOR)


End = Callable[[Held], Awaitable[None]]


@dataclass(frozen=True)
class Kept:
    """What must be kept of an end: what was revoked, why and by whom, and the session's own reason if it ended."""

    kind: str
    reason: str
    actor: str
    session_reason: str | None


ENDS: dict[End, Kept] = {
    log_out: Kept("sid", "logout", OWNER, "logout"),
    log_in_over: Kept("sid", "replaced", OWNER, "replaced"),
    log_in_too_often: Kept("sid", "too_many", SYSTEM, "too_many"),
    end_one: Kept("sid", "ended_by_owner", OWNER, "ended_by_owner"),
    reuse: Kept("sid", "reuse", SYSTEM, "reuse"),
    end_all: Kept("sub", "ended_by_owner", OWNER, "ended_by_owner"),
    end_all_as_operator: Kept("sub", "ended_by_admin", OPERATOR, "ended_by_admin"),
    change_password: Kept("sub", "password_changed", OWNER, "password_changed"),
    set_password: Kept("sub", "password_set", OPERATOR, "password_changed"),
    disable: Kept("sub", "account_disabled", OPERATOR, "account_disabled"),
    delete: Kept("sub", "account_deleted", OPERATOR, None),
    set_role: Kept("sub", "role_changed", OPERATOR, None),
}

every_end = pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that let two sessions of an account live."""
    return replace(settings, max_sessions=2)


@pytest.fixture
async def held(stage: Stage, ada: Account) -> Held:
    """Ada, logged in twice."""
    pair = await stage.login()
    stage.clock.advance(1)
    return Held(stage, ada, pair, await stage.login())


@every_end
async def test_an_end_takes_effect_at_once_and_says_why_and_by_whom(held: Held, end: End):
    """Access tokens are refused when the end has returned; one revocation tells what, when, why and by whom."""
    stage, kept = held.stage, ENDS[end]
    assert stage.accepts(held.pair)
    await end(held)
    assert not stage.accepts(held.pair)
    assert stage.accepts(held.other) == (kept.kind == "sid")
    [revocation] = await stage.revocations()
    session = RefreshToken.parse(held.pair.refresh_token).session_id
    what = (session, None) if kept.kind == "sid" else (held.account.id, 1)
    actor = held.account.id if kept.actor == OWNER else kept.actor
    assert (revocation["kind"], revocation["value"], revocation["version"]) == (kept.kind, *what)
    assert (revocation["reason"], revocation["actor"]) == (kept.reason, actor)
    assert revocation["revoked_at"] == stage.clock.now()
    assert revocation["expires_at"] == stage.clock.now() + 900_000 + 60_000
    rows = await stage.rows("SELECT revoked_at, revoked_reason FROM sessions WHERE id = $1", session)
    if end is delete:
        assert rows == []
    else:
        revoked_at = None if kept.session_reason is None else stage.clock.now()
        assert rows == [{"revoked_at": revoked_at, "revoked_reason": kept.session_reason}]


@every_end
async def test_an_end_that_cannot_be_revoked_has_not_happened(held: Held, end: End, monkeypatch: pytest.MonkeyPatch):
    """When the last statement of its transaction fails, nothing of an end remains, and tokens are as good as before."""

    class Broken(Exception):
        pass

    async def fail(revocations: SqlRevocations, revocation: object) -> None:
        raise Broken

    stage = held.stage
    monkeypatch.setattr(SqlRevocations, "append", fail)
    if end is reuse:
        await stage.refresh(held.pair.refresh_token)
        stage.clock.advance(GRACE)
    before = await stage.contents()
    with pytest.raises(Broken):
        await (stage.refresh(held.pair.refresh_token) if end is reuse else end(held))
    assert await stage.contents() == before
    assert stage.accepts(held.pair)
    assert stage.accepts(held.other)
    monkeypatch.undo()
    assert await stage.refresh(held.other.refresh_token)
