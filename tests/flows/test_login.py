"""Login: who gets a session, who does not and at which cost, and what a new session ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.flows.stage import CURL, FIREFOX, PASSWORD, Stage, count_checks
from tests.quick_hashes import occupy
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import HashingBusy, InvalidCredentials, InvalidField
from tokenkeep.domain.sessions import Delivery, RefreshToken
from tokenkeep.flows.login import Credentials
from tokenkeep.flows.ports import PasswordHasher
from tokenkeep.jose import jwt
from tokenkeep.passwords import Argon2Parameters
from tokenkeep.passwords.argon2id import Argon2id
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

DAY = 86_400


async def test_right_password_opens_a_session(stage: Stage, ada: Account):
    """Name and password give an access token of 15 minutes and a refresh token of seven days."""
    pair = await stage.login()
    assert (pair.expires_in, pair.refresh_expires_in) == (900, 7 * DAY)
    assert pair.refresh_token.startswith("tkr_")
    assert stage.accepts(pair)
    session = await stage.session(pair.refresh_token)
    assert session["account_id"] == ada.id
    assert session["generation"] == 0
    assert session["created_at"] == session["rotated_at"] == session["last_used_at"] == START
    assert session["idle_expires_at"] == START + 7 * DAY * 1000
    assert session["expires_at"] == START + 30 * DAY * 1000
    assert (session["delivery"], session["methods"]) == ("cookie", "pwd")
    assert (session["user_agent"], session["address"]) == ("Firefox", "192.0.2.1")
    assert session["fingerprint"] == FIREFOX.fingerprint()


async def test_access_token_says_who_and_when(stage: Stage, ada: Account):
    """The access token names issuer, account, session and times, and carries the type at+jwt."""
    stage.clock.advance(999)
    pair = await stage.login()
    decoded = jwt.decode_unverified(pair.access_token)
    claims = dict(decoded.claims)
    token_id = claims.pop("jti")
    assert claims == {
        "iss": "http://127.0.0.1:8000",
        "sub": ada.id,
        "aud": "http://127.0.0.1:8000",
        "iat": START // 1000,
        "exp": START // 1000 + 900,
        "client_id": "tokenkeep",
        "sid": RefreshToken.parse(pair.refresh_token).session_id,
        "ver": 1,
        "auth_time": START // 1000,
        "amr": ("pwd",),
        "name": "Ada",
        "role": "user",
    }
    assert len(token_id) >= 22
    kid = stage.parts.key_ring.signer().kid
    assert dict(decoded.header) == {"alg": "ES256", "typ": "at+jwt", "kid": kid}


async def test_login_is_remembered(stage: Stage, ada: Account):
    """The instant of the last login is stored, and an event with the session it opened and how it was opened."""
    stage.clock.advance(5_000)
    pair = await stage.login()
    assert (await stage.account())["last_login_at"] == START + 5_000
    [event] = await stage.events("session_started")
    assert event == {
        "at": START + 5_000,
        "kind": "session_started",
        "actor": ada.id,
        "account_id": ada.id,
        "session_id": RefreshToken.parse(pair.refresh_token).session_id,
        "address": "192.0.2.1",
        "user_agent": "Firefox",
        "detail": "pwd",
    }


@pytest.mark.parametrize("name", ["ADA", "ada", "Ａｄａ"])
async def test_name_is_compared_without_case_and_form(stage: Stage, ada: Account, name: str):
    """A name that reads the same is the same account."""
    assert stage.read(await stage.login(name)).name == "Ada"


async def test_password_is_the_same_in_every_unicode_form(stage: Stage):
    """A password that was set on one keyboard opens the account from another that composes differently."""
    await stage.add("Zoë", password="pass\u00e9 compos\u00e9 ici")
    assert await stage.login("Zoe\u0308", "passe\u0301 compose\u0301 ici")


async def test_each_login_opens_a_session_of_its_own(stage: Stage, ada: Account):
    """Two logins share neither session nor secret nor token id."""
    first, second = await stage.login(), await stage.login()
    assert stage.read(first).session_id != stage.read(second).session_id
    assert stage.read(first).token_id != stage.read(second).token_id
    sessions = await stage.rows("SELECT secret FROM sessions")
    assert len({row["secret"] for row in sessions}) == 2
    assert stage.accepts(first)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("Ada", "wrong-horse-battery"),
        ("Ada", ""),
        ("Ada", PASSWORD + " "),
        ("Ada", " " + PASSWORD),
        ("Ada", PASSWORD.upper()),
        ("Ada", PASSWORD + "\0"),
        ("Nobody", PASSWORD),
        ("Nobody", ""),
        ("Disabled", PASSWORD),
        ("Disabled", "wrong-horse-battery"),
        ("Passwordless", PASSWORD),
        ("Passwordless", ""),
        ("Unreadable", PASSWORD),
    ],
)
async def test_every_refused_login_looks_and_costs_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, password: str
):
    """Wrong, unknown, disabled and passwordless are one refusal after exactly one hash check, and change nothing."""
    for each in ("Ada", "Disabled", "Passwordless", "Unreadable"):
        await stage.add(each)
    await stage.server.accounts.disable("Disabled", actor="operator")
    await stage.execute("UPDATE accounts SET password_hash = NULL WHERE name = 'Passwordless'")
    await stage.execute("UPDATE accounts SET password_hash = 'unreadable' WHERE name = 'Unreadable'")
    before = await stage.contents()
    checked = count_checks(monkeypatch)
    with pytest.raises(InvalidCredentials) as refusal:
        await stage.login(name, password)
    assert len(checked) == 1
    assert name == "Unreadable" or checked[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (refusal.value.sentence, refusal.value.detail) == ("Invalid credentials", "")
    assert await stage.contents() == before


async def test_right_password_costs_one_check(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """A login that succeeds does the same work as one that does not."""
    checked = count_checks(monkeypatch)
    await stage.login()
    assert len(checked) == 1


@pytest.mark.parametrize(
    ("name", "password", "audience", "field"),
    [
        ("A\0da", PASSWORD, None, "name"),
        ("", PASSWORD, None, "name"),
        ("Ada\u200b", PASSWORD, None, "name"),
        ("x" * 129, PASSWORD, None, "name"),
        ("Ada", "x" * 1025, None, "password"),
        ("Ada", "x" * 1_048_576, None, "password"),
        ("Ada", "\udcff" * 15, None, "password"),
        ("Ada", PASSWORD, "https://other.example", "audience"),
        ("Ada", PASSWORD, "", "audience"),
        ("Ada", PASSWORD, "http://127.0.0.1:8000/", "audience"),
    ],
)
async def test_impossible_value_is_refused_before_any_hashing(  # noqa: PLR0917  (the columns of a table)
    stage: Stage,
    ada: Account,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    password: str,
    audience: str | None,
    field: str,
):
    """What no account can have is refused as a field, costs no hash, and tells nothing about accounts."""
    checked = count_checks(monkeypatch)
    with pytest.raises(InvalidField) as refusal:
        await stage.login(name, password, audience=audience)
    assert refusal.value.field == field
    assert checked == []


async def test_enabled_account_logs_in_again(stage: Stage, ada: Account):
    """Disabling is undone by enabling."""
    await stage.server.accounts.disable("Ada", actor="operator")
    with pytest.raises(InvalidCredentials):
        await stage.login()
    await stage.server.accounts.enable("Ada", actor="operator")
    assert stage.accepts(await stage.login())


class Interrupted:
    """The real hasher, and something that happens between its check of a password and the login's transaction."""

    def __init__(self, hasher: PasswordHasher, interruption: Callable[[], Awaitable[object]]) -> None:
        self._hasher = hasher
        self._interruption = interruption
        self._happened = False

    async def verify(self, stored: str | None, password: str) -> bool:
        """Check, then let it happen, once."""
        verdict = await self._hasher.verify(stored, password)
        if not self._happened:
            self._happened = True
            await self._interruption()
        return verdict

    async def hash(self, password: str) -> str:
        """Return the hash."""
        return await self._hasher.hash(password)

    def outdated(self, stored: str) -> bool:
        """Tell whether a hash is outdated."""
        return self._hasher.outdated(stored)


