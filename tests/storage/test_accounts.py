"""What `SqlAccounts` promises, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tests.storage.contracts import Engine, Processes, execute, overlapped
from tests.storage.examples import (
    NOW,
    a_session,
    an_account,
    load_account,
    load_session,
    store_account,
    store_session,
)
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.sessions import EndReason
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.migrate import known_migrations
from tokenkeep.storage.sql.stores import SqlStorage


async def test_an_account_is_found_by_its_id_and_by_its_name(storage: SqlStorage):
    """What was stored comes back equal, and nobody else's."""
    ada = await store_account(storage, an_account("Ada"))
    await store_account(storage, an_account("Bob", role="admin", password_hash=None))
    assert await load_account(storage, ada) == ada
    assert await storage.read(lambda tx: tx.accounts.find_by_name("ada")) == ada
    assert await storage.read(lambda tx: tx.accounts.find_by_name("Ada")) is None
    assert await storage.read(lambda tx: tx.accounts.find(AccountId("nobody"))) is None


async def test_a_name_is_given_once(storage: SqlStorage):
    """A second account whose name reads the same is not stored, and the first stays as it is."""
    ada = await store_account(storage, an_account("Ada"))
    assert not await storage.transact(lambda tx: tx.accounts.add(an_account("ADA", role="admin")))
    assert await storage.read(lambda tx: tx.accounts.find_by_name("ada")) == ada
    assert await storage.read(lambda tx: tx.accounts.count()) == 1


async def test_of_many_who_take_a_name_at_once_one_has_it(storage: SqlStorage, processes: Processes):
    """Twenty registrations of one name, from two processes, make one account."""
    other = await processes.storage()

    async def register(through: SqlStorage) -> bool:
        account = an_account("Ada")
        return await through.transact(lambda tx: tx.accounts.add(account))

    assert sum(await asyncio.gather(*(register(each) for each in [storage, other] * 10))) == 1
    assert await storage.read(lambda tx: tx.accounts.count()) == 1


async def test_pages_hold_every_account_once(storage: SqlStorage):
    """Pages follow each other without a gap or a repetition, whatever the names are written in."""
    names = ["ada", "Bob", "_eve", "Ärger", "李雷", "ada lovelace", "zoë", "007"]
    stored = [await store_account(storage, an_account(name)) for name in names]
    for limit in (1, 3, 8, 9):
        seen: list[Account] = []
        while page := await _page(storage, seen[-1].name_key if seen else "", limit):
            assert len(page) <= limit
            seen.extend(page)
        assert sorted(account.id for account in seen) == sorted(account.id for account in stored)


async def _page(storage: SqlStorage, after: str, limit: int) -> list[Account]:
    return await storage.read(lambda tx: tx.accounts.page(after, limit))


async def test_a_login_takes_the_account_as_it_was_read(storage: SqlStorage):
    """`claim_for_login` stores the hash and the instant, and touches no other account."""
    ada = await store_account(storage)
    bob = await store_account(storage, an_account("Bob", password_hash=ada.password_hash))
    assert await storage.transact(lambda tx: tx.accounts.claim_for_login(ada, password_hash="upgraded", now=NOW + 1))
    assert await load_account(storage, ada) == replace(ada, password_hash="upgraded", last_login_at=NOW + 1)
    assert await load_account(storage, bob) == bob


async def test_a_temporary_password_is_stored_with_its_end(storage: SqlStorage):
    """An account can be added with one, is found with its end by every way, and keeps it through other changes."""
    ada = await store_account(storage, an_account("Ada", password_expires_at=NOW + 9))
    session = await store_session(storage, ada)
    assert await load_account(storage, ada) == ada
    assert await storage.read(lambda tx: tx.accounts.find_by_name("ada")) == ada
    assert await _page(storage, "", 9) == [ada]
    assert await storage.read(lambda tx: tx.sessions.find_with_account(session.id)) == (session, ada)
    assert await storage.read(lambda tx: tx.sessions.latest(now=NOW, limit=9)) == [(session, ada)]
    changed = [
        await storage.transact(lambda tx: tx.accounts.set_role(ada.id, role="admin")),
        await storage.transact(lambda tx: tx.accounts.end_tokens(ada.id)),
        await storage.transact(lambda tx: tx.accounts.disable(ada.id, now=NOW)),
        await storage.transact(lambda tx: tx.accounts.enable(ada.id)),
        await storage.transact(lambda tx: tx.accounts.delete(ada.id)),
    ]
    assert [account and account.password_expires_at for account in changed] == [NOW + 9] * 5


