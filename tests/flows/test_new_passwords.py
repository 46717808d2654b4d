"""New passwords: one set of rules, whoever sets them, and nothing is stored of one that is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tests.flows.stage import FIREFOX, PASSWORD, Stage
from tests.settable_clock import SettableClock
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import InvalidField
from tokenkeep.domain.sessions import Delivery
from tokenkeep.flows.login import Credentials
from tokenkeep.flows.replace_password import Passwords
from tokenkeep.passwords import Argon2Parameters
from tokenkeep.passwords import strength as measuring
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings


async def add(stage: Stage, password: str) -> object:
    """Create an account whose name is Lovelace."""
    return await stage.add("Lovelace", password=password)


async def set_password(stage: Stage, password: str) -> object:
    """Replace the password of an account by command."""
    await stage.add("Lovelace")
    return await stage.server.accounts.set_password("Lovelace", password, actor="operator")


async def change(stage: Stage, password: str) -> object:
    """Replace one's own password."""
    await stage.add("Lovelace")
    token = stage.read(await stage.login("Lovelace"))
    return await stage.parts.services.change_password.change(token, Passwords(PASSWORD, password), FIREFOX)


async def replace_at_login(stage: Stage, password: str) -> object:
    """Replace a temporary password by logging in."""
    first = "for-one-thing-only-7"
    await stage.server.accounts.create("Lovelace", first, role="user", actor="operator", temporary=True)
    credentials = Credentials("Lovelace", first, password)
    return await stage.parts.services.login.login(credentials, FIREFOX, delivery=Delivery.COOKIE)


Way = Callable[[Stage, str], Awaitable[object]]
WAYS: dict[Way, str] = {
    add: "password",
    set_password: "password",
    change: "newPassword",
    replace_at_login: "newPassword",
}


@pytest.fixture
async def stage(settings: Settings, clock: SettableClock) -> Stage:
    """A server whose address is a word."""
    async with AuthServer(replace(settings, issuer="https://engines.example.com"), clock=clock) as server:
        yield Stage(server, clock)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("password1234567", "similar to a commonly used password"),
        ("qwertyuiopasdfgh", "easy to guess"),
        ("xxxxxxxxxxxxxxxxx", "Repeats"),
        ("lovelace-lovelace-1815", "name of the account or of the service"),
        ("tokenkeep-tokenkeep-1", "name of the account or of the service"),
        ("engines.example.com!", "name of the account or of the service"),
        ("too-short-one!", "at least 15 characters"),
        ("x" * 1025, "at most 1024 characters"),
    ],
)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_weak_password_is_refused_on_every_path(stage: Stage, way: Way, password: str, said: str):
    """Wherever a password is set, an easy one is refused under the field's name with its reason, and not stored."""
    with pytest.raises(InvalidField) as refusal:
        await way(stage, password)
    assert refusal.value.field == WAYS[way]
    assert said in refusal.value.sentence
    assert password not in str(refusal.value)
    accounts = await stage.rows("SELECT * FROM accounts")
    assert len(accounts) == (0 if way is add else 1)
    if way in {set_password, change}:
        assert stage.accepts(await stage.login("Lovelace"))


@pytest.mark.parametrize(
    "password", ["correct-horse-battery", "lovelace likes analytical engines", "aprilregen und zwei schirme"]
)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_good_password_is_taken_on_every_path(stage: Stage, way: Way, password: str):
    """A phrase is taken, without capitals, digits or signs, and opens the account."""
    await way(stage, password)
    assert stage.accepts(await stage.login("Lovelace", password))


async def test_nothing_is_measured_that_is_too_long(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """A password that breaks the rules of length is refused before any work is done for it."""
    monkeypatch.setattr(measuring, "measure", lambda *_: pytest.fail("it was measured"))
    for password in ("x" * 1_048_576, "x" * 1_025, "short"):
        with pytest.raises(InvalidField):
            await stage.add("Lovelace", password=password)


async def test_password_that_exists_is_not_judged(stage: Stage, ada: Account, monkeypatch: pytest.MonkeyPatch):
    """Rules may become stricter: who has a password keeps it."""
    monkeypatch.setattr(measuring, "measure", lambda *_: pytest.fail("it was measured"))
    assert stage.accepts(await stage.login())


async def test_configured_cost_is_that_of_new_hashes(settings: Settings, clock: SettableClock):
    """`argon2_memory` and `argon2_passes` are the cost of new hashes, and old ones are renewed to it."""
    async with AuthServer(settings, clock=clock) as server:
        await Stage(server, clock).add("Ada")
    costlier = replace(settings, argon2_memory=20_480, argon2_passes=3)
    async with AuthServer(costlier, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.login("Ada")
        assert (await stage.account())["password_kind"] == str(Argon2Parameters(20_480, 3).cost)
        assert await stage.add("Grace")
        assert (await stage.account("Grace"))["password_hash"].startswith("$argon2id$v=19$m=20480,t=3,p=1$")