INTERRUPTIONS: dict[str, Callable[[Stage], Awaitable[object]]] = {
    "disabled": lambda stage: stage.server.accounts.disable("Ada", actor="operator"),
    "new password": lambda stage: stage.server.accounts.set_password("Ada", "another-good-password", actor="operator"),
    "deleted": lambda stage: stage.execute("DELETE FROM accounts WHERE name = 'Ada'"),
    "hash replaced": lambda stage: stage.execute("UPDATE accounts SET password_hash = 'other' WHERE name = 'Ada'"),
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS.values(), ids=INTERRUPTIONS.keys())
async def test_account_that_changes_meanwhile_gets_no_session(
    stage: Stage, ada: Account, interruption: Callable[[Stage], Awaitable[object]]
):
    """A login that was checked against an account that is not the same any more is refused."""
    passwords = stage.parts.services.login._passwords
    passwords._hasher = Interrupted(passwords._hasher, lambda: interruption(stage))
    with pytest.raises(InvalidCredentials) as refusal:
        await stage.login()
    assert refusal.value.sentence == "Invalid credentials"
    assert await stage.rows("SELECT * FROM sessions") == []
    assert await stage.events("session_started") == []


async def test_account_that_changed_is_looked_at_again(stage: Stage, ada: Account):
    """A login whose account got another role meanwhile succeeds, with the new role."""
    login = stage.parts.services.login
    login._passwords._hasher = Interrupted(
        login._passwords._hasher, lambda: stage.server.accounts.set_role("Ada", "admin", actor="operator")
    )
    pair = await stage.login()
    assert stage.server.verifier.verify(pair.access_token).role == "admin"