async def test_a_password_is_temporary_until_another_one_lasts(storage: SqlStorage):
    """`set_password` gives it an end or takes it away, `change_password` takes it away; others are left alone."""
    ada = await store_account(storage)
    bob = await store_account(storage, an_account("Bob", password_expires_at=NOW + 5))
    for expires_at in (NOW + 7, NOW + 8, None, NOW + 9):
        changed = await storage.transact(
            lambda tx, end: tx.accounts.set_password(ada.id, password_hash="another", expires_at=end), expires_at
        )
        assert changed is not None
        assert changed.password_expires_at == expires_at
        assert await load_account(storage, ada) == changed
    lasting = await storage.transact(lambda tx: tx.accounts.change_password(changed, password_hash="mine"))
    assert lasting == replace(ada, password_hash="mine", token_version=6)
    assert await load_account(storage, ada) == lasting
    assert await load_account(storage, bob) == bob


async def test_a_temporary_password_is_taken_for_no_login(storage: SqlStorage):
    """`claim_for_login` says no as long as the password is temporary, whether it has ended or not."""
    for number, expires_at in enumerate((NOW - 1, NOW + 1)):
        ada = await store_account(storage, an_account(f"Ada {number}", password_expires_at=expires_at))
        assert not await storage.transact(
            lambda tx, account: tx.accounts.claim_for_login(account, password_hash="mine", now=NOW), ada
        )
        assert await load_account(storage, ada) == ada


async def test_a_changed_password_can_be_a_login(storage: SqlStorage):
    """`change_password` stores when somebody logged in by it, and leaves the last login where nobody did."""
    ada = await store_account(storage)
    first = await storage.transact(lambda tx: tx.accounts.change_password(ada, password_hash="1", login_at=NOW + 3))
    assert first == replace(ada, password_hash="1", token_version=2, last_login_at=NOW + 3)
    second = await storage.transact(lambda tx: tx.accounts.change_password(first, password_hash="2"))
    assert second == replace(first, password_hash="2", token_version=3)
    assert await load_account(storage, ada) == second


async def test_of_those_who_replace_a_password_at_once_one_does(storage: SqlStorage, processes: Processes):
    """Of ten who read the account as it was, through two processes, one has changed it."""
    other = await processes.storage()
    ada = await store_account(storage, an_account(password_expires_at=NOW + 9))

    async def change(through: SqlStorage, number: int) -> Account | None:
        return await through.transact(
            lambda tx: tx.accounts.change_password(ada, password_hash=f"mine {number}", login_at=NOW)
        )

    changed = await asyncio.gather(*(change(each, number) for number, each in enumerate([storage, other] * 5)))
    [winner] = [account for account in changed if account is not None]
    assert await load_account(storage, ada) == winner


Change = Callable[[Transaction, Account], Awaitable[object]]


@pytest.mark.parametrize(
    "change",
    [
        lambda tx, account: tx.accounts.set_password(account.id, password_hash="another"),
        lambda tx, account: tx.accounts.set_role(account.id, role="admin"),
        lambda tx, account: tx.accounts.disable(account.id, now=NOW),
        lambda tx, account: tx.accounts.claim_for_login(account, password_hash="another", now=NOW),
    ],
    ids=["another password", "another token version", "disabled", "hash upgraded"],
)
async def test_a_login_loses_to_every_change_since_the_account_was_read(storage: SqlStorage, change: Change):
    """`claim_for_login` says no and changes nothing when the password, token version or state is another by now."""
    ada = await store_account(storage)
    await storage.transact(change, ada)
    changed = await load_account(storage, ada)
    assert not await storage.transact(lambda tx: tx.accounts.claim_for_login(ada, password_hash="mine", now=NOW + 9))
    assert await load_account(storage, ada) == changed


