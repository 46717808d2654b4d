"""Refresh: one live successor whatever happens, theft noticed, and nothing handed to what is over."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.flows.stage import CURL, FIREFOX, Stage
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import InvalidField, InvalidRefreshToken, NoValidRefreshToken, StorageUnavailable
from tokenkeep.domain.sessions import Client, Delivery, RefreshToken
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.jose import jwt
from tokenkeep.jose.encoding import decode_base64url, encode_base64url
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings

SECOND = 1_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
GRACE = 10 * SECOND


@pytest.fixture
async def first(stage: Stage, ada: Account) -> TokenPair:
    """The pair of a new login."""
    return await stage.login()


def text_with_tag(text: str, tag: bytes) -> str:
    """Return a refresh token with another tag."""
    return "tkr_" + encode_base64url(decode_base64url(text[4:])[:21] + tag)


async def refused(stage: Stage, presented: str, **options) -> tuple[str, str]:
    """Return code and detail of a refresh that must be refused."""
    with pytest.raises((InvalidRefreshToken, NoValidRefreshToken)) as refusal:
        await stage.refresh(presented, **options)
    return refusal.value.code, refusal.value.detail


async def test_refresh_token_is_exchanged_for_the_next(stage: Stage, first: TokenPair):
    """A refresh gives a new pair of the same session, one generation on."""
    stage.clock.advance(HOUR)
    second = await stage.refresh(first.refresh_token)
    assert second.refresh_token != first.refresh_token
    old, new = RefreshToken.parse(first.refresh_token), RefreshToken.parse(second.refresh_token)
    assert (new.session_id, new.generation) == (old.session_id, old.generation + 1)
    session = await stage.session(second.refresh_token)
    assert session["generation"] == 1
    assert (session["rotated_at"], session["previous_rotated_at"]) == (START + HOUR, START)
    assert session["last_used_at"] == START + HOUR
    assert session["idle_expires_at"] == START + HOUR + 7 * DAY
    assert session["expires_at"] == START + 30 * DAY
    assert (second.expires_in, second.refresh_expires_in) == (900, 7 * 86_400)


async def test_what_a_login_proved_does_not_change(stage: Stage, first: TokenPair):
    """Session, time and methods of the login are the same after many refreshes; only ids and times of tokens change."""
    begun = jwt.decode_unverified(first.access_token).claims
    pair, ids = first, {begun["jti"]}
    for _ in range(20):
        stage.clock.advance(HOUR)
        pair = await stage.refresh(pair.refresh_token)
        claims = jwt.decode_unverified(pair.access_token).claims
        for name in ("iss", "sub", "aud", "client_id", "sid", "ver", "auth_time", "amr", "name", "role"):
            assert claims[name] == begun[name]
        assert claims["iat"] == stage.clock.now() // 1000
        ids.add(claims["jti"])
    assert len(ids) == 21
    assert (await stage.session(pair.refresh_token))["generation"] == 20


async def test_earlier_access_tokens_live_on(stage: Stage, first: TokenPair):
    """A refresh ends no access token: requests under way are not cut off."""
    await stage.refresh(first.refresh_token)
    assert stage.accepts(first)


@pytest.mark.parametrize("later", [0, 1, GRACE - 1])
async def test_lost_answer_is_repeated(stage: Stage, first: TokenPair, later: int):
    """Inside the window the same token gets the very same successor, a fresh access token, and moves nothing."""
    second = await stage.refresh(first.refresh_token)
    before = await stage.session(first.refresh_token)
    stage.clock.advance(later)
    again = await stage.refresh(first.refresh_token)
    assert again.refresh_token == second.refresh_token
    assert again.access_token != second.access_token
    assert stage.accepts(again)
    after = await stage.session(first.refresh_token)
    assert after == {**before, "last_used_at": START + later}
    assert await stage.revocations() == []


async def test_window_does_not_grow_by_being_used(stage: Stage, first: TokenPair):
    """Each repetition is judged by the rotation and not by the repetition before."""
    await stage.refresh(first.refresh_token)
    stage.clock.advance(GRACE - 1)
    await stage.refresh(first.refresh_token)
    stage.clock.advance(1)
    assert await refused(stage, first.refresh_token) == ("no_valid_refresh_token", "reused")


@pytest.mark.parametrize(
    ("later", "client"),
    [
        (GRACE, FIREFOX),
        (DAY, FIREFOX),
        (0, CURL),
        (GRACE - 1, CURL),
        (GRACE - 1, Client("", FIREFOX.address)),
    ],
    ids=["at the end of the window", "a day later", "another program", "another program, late", "no program"],
)
async def test_reuse_ends_the_session(stage: Stage, first: TokenPair, later: int, client: Client):
    """A token that is used again otherwise was stolen: its session and all access tokens of it end."""
    second = await stage.refresh(first.refresh_token)
    stage.clock.advance(later)
    assert await refused(stage, first.refresh_token, client=client) == ("no_valid_refresh_token", "reused")
    session = await stage.session(first.refresh_token)
    assert (session["revoked_at"], session["revoked_reason"]) == (START + later, "reuse")
    assert session["generation"] == 1
    assert not stage.accepts(first)
    assert not stage.accepts(second)
    assert await refused(stage, second.refresh_token) == ("no_valid_refresh_token", "ended")
    assert await refused(stage, first.refresh_token) == ("no_valid_refresh_token", "ended")


async def test_address_may_change_inside_the_window(stage: Stage, first: TokenPair):
    """A telephone that changes networks gets its lost answer."""
    second = await stage.refresh(first.refresh_token)
    again = await stage.refresh(first.refresh_token, client=Client(FIREFOX.user_agent, "198.51.100.9"))
    assert again.refresh_token == second.refresh_token


async def test_reuse_is_remembered_and_listed(stage: Stage, ada: Account, first: TokenPair):
    """A reuse leaves one event that tells where it came from, and one revocation, however often it is repeated."""
    await stage.refresh(first.refresh_token)
    stage.clock.advance(GRACE)
    thief = Client("thief/1.0", "203.0.113.66")
    for _ in range(3):
        await refused(stage, first.refresh_token, client=thief)
    session = RefreshToken.parse(first.refresh_token).session_id
    [event] = await stage.events("refresh_reused")
    assert event == {
        "at": START + GRACE,
        "kind": "refresh_reused",
        "actor": "system",
        "account_id": ada.id,
        "session_id": session,
        "address": "203.0.113.66",
        "user_agent": "thief/1.0",
        "detail": "",
    }
    [revocation] = await stage.revocations()
    assert (revocation["kind"], revocation["value"], revocation["reason"]) == ("sid", session, "reuse")
    assert revocation["actor"] == "system"


async def test_reuse_leaves_other_sessions_alone(stage: Stage, first: TokenPair):
    """Only the family of the stolen token ends; the account's other devices stay logged in."""
    other = await stage.login(client=CURL)
    await stage.refresh(first.refresh_token)
    stage.clock.advance(GRACE)
    await refused(stage, first.refresh_token)
    assert stage.accepts(other)
    assert await stage.refresh(other.refresh_token, client=CURL)