async def test_disable_that_races_with_a_login_leaves_no_session(stage: Stage, ada: Account):
    """Whichever comes first, no live session of a disabled account remains."""
    outcomes = await asyncio.gather(
        *(stage.login() for _ in range(5)),
        stage.server.accounts.disable("Ada", actor="operator"),
        *(stage.login() for _ in range(5)),
        return_exceptions=True,
    )
    assert await stage.rows("SELECT * FROM sessions WHERE revoked_at IS NULL") == []
    pairs = [outcome for outcome in outcomes if not isinstance(outcome, BaseException | Account)]
    assert not any(stage.accepts(pair) for pair in pairs)


async def test_login_ends_the_session_it_came_with(stage: Stage, ada: Account):
    """The session of the cookie that a login carries ends with it, and so does its access token."""
    old = await stage.login()
    new = await stage.login(replaces=old.refresh_token)
    ended = await stage.session(old.refresh_token)
    assert (ended["revoked_at"], ended["revoked_reason"]) == (START, "replaced")
    assert not stage.accepts(old)
    assert stage.accepts(new)
    [revocation] = await stage.revocations()
    assert (revocation["kind"], revocation["value"]) == ("sid", ended["id"])
    assert revocation["reason"] == "replaced"
    [event] = await stage.events("session_ended")
    assert (event["session_id"], event["detail"], event["address"]) == (ended["id"], "replaced", FIREFOX.address)


async def test_login_ends_the_session_of_an_old_cookie(stage: Stage, ada: Account):
    """Any rightly tagged token names the session to end, whatever its generation."""
    first = await stage.login()
    second = await stage.refresh(first.refresh_token)
    stage.clock.advance(3_600_000)
    await stage.login(replaces=first.refresh_token)
    assert (await stage.session(second.refresh_token))["revoked_reason"] == "replaced"


async def test_login_as_somebody_else_ends_the_session_before(stage: Stage, ada: Account):
    """Who logs in on a machine where another is logged in takes that session's place."""
    await stage.add("Grace")
    adas = await stage.login("Ada")
    graces = await stage.login("Grace", replaces=adas.refresh_token)
    assert not stage.accepts(adas)
    assert stage.read(graces).name == "Grace"


async def test_refused_login_ends_nothing(stage: Stage, ada: Account):
    """A wrong password beside a good cookie leaves the session alone."""
    old = await stage.login()
    with pytest.raises(InvalidCredentials):
        await stage.login(password="wrong-horse-battery", replaces=old.refresh_token)
    assert stage.accepts(old)
    assert (await stage.session(old.refresh_token))["revoked_at"] is None