async def test_an_account_without_a_password_cannot_be_claimed(storage: SqlStorage):
    """Where there is no password, no login finds it unchanged."""
    ada = await store_account(storage, an_account(password_hash=None))
    assert not await storage.transact(lambda tx: tx.accounts.claim_for_login(ada, password_hash="mine", now=NOW))
    assert await load_account(storage, ada) == ada


async def test_a_disabled_account_cannot_be_claimed_even_as_it_is(storage: SqlStorage):
    """An account that was read when it was disabled already is refused by the statement itself."""
    ada = await store_account(storage)
    disabled = await storage.transact(lambda tx: tx.accounts.disable(ada.id, now=NOW))
    assert disabled is not None
    assert not await storage.transact(lambda tx: tx.accounts.claim_for_login(disabled, password_hash="x", now=NOW))
    assert await storage.transact(lambda tx: tx.accounts.change_password(disabled, password_hash="x")) is None
    assert await load_account(storage, ada) == disabled


async def test_no_session_outlives_a_password_change_that_it_raced(storage: SqlStorage, processes: Processes):
    """Of logins that run while the password changes, those before it are ended by it and those after it fail."""
    other = await processes.storage()
    ada = await store_account(storage)

    async def login(tx: Transaction) -> bool:
        if not await tx.accounts.claim_for_login(ada, password_hash=ada.password_hash or "", now=tx.now):
            return False
        await tx.sessions.add(a_session(ada, idle_expires_at=2**60, expires_at=2**60))
        return True

    async def change_password(tx: Transaction) -> int:
        await tx.accounts.set_password(ada.id, password_hash="another")
        return await tx.sessions.end_all(ada.id, EndReason.PASSWORD_CHANGED, now=tx.now)

    logins = [asyncio.create_task(each.transact(login)) for each in [storage, other] * 5]
    ended = asyncio.create_task(storage.transact(change_password))
    logins += [asyncio.create_task(each.transact(login)) for each in [storage, other] * 5]
    assert await ended == sum(await asyncio.gather(*logins))
    assert await storage.read(lambda tx: tx.sessions.count_live(now=NOW)) == 0


async def test_a_login_that_waits_for_a_password_change_loses(
    storage: SqlStorage, processes: Processes, engine: Engine
):
    """A login that comes while the change is not committed yet waits for it, and then finds another account."""
    other = await processes.storage()
    ada = await store_account(storage)
    _, claimed = await overlapped(
        engine,
        (storage, lambda tx: tx.accounts.set_password(ada.id, password_hash="another")),
        (other, lambda tx: tx.accounts.claim_for_login(ada, password_hash="mine", now=NOW)),
    )
    assert not claimed
    account = await load_account(storage, ada)
    assert account is not None
    assert account.password_hash == "another"


async def test_a_new_password_raises_the_token_version(storage: SqlStorage):
    """`set_password` returns the account as it now is; where there is none, nothing."""
    ada = await store_account(storage)
    changed = await storage.transact(lambda tx: tx.accounts.set_password(ada.id, password_hash="another"))
    assert changed == replace(ada, password_hash="another", token_version=2)
    assert await load_account(storage, ada) == changed
    nobody = AccountId("nobody")
    assert await storage.transact(lambda tx: tx.accounts.set_password(nobody, password_hash="another")) is None


async def test_a_new_role_raises_the_token_version(storage: SqlStorage):
    """`set_role` returns the account as it now is; the role it has already is no change."""
    ada = await store_account(storage)
    changed = await storage.transact(lambda tx: tx.accounts.set_role(ada.id, role="admin"))
    assert changed == replace(ada, role="admin", token_version=2)
    assert await storage.transact(lambda tx: tx.accounts.set_role(ada.id, role="admin")) is None
    assert await storage.transact(lambda tx: tx.accounts.set_role(AccountId("nobody"), role="admin")) is None
    assert await load_account(storage, ada) == changed


