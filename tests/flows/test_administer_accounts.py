"""Administering accounts: what each change stores, what it ends, and what it leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.flows.stage import FIREFOX, PASSWORD, Stage
from tests.settable_clock import START
from tokenkeep.domain.accounts import Account, parse_name
from tokenkeep.domain.errors import InvalidCredentials, InvalidField, NameTaken, NotFound, NoValidRefreshToken
from tokenkeep.domain.sessions import RefreshToken
from tokenkeep.flows.administer_accounts import PAGE_SIZE
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.find_account import by_name
from tokenkeep.storage.sql.database import SqlTransaction

NEW_PASSWORD = "another-good-password"


async def test_account_is_created(stage: Stage):
    """A new account has an id of its own, version 1, a hash, and an event that names who made it."""
    account = await stage.server.accounts.create("Ada", PASSWORD, role="admin", actor="operator")
    stored = await stage.account()
    assert stored == {
        "id": account.id,
        "name": "Ada",
        "name_key": "ada",
        "role": "admin",
        "password_hash": account.password_hash,
        "password_kind": "argon2id m=19456,t=2,p=1",
        "token_version": 1,
        "created_at": START,
        "last_login_at": None,
        "disabled_at": None,
        "password_expires_at": None,
    }
    assert len(account.id) == 22
    assert stored["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    [event] = await stage.events("account_created")
    assert (event["actor"], event["account_id"], event["detail"]) == ("operator", account.id, "admin")


async def test_fresh_installation_has_no_account(stage: Stage):
    """There is no default account to log in with."""
    assert await stage.server.accounts.list() == []
    with pytest.raises(InvalidCredentials):
        await stage.login("admin", "admin-admin-admin")


@pytest.mark.parametrize("name", ["Ada", "ada", "ADA", "Ａｄａ"])
async def test_name_that_reads_the_same_is_taken(stage: Stage, ada: Account, name: str):
    """Two accounts never have names that differ in case or form only."""
    with pytest.raises(NameTaken):
        await stage.add(name)
    assert [account.name for account in await stage.server.accounts.list()] == ["Ada"]
    assert len(await stage.events("account_created")) == 1


@pytest.mark.parametrize(
    "name", ["\u0430dmin", "\u0410DMIN", "adm\u0456n", "ad\u200bmin", "admin\u2060", "\u202eadmin"]
)
async def test_look_alikes_neither_exist_beside_a_name_nor_open_it(stage: Stage, name: str):
    """A name of two scripts, or with characters that cannot be seen, is never given, and logs in as nobody."""
    await stage.add("admin")
    with pytest.raises(InvalidField):
        await stage.add(name)
    with pytest.raises((InvalidCredentials, InvalidField)):
        await stage.login(name)
    assert stage.accepts(await stage.login("ADMIN"))


@pytest.mark.parametrize("name", ["\u0430dmin", "\u0430\u0441\u0435", "ada  lovelace", "o\u2019brien", "ada\U0001f40e"])
async def test_name_from_before_a_rule_still_opens_its_account(stage: Stage, name: str):
    """An account whose name may not be given any more logs in with it, and can be changed by it."""
    await stage.add("Old")
    key = parse_name(name).key
    await stage.execute("UPDATE accounts SET name = $1, name_key = $2 WHERE name = 'Old'", name, key)
    assert stage.read(await stage.login(name)).name == name
    assert (await stage.server.accounts.set_role(name, "editor", actor="operator")).role == "editor"
    assert [account.name for account in await stage.server.accounts.page("", limit=5)] == [name]
    with pytest.raises(InvalidField):
        await stage.add(name)


async def test_parallel_creations_make_one_account(stage: Stage):
    """Of several requests for one name at once, one wins."""
    outcomes = await asyncio.gather(
        *(stage.add(name) for name in ("Ada", "ADA", "ada", "aDa", "adA")), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Account"] + ["NameTaken"] * 4
    assert len(await stage.server.accounts.list()) == 1


@pytest.mark.parametrize(
    ("name", "password", "role", "field"),
    [
        ("", PASSWORD, "user", "name"),
        ("A\0", PASSWORD, "user", "name"),
        ("Ada", "too-short-one!", "user", "password"),
        ("Ada", "x" * 1025, "user", "password"),
        ("Ada", "Ada" * 6, "user", "password"),
        ("Ada", PASSWORD, "Admin", "role"),
        ("Ada", PASSWORD, "", "role"),
    ],
)
async def test_impossible_account_is_refused(stage: Stage, name: str, password: str, role: str, field: str):
    """What breaks a rule is refused as a field, and nothing is stored."""
    with pytest.raises(InvalidField) as refusal:
        await stage.server.accounts.create(name, password, role=role, actor="operator")
    assert refusal.value.field == field
    assert await stage.server.accounts.list() == []


async def test_list_has_every_account_once_and_in_order(stage: Stage):
    """Accounts are listed by name, over as many pages as there are."""
    names = [f"user{number:04}" for number in range(2 * PAGE_SIZE + 1)]

    async def add_all(tx: SqlTransaction) -> None:
        for name in reversed(names):
            await tx.execute(
                "INSERT INTO accounts (id, name, name_key, role, token_version, created_at)"
                " VALUES ($1, $1, $1, 'user', 1, 0)",
                name,
            )

    await stage.database.transact(add_all)
    assert [account.name for account in await stage.server.accounts.list()] == names


async def test_disabling_ends_everything(stage: Stage, ada: Account):
    """A disabled account has no live session, no accepted access token, and cannot log in."""
    pairs = [await stage.login(), await stage.login()]
    stage.clock.advance(1_000)
    disabled = await stage.server.accounts.disable("Ada", actor="operator")
    assert disabled.disabled_at == START + 1_000
    assert disabled.token_version == 2
    for pair in pairs:
        assert not stage.accepts(pair)
        session = await stage.session(pair.refresh_token)
        assert (session["revoked_at"], session["revoked_reason"]) == (START + 1_000, "account_disabled")
        with pytest.raises(NoValidRefreshToken):
            await stage.refresh(pair.refresh_token)
    with pytest.raises(InvalidCredentials):
        await stage.login()
    [revocation] = await stage.revocations()
    assert (revocation["kind"], revocation["value"], revocation["version"]) == ("sub", ada.id, 1)
    [event] = await stage.events("account_disabled")
    assert (event["actor"], event["account_id"], event["at"]) == ("operator", ada.id, START + 1_000)


async def test_enabling_brings_back_the_account_and_no_session(stage: Stage, ada: Account):
    """An enabled account logs in again; what was ended stays ended."""
    old = await stage.login()
    await stage.server.accounts.disable("Ada", actor="operator")
    enabled = await stage.server.accounts.enable("Ada", actor="operator")
    assert not enabled.disabled
    assert not stage.accepts(old)
    with pytest.raises(NoValidRefreshToken):
        await stage.refresh(old.refresh_token)
    assert stage.accepts(await stage.login())
    [event] = await stage.events("account_enabled")
    assert (event["actor"], event["account_id"]) == ("operator", ada.id)
    assert len(await stage.revocations()) == 1


async def test_new_role_ends_access_tokens_only(stage: Stage, ada: Account):
    """Access tokens with the old role end at once; sessions live on and carry the new one."""
    old = await stage.login()
    changed = await stage.server.accounts.set_role("Ada", "admin", actor="operator")
    assert (changed.role, changed.token_version) == ("admin", 2)
    assert not stage.accepts(old)
    renewed = await stage.refresh(old.refresh_token)
    assert stage.read(renewed).role == "admin"
    [event] = await stage.events("role_changed")
    assert (event["actor"], event["account_id"], event["detail"]) == ("operator", ada.id, "admin")
    [revocation] = await stage.revocations()
    assert (revocation["kind"], revocation["version"], revocation["reason"]) == ("sub", 1, "role_changed")


async def test_role_taken_back_in_the_same_instant_leaves_no_admin(stage: Stage, ada: Account):
    """Promotions and demotions within one millisecond are told apart by their versions."""
    await stage.server.accounts.set_role("Ada", "admin", actor="operator")
    as_admin = await stage.login()
    await stage.server.accounts.set_role("Ada", "user", actor="operator")
    assert not stage.accepts(as_admin)
    assert stage.read(await stage.login()).role == "user"


async def test_new_password_ends_everything_and_opens(stage: Stage, ada: Account):
    """After a new password the old one, every session and every access token are dead."""
    old = await stage.login()
    changed = await stage.server.accounts.set_password("Ada", NEW_PASSWORD, actor="operator")
    assert changed.token_version == 2
    assert not stage.accepts(old)
    assert (await stage.session(old.refresh_token))["revoked_reason"] == "password_changed"
    with pytest.raises(NoValidRefreshToken):
        await stage.refresh(old.refresh_token)
    with pytest.raises(InvalidCredentials):
        await stage.login()
    assert stage.accepts(await stage.login(password=NEW_PASSWORD))
    [event] = await stage.events("password_set")
    assert (event["actor"], event["account_id"], event["detail"]) == ("operator", ada.id, "")


async def test_new_password_does_not_enable(stage: Stage, ada: Account):
    """A disabled account stays disabled with any password."""
    await stage.server.accounts.disable("Ada", actor="operator")
    await stage.server.accounts.set_password("Ada", NEW_PASSWORD, actor="operator")
    with pytest.raises(InvalidCredentials):
        await stage.login(password=NEW_PASSWORD)


async def test_new_password_obeys_the_rules(stage: Stage, ada: Account):
    """A password that may not be set changes nothing."""
    pair = await stage.login()
    for password in ("short", "AdaAdaAdaAdaAda", "x" * 1025):
        with pytest.raises(InvalidField):
            await stage.server.accounts.set_password("Ada", password, actor="operator")
    assert stage.accepts(pair)


Change = Callable[[Stage], Awaitable[Any]]

REPEATED: dict[str, tuple[Change, Change]] = {
    "disable": (
        lambda stage: stage.server.accounts.disable("Ada", actor="operator"),
        lambda stage: stage.server.accounts.disable("ADA", actor="operator"),
    ),
    "enable": (
        lambda stage: stage.server.accounts.enable("Ada", actor="operator"),
        lambda stage: stage.server.accounts.enable("Ada", actor="operator"),
    ),
    "set role": (
        lambda stage: stage.server.accounts.set_role("Ada", "editor", actor="operator"),
        lambda stage: stage.server.accounts.set_role("Ada", "editor", actor="operator"),
    ),
}


@pytest.mark.parametrize(("change", "again"), REPEATED.values(), ids=REPEATED.keys())
async def test_change_that_changes_nothing_leaves_no_trace(stage: Stage, ada: Account, change: Change, again: Change):
    """What is so already is not done again: no event, no revocation, no new version."""
    await change(stage)
    stage.clock.advance(1_000)
    before = await stage.contents()
    await again(stage)
    assert await stage.contents() == before


CHANGES: dict[str, Change] = {
    "disable": lambda stage: stage.server.accounts.disable("Nobody", actor="operator"),
    "enable": lambda stage: stage.server.accounts.enable("Nobody", actor="operator"),
    "set role": lambda stage: stage.server.accounts.set_role("Nobody", "admin", actor="operator"),
    "set password": lambda stage: stage.server.accounts.set_password("Nobody", NEW_PASSWORD, actor="operator"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_account_that_does_not_exist_is_not_found(stage: Stage, ada: Account, change: Change):
    """A change of nobody is refused and stores nothing."""
    before = await stage.contents()
    with pytest.raises(NotFound, match="Nobody"):
        await change(stage)
    assert await stage.contents() == before


async def test_changes_leave_other_accounts_alone(stage: Stage, ada: Account):
    """Nothing that happens to one account ends anything of another."""
    await stage.add("Grace")
    grace = await stage.login("Grace")
    await stage.server.accounts.disable("Ada", actor="operator")
    await stage.server.accounts.set_role("Ada", "admin", actor="operator")
    await stage.server.accounts.set_password("Ada", NEW_PASSWORD, actor="operator")
    assert stage.accepts(grace)
    assert await stage.refresh(grace.refresh_token)


async def test_actor_is_remembered(stage: Stage, ada: Account):
    """An event and a revocation name who did it, be it an operator or an account."""
    await stage.server.accounts.disable("Ada", actor=ada.id)
    [event] = await stage.events("account_disabled")
    [revocation] = await stage.revocations()
    assert event["actor"] == revocation["actor"] == ada.id


async def test_change_and_its_consequences_are_one(stage: Stage, ada: Account):
    """If the revocation cannot be stored, the account is not changed either."""
    pair = await stage.login()
    session = RefreshToken.parse(pair.refresh_token).session_id
    before = await stage.contents()

    async def refuse_revocations(tx: SqlTransaction) -> None:
        await tx.execute("CREATE TRIGGER refuse BEFORE INSERT ON revocations BEGIN SELECT RAISE(ABORT, 'refused'); END")

    await stage.database.transact(refuse_revocations)
    for change in (
        stage.server.accounts.disable("Ada", actor="operator"),
        stage.server.accounts.set_role("Ada", "admin", actor="operator"),
        stage.server.accounts.set_password("Ada", NEW_PASSWORD, actor="operator"),
        stage.server.accounts.delete("Ada", actor="operator"),
        stage.parts.services.administer.delete(ada.id, by=Authority("operator")),
        stage.parts.services.expel.from_account(by_name("Ada"), by=Authority("operator")),
        stage.parts.services.expel.from_session(session, by=Authority("operator")),
        stage.parts.services.expel.everyone(by=Authority("operator")),
        stage.parts.services.end_sessions.end_all(ada.id, FIREFOX),
        stage.parts.revoke_token.revoke(pair.access_token, by=Authority("operator")),
        stage.logout(pair.refresh_token),
        stage.login(replaces=pair.refresh_token),
    ):
        with pytest.raises(Exception, match="refused"):
            await change
    after = await stage.contents()
    assert after == before
    assert stage.accepts(pair)
