"""Temporary passwords: good for nothing but setting another one, for a day, and an oracle for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.flows.stage import CURL, FIREFOX, PASSWORD, Row, Stage, count_checks
from tests.quick_hashes import occupy
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import (
    HashingBusy,
    InvalidCredentials,
    InvalidField,
    PasswordChangeRequired,
    Throttled,
    Unavailable,
)
from tokenkeep.domain.limits import FAMILIAR_FOR, FREE_FAILURES
from tokenkeep.domain.sessions import Client, Delivery, RefreshToken
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.login import Credentials
from tokenkeep.flows.ports import Transaction
from tokenkeep.flows.replace_password import Passwords
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.settings.kinds import Rate

TEMPORARY = "for-one-thing-only-7"
NEW = "another-good-password"
WRONG = "wrong-horse-battery"
DAY = 24 * 3_600_000


@pytest.fixture
async def ada(stage: Stage) -> Account:
    """The account Ada, who has been given a temporary password."""
    return await stage.server.accounts.create("Ada", TEMPORARY, role="user", actor="operator", temporary=True)


async def enter(
    stage: Stage,
    new: str | None = NEW,
    *,
    password: str = TEMPORARY,
    client: Client = FIREFOX,
    replaces: str | None = None,
) -> TokenPair:
    """Log in as Ada, with what is to become her password."""
    return await stage.parts.services.login.login(
        Credentials("Ada", password, new),
        client,
        delivery=Delivery.COOKIE,
        replaces=RefreshToken.parse(replaces) if replaces else None,
    )


async def refusals(stage: Stage) -> list[tuple[str, str]]:
    """Return whom refused logins concerned, and why they were refused."""
    await stage.parts.refusals.flush()
    return [(event["account_id"], event["detail"]) for event in await stage.events("login_refused")]


@pytest.mark.parametrize("given", ["at the beginning", "later"])
async def test_it_lasts_a_day(stage: Stage, given: str):
    """An account can begin with one, or be given one; it ends 24 hours later, and the log says what it is."""
    accounts = stage.server.accounts
    if given == "later":
        await stage.add()
        stage.clock.advance(5_000)
        account = await accounts.set_password("Ada", TEMPORARY, actor="operator", temporary=True)
        [event] = await stage.events("password_set")
        assert event["detail"] == "temporary"
    else:
        stage.clock.advance(5_000)
        account = await accounts.create("Ada", TEMPORARY, role="editor", actor="operator", temporary=True)
        [event] = await stage.events("account_created")
        assert event["detail"] == "editor, temporary password"
    assert account.password_expires_at == START + 5_000 + DAY
    assert (await stage.account())["password_expires_at"] == account.password_expires_at


async def test_setting_one_ends_what_any_other_would_end(stage: Stage):
    """Sessions and access tokens end, and the password of before opens nothing."""
    await stage.add()
    old = await stage.login()
    await stage.server.accounts.set_password("Ada", TEMPORARY, actor="operator", temporary=True)
    assert not stage.accepts(old)
    assert (await stage.session(old.refresh_token))["revoked_reason"] == "password_changed"
    with pytest.raises(InvalidCredentials):
        await stage.login()


async def test_it_opens_nothing(stage: Stage, ada: Account):
    """Right, but with no new one beside it: refused, nothing is stored but why, and that as often as it is tried."""
    before = await stage.contents()
    for _ in range(2):
        with pytest.raises(PasswordChangeRequired) as refusal:
            await stage.login(password=TEMPORARY)
        assert (refusal.value.code, refusal.value.detail) == ("password_change_required", "")
    assert await refusals(stage) == [(ada.id, "temporary password, and no new one")] * 2
    assert await stage.contents() == before


async def test_a_login_with_a_new_one_replaces_it(stage: Stage, ada: Account):
    """The new password lasts, the temporary one is gone, and a session has begun."""
    stage.clock.advance(1_000)
    pair = await enter(stage)
    token = stage.read(pair)
    assert (token.subject, token.version) == (ada.id, 2)
    stored = await stage.account()
    assert (stored["password_expires_at"], stored["token_version"]) == (None, 2)
    assert stored["last_login_at"] == START + 1_000
    assert (await stage.session(pair.refresh_token))["address"] == FIREFOX.address
    assert await stage.refresh(pair.refresh_token)
    for password in (TEMPORARY, WRONG):
        with pytest.raises(InvalidCredentials):
            await stage.login(password=password)
    stage.clock.advance(DAY)
    assert stage.accepts(await stage.login(password=NEW))


async def test_what_was_done_is_told(stage: Stage, ada: Account):
    """The log has the change and the session, by their owner, from where they were asked for."""
    pair = await enter(stage, client=CURL)
    session = RefreshToken.parse(pair.refresh_token).session_id
    events = await stage.events("password_changed", "session_started")
    told = [(each["kind"], each["actor"], each["account_id"], each["session_id"], each["address"]) for each in events]
    assert told == [(kind, ada.id, ada.id, session, CURL.address) for kind in ("session_started", "password_changed")]
    [revocation] = await stage.revocations()
    assert (revocation["kind"], revocation["value"], revocation["version"]) == ("sub", ada.id, 1)
    assert revocation["reason"] == "password_changed"


@pytest.mark.parametrize("whose", ["Ada", "Grace"])
async def test_the_session_of_the_cookie_ends(stage: Stage, whose: str):
    """Somebody's session on this machine ends with such a login as with any other, whosever it was."""
    await stage.add("Grace")
    await stage.add("Ada")
    old = await stage.login(whose)
    await stage.server.accounts.set_password("Ada", TEMPORARY, actor="operator", temporary=True)
    pair = await enter(stage, replaces=old.refresh_token)
    assert not stage.accepts(old)
    assert (await stage.session(old.refresh_token))["revoked_at"] == START
    assert stage.accepts(pair)
    revoked = [each["kind"] for each in await stage.revocations()]
    assert revoked == (["sub", "sub"] if whose == "Ada" else ["sub", "sid", "sub"])