async def test_disabling_raises_the_token_version_once(storage: SqlStorage):
    """`disable` and `enable` tell whether they changed anything; only the former ends access tokens."""
    ada = await store_account(storage)
    bob = await store_account(storage, an_account("Bob"))
    disabled = await storage.transact(lambda tx: tx.accounts.disable(ada.id, now=NOW + 5))
    assert disabled == replace(ada, disabled_at=NOW + 5, token_version=2)
    assert await storage.transact(lambda tx: tx.accounts.disable(ada.id, now=NOW + 6)) is None
    assert await load_account(storage, ada) == disabled
    enabled = await storage.transact(lambda tx: tx.accounts.enable(ada.id))
    assert enabled == replace(ada, token_version=2)
    assert await storage.transact(lambda tx: tx.accounts.enable(ada.id)) is None
    assert await load_account(storage, ada) == enabled
    assert await load_account(storage, bob) == bob


async def test_every_token_version_can_be_raised_at_once(storage: SqlStorage):
    """`raise_token_versions` ends the access tokens of all accounts, disabled ones too, and counts them."""
    ada = await store_account(storage)
    bob = await store_account(storage, an_account("Bob", token_version=7))
    await storage.transact(lambda tx: tx.accounts.disable(ada.id, now=NOW))
    assert await storage.transact(lambda tx: tx.accounts.raise_token_versions()) == 2
    assert await load_account(storage, ada) == replace(ada, token_version=3, disabled_at=NOW)
    assert await load_account(storage, bob) == replace(bob, token_version=8)


@pytest.mark.parametrize(
    "change",
    [
        lambda tx, account: tx.accounts.set_password(account.id, password_hash="another"),
        lambda tx, account: tx.accounts.set_role(account.id, role="admin"),
        lambda tx, account: tx.accounts.disable(account.id, now=NOW),
        lambda tx, account: tx.accounts.claim_for_login(account, password_hash="another", now=NOW),
        lambda tx, account: tx.accounts.delete(account.id),
    ],
    ids=["another password", "another token version", "disabled", "hash upgraded", "deleted"],
)
async def test_a_password_change_loses_to_every_change_since_the_account_was_read(storage: SqlStorage, change: Change):
    """`change_password` needs the account as it was when the old password was checked; else it changes nothing."""
    ada = await store_account(storage)
    await storage.transact(change, ada)
    changed = await load_account(storage, ada)
    assert await storage.transact(lambda tx: tx.accounts.change_password(ada, password_hash="mine")) is None
    assert await load_account(storage, ada) == changed


async def test_a_changed_password_raises_the_token_version(storage: SqlStorage):
    """`change_password` returns the account as it now is, and touches no other."""
    ada = await store_account(storage)
    bob = await store_account(storage, an_account("Bob", password_hash=ada.password_hash))
    changed = await storage.transact(lambda tx: tx.accounts.change_password(ada, password_hash="mine"))
    assert changed == replace(ada, password_hash="mine", token_version=2)
    assert await load_account(storage, ada) == changed
    assert await load_account(storage, bob) == bob


async def test_access_tokens_of_an_account_can_be_ended_alone(storage: SqlStorage):
    """`end_tokens` raises the token version and nothing else; a disabled account's have ended already."""
    ada = await store_account(storage)
    ended = await storage.transact(lambda tx: tx.accounts.end_tokens(ada.id))
    assert ended == replace(ada, token_version=2)
    disabled = await storage.transact(lambda tx: tx.accounts.disable(ada.id, now=NOW))
    assert await storage.transact(lambda tx: tx.accounts.end_tokens(ada.id)) is None
    assert await storage.transact(lambda tx: tx.accounts.end_tokens(AccountId("nobody"))) is None
    assert await load_account(storage, ada) == disabled


async def test_a_deleted_account_takes_its_sessions_with_it(storage: SqlStorage):
    """`delete` removes the account and what hangs on it, frees its name, and leaves everyone else alone."""
    ada, bob = await store_account(storage, an_account("Ada")), await store_account(storage, an_account("Bob"))
    session, bobs = await store_session(storage, ada), await store_session(storage, bob)
    assert await storage.transact(lambda tx: tx.accounts.delete(ada.id))
    assert not await storage.transact(lambda tx: tx.accounts.delete(ada.id))
    assert await load_account(storage, ada) is None
    assert await storage.read(lambda tx: tx.sessions.find_with_account(session.id)) is None
    assert await load_session(storage, bobs) == bobs
    assert (await store_account(storage, an_account("ada"))).id != ada.id


