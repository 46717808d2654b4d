"""Create accounts and change them: disable, enable, set a role or a password, and end what must end with that."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import (
    Account,
    AccountName,
    parse_name,
    parse_role,
)
from tokenkeep.domain.audit import Event, EventKind
from tokenkeep.domain.errors import NameTaken, NotFound
from tokenkeep.domain.identifiers import ID_SIZE, account_id
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import EndReason
from tokenkeep.flows.new_passwords import NewPasswords
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.revoke import Revoker

PAGE_SIZE: Final = 200
"""Accounts read at a time by `list`."""


@dataclass(frozen=True, slots=True)
class _Change:
    """How a change of an account is made and remembered; `ends` is set if its sessions end too."""

    make: Callable[[Transaction, Account], Awaitable[Account | None]]
    kind: EventKind
    actor: str
    detail: str = ""
    ends: EndReason | None = None


class AdministerAccounts:
    """Creates and changes accounts. `actor` is the account id of who asks, or `operator`."""

    def __init__(self, storage: Storage, revoker: Revoker, passwords: NewPasswords) -> None:
        self._storage = storage
        self._revoker = revoker
        self._passwords = passwords

    async def create(self, name: str, password: str, *, role: str, actor: str) -> Account:
        """Create an account that can log in.

        Raises:
            InvalidField: the name, password or role breaks a rule.
            HashingBusy: too many passwords are waiting.
            NameTaken: another account's name reads the same.
        """
        parsed = parse_name(name)
        checked_role = parse_role(role)
        password_hash = await self._passwords.hash(password, parsed)
        raw_id = secrets.token_bytes(ID_SIZE)
        account = Account(account_id(raw_id), parsed.display, parsed.key, checked_role, 1, 0, password_hash)
        return await self._storage.transact(self._add, account, actor)

    async def list(self) -> list[Account]:
        """Return all accounts in the order of their names."""
        accounts: list[Account] = []
        while True:
            after = accounts[-1].name_key if accounts else ""
            page = await self._storage.read(_page, after)
            accounts.extend(page)
            if len(page) < PAGE_SIZE:
                return accounts

    async def disable(self, name: str, *, actor: str) -> Account:
        """Disable an account and end its sessions and access tokens; a disabled one stays as it is.

        Raises:
            NotFound: there is no account of that name.
        """

        async def make(tx: Transaction, account: Account) -> Account | None:
            return await tx.accounts.disable(account.id, now=tx.now)

        change = _Change(make, EventKind.ACCOUNT_DISABLED, actor, ends=EndReason.ACCOUNT_DISABLED)
        return await self._change(name, change)

    async def enable(self, name: str, *, actor: str) -> Account:
        """Let a disabled account log in again; its old sessions stay ended.

        Raises:
            NotFound: there is no account of that name.
        """

        async def make(tx: Transaction, account: Account) -> Account | None:
            return await tx.accounts.enable(account.id)

        return await self._change(name, _Change(make, EventKind.ACCOUNT_ENABLED, actor))

    async def set_role(self, name: str, role: str, *, actor: str) -> Account:
        """Give an account another role; its access tokens end at once, its sessions go on with the new role.

        Raises:
            NotFound: there is no account of that name.
            InvalidField: the role is not of an acceptable form.
        """
        checked = parse_role(role)

        async def make(tx: Transaction, account: Account) -> Account | None:
            return None if account.role == checked else await tx.accounts.set_role(account.id, role=checked)

        return await self._change(name, _Change(make, EventKind.ROLE_CHANGED, actor, detail=checked))

    async def set_password(self, name: str, password: str, *, actor: str) -> Account:
        """Replace a password and end all sessions and access tokens of the account.

        Raises:
            NotFound: there is no account of that name.
            InvalidField: the password breaks a rule.
            HashingBusy: too many passwords are waiting.
        """
        password_hash = await self._passwords.hash(password, parse_name(name))

        async def make(tx: Transaction, account: Account) -> Account | None:
            return await tx.accounts.set_password(account.id, password_hash=password_hash)

        return await self._change(name, _Change(make, EventKind.PASSWORD_SET, actor, ends=EndReason.PASSWORD_CHANGED))

    async def delete(self, name: str, *, actor: str) -> Account:
        """Delete an account for good; its sessions and access tokens end. Its id is never used again.

        Raises:
            NotFound: there is no account of that name.
        """
        account, revocation = await self._storage.transact(self._delete, parse_name(name), actor)
        self._revoker.apply(revocation)
        return account

    async def _delete(self, tx: Transaction, name: AccountName, actor: str) -> tuple[Account, Revocation]:
        found = await tx.accounts.find_by_name(name.key)
        account = await tx.accounts.delete(found.id) if found else None
        if account is None:
            raise NotFound(f"there is no account named {name.display!r}")
        await tx.audit.record(Event(EventKind.ACCOUNT_DELETED, tx.now, actor, account_id=account.id))
        revocation = revocations.of_account_version(account, at=tx.now, reason=EventKind.ACCOUNT_DELETED, actor=actor)
        return account, await self._revoker.append(tx, revocation)

    async def _add(self, tx: Transaction, account: Account, actor: str) -> Account:
        stored = replace(account, created_at=tx.now)
        if not await tx.accounts.add(stored):
            raise NameTaken
        await tx.audit.record(Event(EventKind.ACCOUNT_CREATED, tx.now, actor, account_id=stored.id, detail=stored.role))
        return stored

    async def _change(self, name: str, change: _Change) -> Account:
        account, revocation = await self._storage.transact(self._apply, parse_name(name), change)
        self._revoker.apply(revocation)
        return account

    async def _apply(self, tx: Transaction, name: AccountName, change: _Change) -> tuple[Account, Revocation | None]:
        before = await tx.accounts.find_by_name(name.key)
        if before is None:
            raise NotFound(f"there is no account named {name.display!r}")
        after = await change.make(tx, before)
        if after is None:
            return before, None
        if change.ends is not None:
            await tx.sessions.end_all(after.id, change.ends, now=tx.now)
        await tx.audit.record(Event(change.kind, tx.now, change.actor, account_id=after.id, detail=change.detail))
        if after.token_version == before.token_version:
            return after, None
        ended = replace(after, token_version=after.token_version - 1)
        revocation = revocations.of_account_version(ended, at=tx.now, reason=change.kind, actor=change.actor)
        return after, await self._revoker.append(tx, revocation)


async def _page(tx: Transaction, after: str) -> list[Account]:
    return await tx.accounts.page(after, PAGE_SIZE)