async def test_reuse_is_noticed_until_the_end_of_the_session(stage: Stage, first: TokenPair):
    """The oldest token is known as used on the last day of the session's life."""
    pair = first
    for _ in range(29):
        stage.clock.advance(DAY)
        pair = await stage.refresh(pair.refresh_token)
    assert await refused(stage, first.refresh_token) == ("no_valid_refresh_token", "reused")
    assert not stage.accepts(pair)


async def test_overtaken_token_is_refused_and_ends_nothing(stage: Stage, first: TokenPair):
    """Two generations behind within the window: a newer one is already in the jar, so nothing changes."""
    stage.clock.advance(HOUR)
    second = await stage.refresh(first.refresh_token)
    stage.clock.advance(GRACE - 1)
    third = await stage.refresh(second.refresh_token)
    before = await stage.contents()
    assert await refused(stage, first.refresh_token) == ("invalid_refresh_token", "overtaken")
    assert await stage.contents() == before
    stage.clock.advance(1)
    assert stage.accepts(third)
    assert await refused(stage, first.refresh_token) == ("no_valid_refresh_token", "reused")
    assert not stage.accepts(third)


async def test_three_generations_behind_is_reuse(stage: Stage, first: TokenPair):
    """No window covers the third generation back."""
    pair = first
    for _ in range(3):
        pair = await stage.refresh(pair.refresh_token)
    assert await refused(stage, first.refresh_token) == ("no_valid_refresh_token", "reused")
    assert not stage.accepts(pair)


async def test_database_that_was_put_back_ends_the_session(stage: Stage, ada: Account, first: TokenPair):
    """A token ahead of the database means that the database is an old copy: the session ends with an alarm."""
    second = await stage.refresh(first.refresh_token)
    third = await stage.refresh(second.refresh_token)
    await stage.execute("UPDATE sessions SET generation = 1")
    assert await refused(stage, third.refresh_token) == ("no_valid_refresh_token", "rolled_back")
    assert (await stage.session(third.refresh_token))["revoked_reason"] == "rolled_back"
    [event] = await stage.events("refresh_rolled_back")
    assert (event["actor"], event["account_id"], event["address"]) == ("system", ada.id, "192.0.2.1")
    assert not stage.accepts(third)
    assert await refused(stage, second.refresh_token) == ("no_valid_refresh_token", "ended")