ARGON2 = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$cqEcKKNc1Z4nkKzqjTtfw6V8xNXvSGUQ9Ggw7Wb0I0k"
COSTLIER = ARGON2.replace("t=2", "t=3")
BCRYPT = "$2b$12$XsdlX6i3vkUEBtHcTvHk7eBHSFGqQ3v/FEBk6Srr.eKZ3hGmbdtd6"


async def kinds(storage: SqlStorage) -> list[str]:
    """Return the kinds of hashes that are stored, as texts in order."""
    return sorted(str(kind) for kind in await storage.read(lambda tx: tx.accounts.password_kinds()))


async def test_kinds_of_hashes_follow_every_change(storage: SqlStorage):
    """Each kind is told once, from the account that brings it to the last one that is changed, upgraded or deleted."""
    assert await kinds(storage) == []
    ada = await store_account(storage, an_account("Ada", password_hash=BCRYPT))
    for number in range(5):
        await store_account(storage, an_account(f"Bob {number}", password_hash=ARGON2))
    await store_account(storage, an_account("Eve", password_hash=None))
    old, new = "argon2id m=19456,t=2,p=1", "argon2id m=19456,t=3,p=1"
    assert await kinds(storage) == [old, "bcrypt 12"]
    assert await storage.transact(lambda tx: tx.accounts.claim_for_login(ada, password_hash=COSTLIER, now=NOW))
    assert await kinds(storage) == [old, new]
    await storage.transact(lambda tx: tx.accounts.set_password(ada.id, password_hash=BCRYPT))
    assert await kinds(storage) == [old, "bcrypt 12"]
    changed = await load_account(storage, ada)
    assert changed is not None
    assert await storage.transact(lambda tx: tx.accounts.change_password(changed, password_hash=ARGON2))
    assert await kinds(storage) == [old]
    await storage.transact(lambda tx: tx.accounts.set_password(ada.id, password_hash=COSTLIER))
    await storage.transact(lambda tx: tx.accounts.delete(ada.id))
    assert await kinds(storage) == [old]


@pytest.mark.parametrize(
    "unusable", ["", "plain text", BCRYPT.replace("$12$", "$15$"), ARGON2.replace("m=19456", "m=1048576")]
)
async def test_a_hash_that_is_never_checked_is_of_no_kind(storage: SqlStorage, unusable: str):
    """What cannot be read, or costs too much to be checked, makes nobody wait."""
    ada = await store_account(storage, an_account("Ada", password_hash=unusable))
    assert await kinds(storage) == []
    await storage.transact(lambda tx: tx.accounts.set_password(ada.id, password_hash=BCRYPT))
    await storage.transact(lambda tx: tx.accounts.set_password(ada.id, password_hash=unusable))
    assert await kinds(storage) == []


async def test_the_hash_of_an_older_database_has_a_kind(database: Database, storage: SqlStorage):
    """Accounts from before kinds were kept have the only kind that there was, without a password none."""
    await store_account(storage, an_account("Ada", password_hash=ARGON2))
    await store_account(storage, an_account("Eve", password_hash=None))
    [migration] = [each for each in known_migrations() if each.number == 3]
    [update] = [each for each in migration.statements() if each.strip().startswith("UPDATE")]
    await execute(database, "UPDATE accounts SET password_kind = 'other'")
    await execute(database, "UPDATE accounts SET password_kind = NULL WHERE password_hash IS NULL")
    await execute(database, update)
    assert await kinds(storage) == ["argon2id m=19456,t=2,p=1"]


async def test_an_account_may_be_added_disabled(storage: SqlStorage):
    """An imported account keeps the state it comes with."""
    ada = await store_account(storage, an_account("Ada", disabled_at=NOW))
    assert await load_account(storage, ada) == ada
