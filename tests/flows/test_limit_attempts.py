"""Limits on attempts: what is let in, what is refused before any hashing, and that nobody can be kept out by others."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.flows.stage import FIREFOX, PASSWORD, Stage, count_checks, hash_for_nothing
from tests.settable_clock import SettableClock
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import InvalidCredentials, Throttled
from tokenkeep.domain.limits import FREE_FAILURES, NEWCOMER, NEWCOMERS, address_block, neighbourhood
from tokenkeep.domain.sessions import Client
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.replace_password import Passwords
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.settings.kinds import Rate

DAY = 86_400_000
HOME = FIREFOX
HOTEL = Client("Firefox", "198.51.100.20")
THIEF = Client("thief/1.0", "203.0.113.66")
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def no_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords cost nothing here: limits are counted before any hashing, and these tests make many attempts."""
    hash_for_nothing(monkeypatch)


async def verdict(attempt: Awaitable[object]) -> str:
    """Return what came of an attempt: `in`, `wrong`, or the limit that refused it."""
    try:
        await attempt
    except InvalidCredentials:
        return "wrong"
    except Throttled as refusal:
        return refusal.quota.name if refusal.quota is not None and refusal.retry_after >= 1 else "no reason"
    return "in"


async def guess(stage: Stage, client: Client, name: str = "Ada") -> str:
    """Return what comes of a wrong password."""
    return await verdict(stage.login(name, "wrong-horse-battery", client=client))


async def enter(stage: Stage, client: Client, name: str = "Ada") -> str:
    """Return what comes of the right password."""
    return await verdict(stage.login(name, client=client))


async def elapse(stage: Stage, seconds: float) -> None:
    """Let time pass on a server that has gone on reading its keys."""
    stage.clock.elapse(seconds)
    await stage.parts.key_ring.reload()


async def besiege(stage: Stage, name: str = "Ada", client: Client = THIEF) -> None:
    """Guess from one place until the name must rest, and the place has had what a newcomer may try."""
    for _ in range(FREE_FAILURES + 1 + NEWCOMER.count):
        assert await guess(stage, client, name) == "wrong"
    assert await guess(stage, client, name) == "login-name"