@pytest.mark.parametrize("opened_by", list(Delivery))
async def test_token_works_only_the_way_it_was_delivered(stage: Stage, ada: Account, opened_by: Delivery):
    """A token that comes the other way is invalid and changes nothing; its own way still works."""
    other = next(each for each in Delivery if each is not opened_by)
    pair = await stage.login(delivery=opened_by)
    before = await stage.contents()
    assert await refused(stage, pair.refresh_token, delivery=other) == ("invalid_refresh_token", "invalid")
    assert await stage.contents() == before
    assert await stage.refresh(pair.refresh_token, delivery=opened_by)


@pytest.mark.parametrize("tag", [bytes(32), b"\xff" * 32])
@pytest.mark.parametrize("generation", [0, 1, 7])
async def test_forged_token_changes_nothing(stage: Stage, first: TokenPair, tag: bytes, generation: int):
    """A wrong tag is refused before anything is judged: nobody can end a session without its token."""
    await stage.refresh(first.refresh_token)
    stage.clock.advance(GRACE)
    raw = decode_base64url(first.refresh_token[4:])
    forged = "tkr_" + encode_base64url(raw[:17] + generation.to_bytes(4, "big") + tag)
    before = await stage.contents()
    assert await refused(stage, forged) == ("invalid_refresh_token", "invalid")
    assert await stage.contents() == before


async def test_tag_of_another_session_does_not_fit(stage: Stage, first: TokenPair):
    """The tag of one session opens no other."""
    other = await stage.login()
    mixed = text_with_tag(first.refresh_token, RefreshToken.parse(other.refresh_token).tag)
    assert await refused(stage, mixed) == ("invalid_refresh_token", "invalid")


@pytest.mark.parametrize("text", ["", "tkr_", "x" * 75, "tkr_" + "A" * 71, "eyJhbGciOiJFUzI1NiJ9.e30.AA", "tkr_\ud800"])
async def test_malformed_token_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch, text: str):
    """What is no refresh token is invalid, and costs no look at the database."""

    async def look(*_: object) -> None:
        raise AssertionError("it was looked for")

    monkeypatch.setattr(stage.database, "change_once", look)
    code, _ = await refused(stage, text)
    assert code == "invalid_refresh_token"


async def test_session_that_does_not_exist_is_invalid(stage: Stage, first: TokenPair):
    """A token of a session that was never there, or is gone, looks like a forged one."""
    raw = decode_base64url(first.refresh_token[4:])
    unknown = "tkr_" + encode_base64url(raw[:1] + bytes(16) + raw[17:])
    assert await refused(stage, unknown) == ("invalid_refresh_token", "invalid")
    await stage.execute("DELETE FROM sessions")
    assert await refused(stage, first.refresh_token) == ("invalid_refresh_token", "invalid")


async def test_access_token_is_no_refresh_token(stage: Stage, first: TokenPair):
    """The two kinds of token cannot stand for each other."""
    assert await refused(stage, first.access_token) == ("invalid_refresh_token", "malformed")


async def test_session_under_an_unknown_secret_is_invalid(stage: Stage, first: TokenPair):
    """A session that names a server secret which is not configured cannot be refreshed, nor ended, by anyone."""
    await stage.execute("UPDATE sessions SET secret_version = 'unknown'")
    before = await stage.contents()
    assert await refused(stage, first.refresh_token) == ("invalid_refresh_token", "invalid")
    assert await stage.contents() == before


async def test_changed_server_secret_keeps_sessions(settings: Settings, clock: SettableClock):
    """After a change of the server secret sessions go on under the old one, and new ones begin under the new."""
    old = Secret((settings.data_dir / "secret").read_text().strip())
    new = Secret("the server secret from now on, also long: 9f")
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
    async with AuthServer(replace(settings, secret=new, previous_secrets=(old,)), clock=clock) as server:
        stage = Stage(server, clock)
        assert stage.accepts(pair)
        pair = await stage.refresh(pair.refresh_token)
        fresh = await stage.login()
        before, now = await stage.session(pair.refresh_token), await stage.session(fresh.refresh_token)
        assert before["secret_version"] != now["secret_version"]
        assert await stage.refresh(fresh.refresh_token)