async def test_everything_that_still_lives_ends(stage: Stage, ada: Account):
    """A session that is there in spite of everything ends when the password is replaced, with its access token."""
    earlier = await enter(stage)
    end = START + DAY
    await stage.execute("UPDATE accounts SET password_expires_at = $1", end)
    await enter(stage, PASSWORD, password=NEW)
    assert not stage.accepts(earlier)
    assert (await stage.session(earlier.refresh_token))["revoked_reason"] == "password_changed"


@pytest.mark.parametrize("new", [None, NEW])
async def test_it_ends_to_the_millisecond(stage: Stage, ada: Account, new: str | None):
    """In the last millisecond of its day it is what it was; in the next one it is no password at all."""
    stage.clock.advance(DAY - 1)
    with pytest.raises(PasswordChangeRequired):
        await enter(stage, None)
    stage.clock.advance(1)
    before = await stage.contents()
    with pytest.raises(InvalidCredentials) as refusal:
        await enter(stage, new)
    assert (refusal.value.sentence, refusal.value.detail) == ("Invalid credentials", "")
    assert (await refusals(stage))[1:] == [(ada.id, "temporary password expired")]
    assert await stage.contents() == before


async def test_it_can_be_used_in_its_last_millisecond(stage: Stage, ada: Account):
    """Whoever comes just in time is let in, and stays."""
    stage.clock.advance(DAY - 1)
    pair = await enter(stage)
    stage.clock.advance(1)
    assert stage.accepts(pair)
    assert stage.accepts(await stage.login(password=NEW))