async def test_forged_cookie_ends_nothing(stage: Stage, ada: Account):
    """A login cannot end the session of somebody whose token it does not hold."""
    victim = await stage.login()
    forged = replace(RefreshToken.parse(victim.refresh_token), tag=bytes(32))
    login = stage.parts.services.login
    await login.login(Credentials("Ada", PASSWORD), CURL, delivery=Delivery.COOKIE, replaces=forged)
    assert stage.accepts(victim)
    assert await stage.revocations() == []


async def test_session_that_is_over_is_not_ended_again(stage: Stage, ada: Account):
    """A cookie whose session has ended before changes nothing but is no obstacle."""
    old = await stage.login()
    await stage.logout(old.refresh_token)
    before = await stage.revocations()
    assert stage.accepts(await stage.login(replaces=old.refresh_token))
    assert await stage.revocations() == before
    assert (await stage.session(old.refresh_token))["revoked_reason"] == "logout"


async def test_outdated_hash_is_replaced(stage: Stage, ada: Account):
    """A hash of another cost is replaced by one of the current cost when its password is presented."""
    outdated = Argon2id(Argon2Parameters(7_168, 5)).hash(PASSWORD)
    await stage.execute("UPDATE accounts SET password_hash = $1", outdated)
    with pytest.raises(InvalidCredentials):
        await stage.login(password="wrong-horse-battery")
    assert (await stage.account())["password_hash"] == outdated
    assert stage.accepts(await stage.login())
    renewed = (await stage.account())["password_hash"]
    assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await stage.account())["token_version"] == 1
    assert stage.accepts(await stage.login())
    assert (await stage.account())["password_hash"] == renewed


async def test_full_queue_refuses_without_a_trace(stage: Stage, ada: Account):
    """When too many passwords wait, a login is refused as busy and nothing is stored."""
    before = await stage.contents()
    occupy(stage.parts.hasher)
    for password in (PASSWORD, "wrong-horse-battery"):
        with pytest.raises(HashingBusy):
            await stage.login(password=password)
    assert await stage.contents() == before


async def test_body_delivery_is_kept_with_the_session(stage: Stage, ada: Account):
    """How the refresh token will travel is fixed at login."""
    pair = await stage.login(delivery=Delivery.BODY)
    assert (await stage.session(pair.refresh_token))["delivery"] == "body"


async def test_audience_asked_for_is_the_only_one(settings: Settings, clock: SettableClock):
    """A token for another service names exactly that one, so that it cannot administer this server."""
    api = "https://api.example"
    async with AuthServer(replace(settings, audiences=(api, "https://other.example")), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login(audience=api)
        assert jwt.decode_unverified(pair.access_token).claims["aud"] == api
        assert not stage.accepts(pair)
        usual = await stage.login()
        assert jwt.decode_unverified(usual.access_token).claims["aud"] == settings.issuer
        named = await stage.login(audience=settings.issuer)
        assert stage.accepts(named)


async def test_access_token_never_outlives_the_session(settings: Settings, clock: SettableClock):
    """With a session shorter than an access token's life, the token ends with the session."""
    short = replace(settings, session_ttl=timedelta(minutes=10), refresh_idle_ttl=timedelta(minutes=10))
    async with AuthServer(short, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
        assert (pair.expires_in, pair.refresh_expires_in) == (600, 600)
        assert stage.read(pair).expires_at == START // 1000 + 600


async def test_passwords_and_tokens_are_not_stored(stage: Stage, ada: Account):
    """Neither a password nor any token is anywhere in the database."""
    pair = await stage.login()
    await stage.refresh(pair.refresh_token)
    stored = repr(await stage.contents())
    for secret in (PASSWORD, pair.refresh_token, pair.refresh_token[4:], pair.access_token):
        assert secret not in stored


async def test_pair_hides_its_tokens(stage: Stage, ada: Account):
    """Neither token is in the repr of a pair."""
    pair = await stage.login()
    assert pair.access_token not in repr(pair)
    assert pair.refresh_token not in repr(pair)