async def test_logged_out_session_is_over(stage: Stage, first: TokenPair):
    """After a logout neither the last token nor any before it gets anything, and no alarm is raised."""
    second = await stage.refresh(first.refresh_token)
    await stage.logout(second.refresh_token)
    for token in (first, second):
        assert await refused(stage, token.refresh_token) == ("no_valid_refresh_token", "ended")
    assert await stage.events("refresh_reused") == []


async def test_disabled_account_gets_nothing(stage: Stage, first: TokenPair):
    """Sessions of a disabled account are over, and stay so when it is enabled again."""
    await stage.server.accounts.disable("Ada", actor="operator")
    assert await refused(stage, first.refresh_token) == ("no_valid_refresh_token", "ended")
    await stage.server.accounts.enable("Ada", actor="operator")
    assert await refused(stage, first.refresh_token) == ("no_valid_refresh_token", "ended")


async def test_disabled_account_is_noticed_without_an_ended_session(stage: Stage, first: TokenPair):
    """The account is looked at in each refresh, even if its session was left alive."""
    await stage.execute("UPDATE accounts SET disabled_at = 1")
    before = await stage.contents()
    assert await refused(stage, first.refresh_token) == ("no_valid_refresh_token", "ended")
    assert await stage.contents() == before


async def test_new_role_comes_with_the_next_refresh(stage: Stage, first: TokenPair):
    """A changed role ends the access token at once and is in the next one; the session lives."""
    await stage.server.accounts.set_role("Ada", "admin", actor="operator")
    assert not stage.accepts(first)
    second = await stage.refresh(first.refresh_token)
    token = stage.read(second)
    assert (token.role, token.version) == ("admin", 2)


@pytest.mark.parametrize(("idle", "lives"), [(7 * DAY - 1, True), (7 * DAY, False), (8 * DAY, False)])
async def test_idle_session_ends(stage: Stage, first: TokenPair, idle: int, lives: bool):
    """A session that is not refreshed for seven days is over, to the millisecond."""
    stage.clock.advance(idle)
    if lives:
        assert await stage.refresh(first.refresh_token)
    else:
        assert await refused(stage, first.refresh_token) == ("no_valid_refresh_token", "ended")


async def test_replays_do_not_keep_a_session_alive(stage: Stage, first: TokenPair):
    """Only a rotation moves the idle end, a repeated answer does not."""
    second = await stage.refresh(first.refresh_token)
    stage.clock.advance(GRACE - 1)
    again = await stage.refresh(first.refresh_token)
    assert again.refresh_expires_in == (7 * DAY - GRACE + 1) // 1000
    stage.clock.advance(7 * DAY - GRACE + 1)
    assert await refused(stage, second.refresh_token) == ("no_valid_refresh_token", "ended")


async def test_session_ends_thirty_days_after_its_login(stage: Stage, first: TokenPair):
    """However often it is refreshed, a session is over at the absolute end that its login fixed."""
    pair = first
    for _ in range(29):
        stage.clock.advance(DAY)
        pair = await stage.refresh(pair.refresh_token)
    stage.clock.advance(DAY - 60 * SECOND)
    last = await stage.refresh(pair.refresh_token)
    assert (last.expires_in, last.refresh_expires_in) == (60, 60)
    assert jwt.decode_unverified(last.access_token).claims["exp"] == (START + 30 * DAY) // 1000
    stage.clock.advance(60 * SECOND)
    assert await refused(stage, last.refresh_token) == ("no_valid_refresh_token", "ended")