@pytest.mark.parametrize("temporary", [False, True])
async def test_an_operator_can_give_another_one(stage: Stage, ada: Account, temporary: bool):
    """After the end of one an operator sets another, which has a day of its own or lasts."""
    stage.clock.advance(3 * DAY)
    account = await stage.server.accounts.set_password("Ada", PASSWORD, actor="operator", temporary=temporary)
    assert account.password_expires_at == (START + 4 * DAY if temporary else None)
    assert stage.accepts(await (enter(stage, password=PASSWORD) if temporary else stage.login()))


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ("", "at least 15 characters"),
        ("too-short-one!", "at least 15 characters"),
        ("x" * 1025, "at most 1024 characters"),
        ("\udcff" * 15, "not well-formed"),
        ("AdaAdaAdaAdaAda", "must not be made of the name"),
        ("qwertyuiopasdfgh", "commonly used"),
        (TEMPORARY, "another one than the temporary one"),
    ],
)
async def test_the_new_one_obeys_the_rules(stage: Stage, ada: Account, new: str, sentence: str):
    """What may not be set, the temporary one again above all, is refused under its field, and can be tried again."""
    before = await stage.contents()
    with pytest.raises(InvalidField, match=sentence) as refusal:
        await enter(stage, new)
    assert refusal.value.field == "newPassword"
    assert await refusals(stage) == [(ada.id, "right password, but the new one is refused")]
    assert await stage.contents() == before
    assert stage.accepts(await enter(stage))


async def test_the_same_one_is_known_in_every_unicode_form(stage: Stage):
    """The temporary password typed on a keyboard that composes differently is not another one."""
    await stage.server.accounts.create(
        "Ada", "pass\u00e9 compos\u00e9 ici", role="user", actor="operator", temporary=True
    )
    with pytest.raises(InvalidField, match="another one"):
        await enter(stage, "passe\u0301 compose\u0301 ici", password="pass\u00e9 compos\u00e9 ici")


async def test_a_lasting_password_is_not_replaced_by_a_login(stage: Stage):
    """With the right one that lasts, a new one is refused with the way to go, and nothing changes."""
    ada = await stage.add()
    before = await stage.contents()
    with pytest.raises(InvalidField, match="POST /password") as refusal:
        await enter(stage, password=PASSWORD)
    assert refusal.value.field == "newPassword"
    assert await refusals(stage) == [(ada.id, "right password, but the new one is refused")]
    assert await stage.contents() == before


NOBODYS = ("Temporary", "Lasting", "Expired", "Disabled", "Passwordless", "Nobody")


async def people(stage: Stage) -> None:
    """Add one account of each sort."""
    accounts = stage.server.accounts
    await accounts.create("Expired", TEMPORARY, role="user", actor="operator", temporary=True)
    stage.clock.advance(DAY)
    for name in ("Temporary", "Disabled"):
        await accounts.create(name, TEMPORARY, role="user", actor="operator", temporary=True)
    await accounts.disable("Disabled", actor="operator")
    for name in ("Lasting", "Passwordless"):
        await accounts.create(name, TEMPORARY, role="user", actor="operator")
    await stage.execute("UPDATE accounts SET password_hash = NULL WHERE name = 'Passwordless'")


@pytest.mark.parametrize("new", [None, "", "x" * 1025, "\udcff", WRONG, NEW])
@pytest.mark.parametrize("name", NOBODYS)
async def test_who_does_not_know_the_password_learns_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, new: str | None
):
    """Whatever new password comes with a wrong one, and whoever it is tried on: one refusal, after one check."""
    await people(stage)
    before = await stage.contents()
    checked = count_checks(monkeypatch)
    with pytest.raises(InvalidCredentials) as refusal:
        await stage.parts.services.login.login(Credentials(name, WRONG, new), FIREFOX, delivery=Delivery.COOKIE)
    assert (refusal.value.sentence, refusal.value.detail) == ("Invalid credentials", "")
    assert len(checked) == 1
    assert await stage.contents() == before