async def test_a_name_under_attack_must_rest(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """After some guesses the name must rest, the right password too; refused attempts cost no hash."""
    await besiege(stage)
    checked = count_checks(monkeypatch)
    with pytest.raises(Throttled) as refusal:
        await stage.login(client=THIEF)
    assert refusal.value.retry_after == 1
    assert checked == []
    stage.clock.elapse(1)
    assert await guess(stage, THIEF) == "wrong"
    with pytest.raises(Throttled) as refusal:
        await stage.login(client=THIEF)
    assert refusal.value.retry_after == 2
    stage.clock.elapse(2)
    assert await enter(stage, THIEF) == "in"
    assert await guess(stage, THIEF) == "wrong"


async def test_names_that_do_not_exist_must_rest_alike(stage: Stage, ada: Account):
    """A stranger learns from the limits nothing about which names there are."""
    await stage.add("Disabled")
    await stage.server.accounts.disable("Disabled", actor="operator")
    told = {
        name: [await guess(stage, Client("", f"203.0.113.{place}"), name) for place in range(12)]
        for name in ("Ada", "Nobody", "Disabled")
    }
    assert told["Ada"] == told["Nobody"] == told["Disabled"]
    assert set(told["Ada"]) == {"wrong", "login-name"}


async def test_a_success_gives_its_name_new_attempts(stage: Stage, ada: Account):
    """Who mistypes and then gets in starts anew, time after time."""
    for _ in range(4):
        for _ in range(FREE_FAILURES):
            assert await guess(stage, HOTEL) == "wrong"
        assert await enter(stage, HOTEL) == "in"


async def test_a_success_on_another_name_does_not(settings: Settings, clock: SettableClock):
    """Logging in to an account of one's own gives back nothing of what an address or another name has used up."""
    async with AuthServer(replace(settings, login_limit_address=Rate(12, MINUTE)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add("Ada")
        await stage.add("Mallory")
        for _ in range(FREE_FAILURES + 1 + NEWCOMER.count):
            assert await guess(stage, THIEF) == "wrong"
        assert await enter(stage, THIEF, "Mallory") == "in"
        assert await guess(stage, THIEF) == "login-name"
        assert await enter(stage, THIEF, "Mallory") == "in"
        assert await enter(stage, THIEF, "Mallory") == "in"
        assert await enter(stage, THIEF, "Mallory") == "login-address"
        assert await enter(stage, HOME) == "in"


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
async def test_an_address_has_a_quota_whatever_the_names(
    settings: Settings, clock: SettableClock, first: str, second: str, shared: bool
):
    """One IPv4 address, or one /64 of IPv6, may try so often, over all names; right passwords count too."""
    async with AuthServer(replace(settings, login_limit_address=Rate(4, MINUTE)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        for number in range(3):
            assert await guess(stage, Client("", first), f"Name {number}") == "wrong"
        assert await enter(stage, Client("", first)) == "in"
        assert await guess(stage, Client("", first), "Another") == "login-address"
        assert await enter(stage, Client("", second)) == ("login-address" if shared else "in")


async def test_all_together_have_a_quota_that_owners_at_home_do_not_need(settings: Settings, clock: SettableClock):
    """Whoever has many addresses uses up the quota of all strangers, and keeps nobody from logging in at home."""
    async with AuthServer(replace(settings, login_limit_everyone=Rate(20, MINUTE)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        assert await enter(stage, HOME) == "in"
        told = [await guess(stage, Client("", f"203.0.113.{number}"), f"Name {number}") for number in range(25)]
        assert told == ["wrong"] * 19 + ["login-everyone"] * 6
        assert await enter(stage, HOTEL) == "login-everyone"
        assert await enter(stage, HOME) == "in"


async def test_names_that_must_rest_take_nobodys_room(settings: Settings, clock: SettableClock):
    """Attempts that are refused for their name's sake do not count against everyone's quota."""
    async with AuthServer(replace(settings, login_limit_everyone=Rate(20, MINUTE)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        await besiege(stage)
        for _ in range(50):
            assert await guess(stage, THIEF) == "login-name"
        assert await enter(stage, HOTEL) == "in"


async def test_a_stranger_does_not_slow_down_the_owner_at_home(stage: Stage, ada: Account):
    """The place from which an account has logged in has a count of its own, in which the stranger's are not."""
    assert await enter(stage, HOME) == "in"
    await besiege(stage)
    for _ in range(FREE_FAILURES):
        assert await guess(stage, HOME) == "wrong"
    assert await enter(stage, HOME) == "in"
    assert await guess(stage, THIEF) == "login-name"


async def test_home_is_a_whole_block(stage: Stage, ada: Account):
    """A telephone whose IPv6 address changes within its /64 stays at home."""
    assert await enter(stage, Client("", "2001:db8:0:1::1")) == "in"
    await besiege(stage)
    for _ in range(FREE_FAILURES):
        assert await guess(stage, Client("", "2001:db8:0:1:aaaa:bbbb:cccc:dddd")) == "wrong"
    assert await enter(stage, Client("", "2001:db8:0:1::2")) == "in"


async def test_guesses_at_home_are_limited_too(stage: Stage, ada: Account):
    """Whoever guesses from the owner's own block must rest like everybody else."""
    assert await enter(stage, HOME) == "in"
    told = [await guess(stage, HOME) for _ in range(FREE_FAILURES + 2)]
    assert told == ["wrong"] * (FREE_FAILURES + 1) + ["login-name"]


@pytest.mark.parametrize(("later", "at_home"), [(30 * DAY - 1, True), (30 * DAY, False)])
async def test_home_is_forgotten_after_thirty_days(stage: Stage, ada: Account, later: int, at_home: bool):
    """A place stays familiar for thirty days after the last login from it, to the millisecond."""
    assert await enter(stage, HOME) == "in"
    stage.clock.advance(later)
    await besiege(stage)
    told = [await guess(stage, HOME) for _ in range(NEWCOMER.count + 1)]
    assert told[-1] == ("wrong" if at_home else "login-name")


async def test_home_is_remembered_longer_than_short_sessions(settings: Settings, clock: SettableClock):
    """Where sessions live for hours, their rows stay for as long as the place of their login is familiar."""
    short = replace(settings, session_ttl=timedelta(hours=1), refresh_idle_ttl=timedelta(hours=1))
    async with AuthServer(short, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        assert await enter(stage, HOME) == "in"
        for day, left in ((29, 1), (2, 0)):
            clock.advance(day * DAY)
            await server.graph.purge.purge()
            assert len(await stage.rows("SELECT id FROM sessions")) == left
            if left:
                await besiege(stage)
                assert [await guess(stage, HOME) for _ in range(NEWCOMER.count + 1)][-1] == "wrong"


async def test_a_stolen_refresh_token_moves_no_home(stage: Stage, ada: Account):
    """A refresh makes its place not familiar, and takes nothing from the place of the login."""
    pair = await stage.login(client=HOME)
    stage.clock.advance(3_600_000)
    await stage.refresh(pair.refresh_token, client=THIEF)
    assert (await stage.session(pair.refresh_token))["address"] == THIEF.address
    stage.clock.advance(3_600_000)
    await besiege(stage)
    for _ in range(FREE_FAILURES):
        assert await guess(stage, HOME) == "wrong"
    assert await enter(stage, HOME) == "in"


async def test_a_new_password_makes_its_place_familiar(stage: Stage, ada: Account):
    """Who changes the password has just shown to know it: the place counts as one of a login."""
    pair = await stage.login(client=HOME)
    change = stage.parts.services.change_password.change
    await change(stage.read(pair), Passwords(PASSWORD, "marmot-cellar-bridge"), HOTEL)
    await besiege(stage)
    for _ in range(FREE_FAILURES):
        assert await guess(stage, HOTEL) == "wrong"


async def test_one_address_cannot_keep_the_owner_out_anywhere(stage: Stage, ada: Account):
    """However exactly a stranger takes each turn of the name, the owner gets in from a place never seen before."""
    for _ in range(300):
        await elapse(stage, 1)
        told = await guess(stage, THIEF)
    while told != "wrong":
        await elapse(stage, 1)
        told = await guess(stage, THIEF)
    assert await guess(stage, THIEF) == "login-name"
    assert await guess(stage, HOTEL) == "wrong"
    assert await enter(stage, HOTEL) == "in"
    assert await enter(stage, HOTEL) == "in"


async def test_newcomers_are_few(stage: Stage, ada: Account):
    """Whoever has many networks guesses a dozen times an hour beside the delay, and never more from one network."""
    await besiege(stage)
    neighbours = [Client("", f"198.51.100.{number}") for number in range(1, 6)]
    told = [await guess(stage, neighbour) for neighbour in neighbours]
    assert told == ["wrong"] * NEWCOMER.count + ["login-name"] * (5 - NEWCOMER.count)
    networks = [Client("", f"10.0.{number}.1") for number in range(30)]
    told = [await guess(stage, network) for network in networks]
    assert told.count("wrong") == NEWCOMERS.count - 2 * NEWCOMER.count
    await elapse(stage, 300)
    assert await guess(stage, Client("", "10.1.1.1")) == "wrong"


async def test_a_newcomer_gives_the_stranger_nothing_back(stage: Stage, ada: Account):
    """When the owner gets in as a newcomer, the name goes on resting for the others."""
    await besiege(stage)
    assert await enter(stage, HOTEL) == "in"
    assert await guess(stage, THIEF) == "login-name"


async def test_a_stolen_access_token_does_not_unlimit_guesses(stage: Stage, ada: Account):
    """Guesses at the current password count against the account, whoever sends them, and not against its logins."""
    pair = await stage.login(client=HOME)
    token, change = stage.read(pair), stage.parts.services.change_password.change
    wrong = Passwords("wrong-horse-battery", "marmot-cellar-bridge")
    told = [await verdict(change(token, wrong, THIEF)) for _ in range(FREE_FAILURES + NEWCOMER.count + 2)]
    assert told == ["wrong"] * (FREE_FAILURES + NEWCOMER.count + 1) + ["login-name"]
    assert await verdict(change(token, Passwords(PASSWORD, "marmot-cellar-bridge"), HOTEL)) == "in"
    assert await guess(stage, THIEF) == "wrong"


async def test_refreshes_of_an_address_have_a_quota(settings: Settings, clock: SettableClock):
    """One place may refresh so often, rightly or not; others go on; nothing is looked at beyond it."""
    async with AuthServer(replace(settings, refresh_limit_address=Rate(3, MINUTE)), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair: TokenPair = await stage.login()
        for _ in range(3):
            pair = await stage.refresh(pair.refresh_token)
        before = await stage.session(pair.refresh_token)
        with pytest.raises(Throttled) as refusal:
            await stage.refresh(pair.refresh_token)
        assert refusal.value.quota is not None
        assert (refusal.value.quota.name, refusal.value.retry_after) == ("refresh-address", 20)
        assert await stage.session(pair.refresh_token) == before
        clock.elapse(20)
        await stage.parts.key_ring.reload()
        pair = await stage.refresh(pair.refresh_token)
        assert await stage.refresh(pair.refresh_token, client=HOTEL)


async def test_limits_that_are_off_refuse_nothing(settings: Settings, clock: SettableClock):
    """Where nobody else can reach the server, limits may be off, and then nothing is counted."""
    async with AuthServer(replace(settings, rate_limits=False), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        assert {await guess(stage, THIEF) for _ in range(100)} == {"wrong"}
        assert await enter(stage, THIEF) == "in"


def test_places_of_these_tests_are_what_they_are_meant_to_be():
    """Home, hotel and thief are three neighbourhoods."""
    places = (HOME, HOTEL, THIEF)
    assert len({neighbourhood(place.address) for place in places}) == 3
    assert len({address_block(place.address) for place in places}) == 3