async def test_refresh_every_hour_never_passes_the_end(settings: Settings, clock: SettableClock):
    """No access token and no cookie outlives the session's absolute end."""
    brief = replace(settings, session_ttl=timedelta(hours=2), refresh_idle_ttl=timedelta(hours=1))
    async with AuthServer(brief, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        clock.advance(123)
        pair = await stage.login()
        end = clock.now() + 2 * HOUR
        while clock.now() < end - 10 * 60 * SECOND:
            clock.advance(7 * 60 * SECOND)
            pair = await stage.refresh(pair.refresh_token)
            assert jwt.decode_unverified(pair.access_token).claims["exp"] * 1000 <= end
            assert clock.now() + pair.refresh_expires_in * 1000 <= end
            assert pair.expires_in > 0


@pytest.mark.parametrize("remaining", [1, 100, 500, 999, 1_000, 1_001, 1_999])
async def test_last_second_of_a_session_is_no_error(stage: Stage, ada: Account, remaining: int):
    """So close to the end that no whole second is left, a refresh gives a pair or says that the session is over."""
    for _ in range(4):
        stage.clock.advance(333)
        pair = await stage.login()
        end = stage.clock.now() + 30 * DAY
        await stage.execute("UPDATE sessions SET idle_expires_at = expires_at WHERE revoked_at IS NULL")
        stage.clock.advance(30 * DAY - remaining)
        try:
            last = await stage.refresh(pair.refresh_token)
        except NoValidRefreshToken:
            assert remaining < 1_000
        else:
            assert last.expires_in >= 1
            assert jwt.decode_unverified(last.access_token).claims["exp"] * 1000 <= end
        await stage.logout(pair.refresh_token)


async def test_unknown_audience_is_refused_before_the_token_is_spent(stage: Stage, first: TokenPair):
    """A mistake in the request costs nobody a session."""
    before = await stage.contents()
    with pytest.raises(InvalidField) as refusal:
        await stage.refresh(first.refresh_token, audience="https://other.example")
    assert refusal.value.field == "audience"
    assert await stage.contents() == before


async def test_each_refresh_may_ask_for_another_audience(settings: Settings, clock: SettableClock):
    """The audience belongs to the access token and not to the session."""
    async with AuthServer(replace(settings, audiences=("https://api.example",)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
        pair = await stage.refresh(pair.refresh_token, audience="https://api.example")
        assert jwt.decode_unverified(pair.access_token).claims["aud"] == "https://api.example"
        pair = await stage.refresh(pair.refresh_token)
        assert jwt.decode_unverified(pair.access_token).claims["aud"] == settings.issuer


async def test_parallel_refreshes_get_one_successor(stage: Stage, first: TokenPair):
    """200 refreshes of one token at once give 200 answers with one and the same successor."""
    pairs = await asyncio.gather(*(stage.refresh(first.refresh_token) for _ in range(200)))
    assert len({pair.refresh_token for pair in pairs}) == 1
    assert len({pair.access_token for pair in pairs}) == 200
    assert all(stage.accepts(pair) for pair in pairs)
    assert (await stage.session(first.refresh_token))["generation"] == 1
    assert await stage.events("refresh_reused") == []
    assert await stage.refresh(pairs[0].refresh_token)


async def test_parallel_chains_stay_one_chain(stage: Stage, first: TokenPair):
    """Tabs that refresh in rounds always agree on the successor."""
    current = first.refresh_token
    for generation in range(1, 6):
        pairs = await asyncio.gather(*(stage.refresh(current) for _ in range(10)))
        assert len({pair.refresh_token for pair in pairs}) == 1
        current = pairs[0].refresh_token
        assert (await stage.session(current))["generation"] == generation


async def test_refresh_in_flight_does_not_outlive_a_logout(stage: Stage, first: TokenPair):
    """Whichever order refreshes and a logout come in, nothing is left alive."""
    outcomes = await asyncio.gather(
        *(stage.refresh(first.refresh_token) for _ in range(10)),
        stage.logout(first.refresh_token),
        *(stage.refresh(first.refresh_token) for _ in range(10)),
        return_exceptions=True,
    )
    assert (await stage.session(first.refresh_token))["revoked_reason"] == "logout"
    pairs = [outcome for outcome in outcomes if isinstance(outcome, TokenPair)]
    assert not any(stage.accepts(pair) for pair in pairs)
    for pair in pairs:
        assert await refused(stage, pair.refresh_token) == ("no_valid_refresh_token", "ended")


async def test_grace_of_zero_repeats_nothing(settings: Settings, clock: SettableClock):
    """With the window closed the second use of a token ends the session at once."""
    async with AuthServer(replace(settings, refresh_grace=timedelta(0)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
        await stage.refresh(pair.refresh_token)
        assert await refused(stage, pair.refresh_token) == ("no_valid_refresh_token", "reused")


async def test_storage_that_does_not_answer_decides_nothing(stage: Stage, first: TokenPair):
    """Without the database a refresh is neither accepted nor refused, and works again afterwards."""
    await stage.database.close()
    with pytest.raises(StorageUnavailable):
        await stage.refresh(first.refresh_token)
    await stage.database.open()
    assert await stage.refresh(first.refresh_token)


async def test_sessions_survive_a_restart(settings: Settings, clock: SettableClock):
    """Tokens, generations and revocations are in the database and nowhere else."""
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        alive, ended = await stage.login(), await stage.login()
        await stage.logout(ended.refresh_token)
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        assert stage.accepts(alive)
        assert not stage.accepts(ended)
        assert await stage.refresh(alive.refresh_token)
        assert await refused(stage, ended.refresh_token) == ("no_valid_refresh_token", "ended")