@pytest.mark.parametrize("new", [None, NEW])
@pytest.mark.parametrize("password", [TEMPORARY, WRONG])
@pytest.mark.parametrize("name", NOBODYS)
async def test_without_a_key_no_password_is_checked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, password: str, new: str | None
):
    """While there is no key to sign with, the right password is told from a wrong one by nothing."""
    await people(stage)
    await stage.execute("UPDATE signing_keys SET state = 'retired' WHERE state = 'active'")
    await stage.parts.key_ring.reload()
    before = await stage.contents()
    checked = count_checks(monkeypatch)
    with pytest.raises(Unavailable):
        await stage.parts.services.login.login(Credentials(name, password, new), FIREFOX, delivery=Delivery.COOKIE)
    assert checked == []
    assert await refusals(stage) == []
    assert await stage.contents() == before


@pytest.mark.parametrize("password", [TEMPORARY, WRONG])
@pytest.mark.parametrize("name", ["Expired", "Disabled"])
async def test_one_that_has_ended_is_checked_as_nobodys_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, password: str
):
    """Right or wrong, it costs one check of what is checked in place of a password: never its own."""
    await people(stage)
    checked = count_checks(monkeypatch)
    with pytest.raises(InvalidCredentials):
        await stage.login(name, password)
    assert checked == [await stage.parts.hasher.prepare()]


