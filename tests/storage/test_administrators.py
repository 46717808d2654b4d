"""What `SqlAdministrators` promises, on every engine: who is taken stays what they are until the transaction ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.storage.contracts import Engine, Processes
from tests.storage.examples import NOW, an_account, load_account, store_account
from tokenkeep.domain.accounts import Account
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sql.stores import SqlStorage


async def take(storage: SqlStorage, account: Account, version: int = 1) -> bool:
    """Take an administrator in a transaction of its own."""
    return await storage.transact(lambda tx: tx.administrators.take(account.id, token_version=version))


@pytest.mark.parametrize(
    ("changes", "version", "taken"),
    [
        ({"role": "admin"}, 1, True),
        ({"role": "admin", "token_version": 7}, 7, True),
        ({"role": "admin"}, 2, False),
        ({"role": "admin"}, 0, False),
        ({"role": "user"}, 1, False),
        ({"role": "administrator"}, 1, False),
    ],
)
async def test_only_an_administrator_is_taken(
    storage: SqlStorage, changes: dict[str, Any], version: int, *, taken: bool
):
    """The role and the token version must be what they were when the token was issued; nothing is changed by it."""
    ada = await store_account(storage, an_account("Ada", **changes))
    assert await take(storage, ada, version) is taken
    assert await load_account(storage, ada) == ada


async def test_who_is_disabled_or_gone_is_not_taken(storage: SqlStorage):
    """A disabled administrator is none, whatever the version, and neither is somebody who does not exist."""
    ada = await store_account(storage, an_account("Ada", role="admin"))
    await storage.transact(lambda tx: tx.accounts.disable(ada.id, now=NOW))
    assert not await take(storage, ada, 1)
    assert not await take(storage, ada, 2)
    assert not await take(storage, an_account("Nobody", role="admin"))
    assert await storage.transact(lambda tx: tx.administrators.take_all()) == []


async def test_all_enabled_administrators_are_counted(storage: SqlStorage):
    """`take_all` names those who could act now, and nobody else."""
    ada = await store_account(storage, an_account("Ada", role="admin"))
    bob = await store_account(storage, an_account("Bob", role="admin"))
    eve = await store_account(storage, an_account("Eve", role="admin"))
    await store_account(storage, an_account("Zoë"))
    await storage.transact(lambda tx: tx.accounts.disable(eve.id, now=NOW))
    assert sorted(await storage.transact(lambda tx: tx.administrators.take_all())) == sorted([ada.id, bob.id])


@pytest.mark.parametrize("changes", [{"password_expires_at": NOW + 1_000}, {"password_hash": None}])
async def test_who_may_never_log_in_is_not_counted(storage: SqlStorage, changes: dict[str, Any]):
    """A temporary password may end unused, and without a password nobody comes in: neither is somebody who is left."""
    ada = await store_account(storage, an_account("Ada", role="admin"))
    await store_account(storage, an_account("Bob", role="admin", **changes))
    assert await storage.transact(lambda tx: tx.administrators.take_all()) == [ada.id]


async def test_an_administrator_who_acts_cannot_be_lowered_meanwhile(
    storage: SqlStorage, processes: Processes, engine: Engine
):
    """A demotion waits for the transaction of the one who acts; whoever acts after it is refused."""
    other = await processes.storage()
    ada = await store_account(storage, an_account("Ada", role="admin"))
    order: list[str] = []
    gate = engine.gate()

    async def act(tx: Transaction) -> None:
        assert await tx.administrators.take(ada.id, token_version=1)
        await gate.hold()
        order.append("acted")

    async def demote(tx: Transaction) -> None:
        await tx.accounts.set_role(ada.id, role="user")
        order.append("demoted")

    acting = asyncio.create_task(storage.transact(act))
    await gate.arrived()
    demoting = asyncio.create_task(other.transact(demote))
    await engine.wait_until_blocked()
    gate.open()
    await asyncio.gather(acting, demoting)
    assert order == ["acted", "demoted"]
    assert not await take(storage, ada)