async def test_it_costs_a_check_each_time(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """A right one that opens nothing is checked as in any login."""
    checked = count_checks(monkeypatch)
    for _ in range(2):
        with pytest.raises(PasswordChangeRequired):
            await stage.login(password=TEMPORARY)
    assert checked == [ada.password_hash] * 2


async def test_it_counts_as_a_login(settings: Settings, clock: SettableClock):
    """Right ones without a new one use up the address's quota, and guesses slow down the name as ever."""
    async with AuthServer(replace(settings, login_limit_address=Rate(3, timedelta(minutes=1))), clock=clock) as server:
        stage = Stage(server, clock)
        await server.accounts.create("Ada", TEMPORARY, role="user", actor="operator", temporary=True)
        for _ in range(3):
            with pytest.raises(PasswordChangeRequired):
                await stage.login(password=TEMPORARY)
        with pytest.raises(Throttled) as refusal:
            await enter(stage)
        assert refusal.value.quota is not None
        assert refusal.value.quota.name == "login-address"


async def test_a_place_does_not_become_familiar_by_it(stage: Stage, ada: Account):
    """Knowing a temporary password is no login: a place where one was only tried has no count of its own."""

    async def places(tx: Transaction) -> list[str]:
        return await tx.sessions.login_addresses(ada.id, since=tx.now - FAMILIAR_FOR)

    with pytest.raises(PasswordChangeRequired):
        await stage.login(password=TEMPORARY, client=CURL)
    assert await stage.parts.storage.read(places) == []
    await enter(stage, client=FIREFOX)
    assert await stage.parts.storage.read(places) == [FIREFOX.address]


async def test_one_that_has_ended_counts_as_a_guess(stage: Stage, ada: Account):
    """After its end the name must rest after as many attempts as with any wrong password."""
    stage.clock.advance(DAY)
    for _ in range(FREE_FAILURES + 1):
        with pytest.raises(InvalidCredentials):
            await enter(stage, client=Client("", "198.51.100.7"))
    await stage.parts.refusals.flush()
    outcomes = [await _outcome(enter(stage, client=Client("", f"198.51.100.{place}"))) for place in range(8, 20)]
    assert "Throttled" in outcomes


async def _outcome(attempt: Awaitable[object]) -> str:
    try:
        await attempt
    except (InvalidCredentials, Throttled) as refusal:
        return type(refusal).__name__
    return "in"


async def test_of_logins_at_once_one_wins(stage: Stage, ada: Account):
    """However many replace it at once, one password is set, one session begins, and the others were wrong."""
    news = [f"another-good-password-{number}" for number in range(4)]
    outcomes = await asyncio.gather(*(enter(stage, new) for new in news), return_exceptions=True)
    winners = [new for new, outcome in zip(news, outcomes, strict=True) if isinstance(outcome, TokenPair)]
    assert len(winners) == 1
    assert sum(isinstance(outcome, InvalidCredentials) for outcome in outcomes) == 3
    assert len(await stage.rows("SELECT id FROM sessions")) == 1
    assert len(await stage.events("password_changed")) == 1
    assert stage.accepts(await stage.login(password=winners[0]))


MEANWHILE: dict[str, Callable[[Stage], Awaitable[object]]] = {
    "disabled": lambda stage: stage.server.accounts.disable("Ada", actor="operator"),
    "another temporary one": lambda stage: stage.server.accounts.set_password(
        "Ada", WRONG, actor="operator", temporary=True
    ),
    "a lasting one": lambda stage: stage.server.accounts.set_password("Ada", WRONG, actor="operator"),
    "deleted": lambda stage: stage.server.accounts.delete("Ada", actor="operator"),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_an_account_that_changes_meanwhile_keeps_what_it_was_given(
    stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch, meanwhile: str
):
    """A login that was checked against an account that is another by now sets no password and opens nothing."""
    after: list[list[Row]] = []
    original = stage.parts.hasher.hash

    async def hash_late(password: str) -> str:
        hashed = await original(password)
        if not after:
            after.append([])
            await MEANWHILE[meanwhile](stage)
            after[0] = await stage.rows("SELECT * FROM accounts")
        return hashed

    monkeypatch.setattr(stage.parts.hasher, "hash", hash_late)
    with pytest.raises(InvalidCredentials):
        await enter(stage)
    assert after == [await stage.rows("SELECT * FROM accounts")]
    assert await stage.rows("SELECT * FROM sessions") == []
    assert await stage.events("password_changed") == []


async def test_too_much_to_do_changes_nothing(stage: Stage, ada: Account):
    """When too many passwords wait, such a login is refused as busy and the temporary password is still there."""
    before = await stage.contents()
    occupy(stage.parts.hasher)
    with pytest.raises(HashingBusy):
        await enter(stage)
    assert await stage.contents() == before


async def test_too_much_to_do_later_leaves_a_trace(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """Found right and then refused as busy, it is noted: a storm of logins hides nobody who tries it out."""

    async def refuse(_password: str) -> str:
        raise HashingBusy

    before = await stage.contents()
    monkeypatch.setattr(stage.parts.hasher, "hash", refuse)
    with pytest.raises(HashingBusy):
        await enter(stage)
    assert await refusals(stage) == [(ada.id, "right password, but too many wait to be hashed")]
    assert await stage.contents() == before


async def test_an_outdated_hash_of_one_is_not_renewed(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """A login that opens nothing stores no better hash either, and the end of the password stays."""
    monkeypatch.setattr(stage.parts.hasher, "outdated", lambda stored: True)
    with pytest.raises(PasswordChangeRequired):
        await stage.login(password=TEMPORARY)
    stored = await stage.account()
    assert (stored["password_hash"], stored["password_expires_at"]) == (ada.password_hash, ada.password_expires_at)


@pytest.mark.parametrize("expired", [False, True])
async def test_a_token_of_before_replaces_it_within_its_day_only(stage: Stage, expired: bool):
    """A request with an access token that has not heard yet can replace it too, by the same rules and no longer."""
    await stage.add()
    token = stage.read(await stage.login())
    await stage.server.accounts.set_password("Ada", TEMPORARY, actor="operator", temporary=True)
    change = stage.parts.services.change_password.change
    with pytest.raises(InvalidField, match="another one"):
        await change(token, Passwords(TEMPORARY, TEMPORARY), FIREFOX)
    if expired:
        stage.clock.advance(DAY)
        with pytest.raises(InvalidCredentials):
            await change(token, Passwords(TEMPORARY, NEW), FIREFOX)
        return
    pair, _ = await change(token, Passwords(TEMPORARY, NEW), FIREFOX)
    assert stage.accepts(pair)
    assert (await stage.account())["password_expires_at"] is None


def test_credentials_hide_the_new_password():
    """None of three secrets is in the repr."""
    assert NEW not in repr(Credentials("Ada", TEMPORARY, NEW)) + repr(Passwords(TEMPORARY, NEW))
