"""What administrators do from elsewhere: each act first makes sure, in its own transaction, that they still are some.

They never choose a password, and cannot leave the system without an administrator; commands on the host can do both.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

from tokenkeep.domain.accounts import Account, parse_role
from tokenkeep.domain.audit import Event, EventFilter
from tokenkeep.domain.errors import LastAdministrator
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.change_account import DELETION, DISABLING, ENABLING, Change, ChangeAccount, new_role
from tokenkeep.flows.create_account import CreateAccount, NewAccount
from tokenkeep.flows.find_account import Find, by_id
from tokenkeep.flows.ports import Storage, Transaction

T = TypeVar("T")

_SHORTEST_FIRST_PASSWORD: Final = 24
"""Characters of a password that is drawn: 144 bits."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of what was asked for, and whether there is more after it."""

    items: list[T]
    more: bool


@dataclass(frozen=True, slots=True)
class Created:
    """A new account, and the password that was drawn for it; it is shown once."""

    account: Account
    first_password: str = field(repr=False)


class AdministerRemotely:
    """Shows and changes accounts, and shows the audit log. `by` is the administrator who asks."""

    def __init__(self, storage: Storage, creator: CreateAccount, changer: ChangeAccount, *, shortest: int) -> None:
        """Draw passwords of at least `shortest` characters."""
        self._storage = storage
        self._creator = creator
        self._changer = changer
        self._shortest = shortest

    async def page(self, after: str, limit: int, *, by: Authority) -> Page[Account]:
        """Return up to `limit` accounts in the order of their names, from the first one after the name key `after`.

        Raises:
            Forbidden: who asks is no administrator any more.
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.read(_page, after, limit, by)

    async def view(self, account_id: AccountId, *, by: Authority) -> Account:
        """Return one account.

        Raises:
            NotFound: there is no such account.
            Forbidden: who asks is no administrator any more.
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.read(_view, account_id, by)

    async def search_audit(self, wanted: EventFilter, *, by: Authority) -> Page[Event]:
        """Return the newest events that fit, the newest first.

        Raises:
            Forbidden: who asks is no administrator any more.
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.read(_search, wanted, by)

    async def create(self, name: str, role: str, *, by: Authority) -> Created:
        """Create an account with a temporary password that is drawn here; who asks has seen it.

        Raises:
            InvalidField: the name or role breaks a rule.
            NameTaken: another account's name reads the same.
            Forbidden: who asks is no administrator any more.
            HashingBusy: too many passwords are waiting.
            StorageUnavailable: the database did not answer; nothing was stored.
        """
        await self._storage.read(by.confirm)  # before anything is hashed for somebody who may not ask for it
        password = _draw_password(max(_SHORTEST_FIRST_PASSWORD, self._shortest))
        draft = await self._creator.draft(NewAccount(name, password, role, temporary=True))
        return Created(await self._creator.store(draft, by), password)

    async def disable(self, account_id: AccountId, *, by: Authority) -> Account:
        """Disable an account and end its sessions and access tokens; a disabled one stays as it is.

        Raises:
            NotFound: there is no such account.
            Forbidden: who asks is no administrator any more.
            LastAdministrator: nobody else could undo it.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        return await self._change(account_id, DISABLING, by)

    async def enable(self, account_id: AccountId, *, by: Authority) -> Account:
        """Let a disabled account log in again; its old sessions stay ended.

        Raises:
            NotFound: there is no such account.
            Forbidden: who asks is no administrator any more.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        return await self._change(account_id, ENABLING, by)

    async def set_role(self, account_id: AccountId, role: str, *, by: Authority) -> Account:
        """Give an account another role; its access tokens end at once, its sessions go on with the new role.

        Raises:
            NotFound: there is no such account.
            InvalidField: the role is not of an acceptable form.
            Forbidden: who asks is no administrator any more.
            LastAdministrator: nobody else could undo it.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        return await self._change(account_id, new_role(parse_role(role)), by)

    async def delete(self, account_id: AccountId, *, by: Authority) -> Account:
        """Delete an account for good; its sessions and access tokens end. Its id is never used again.

        Raises:
            NotFound: there is no such account.
            Forbidden: who asks is no administrator any more.
            LastAdministrator: nobody else could make another one.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        return await self._change(account_id, DELETION, by)

    async def _change(self, account_id: AccountId, change: Change, by: Authority) -> Account:
        return await self._changer.change(_for_change(account_id, change, by), change, by)


def _draw_password(length: int) -> str:
    return secrets.token_urlsafe(length)[:length]


def _for_change(account_id: AccountId, change: Change, by: Authority) -> Find:
    """Return what finds an account, and refuses if the change would leave no administrator.

    Whoever changes somebody else is one, and stays it; so only those who change themselves need be counted.
    """

    async def find(tx: Transaction) -> Account:
        account = await by_id(account_id)(tx)
        lowers_itself = account_id == by.actor and not change.keeps_role
        if lowers_itself and set(await tx.administrators.take_all()) <= {account_id}:
            raise LastAdministrator
        return account

    return find


async def _page(tx: Transaction, after: str, limit: int, by: Authority) -> Page[Account]:
    await by.confirm(tx)
    found = await tx.accounts.page(after, limit + 1)
    return Page(found[:limit], len(found) > limit)


async def _view(tx: Transaction, account_id: AccountId, by: Authority) -> Account:
    await by.confirm(tx)
    return await by_id(account_id)(tx)


async def _search(tx: Transaction, wanted: EventFilter, by: Authority) -> Page[Event]:
    await by.confirm(tx)
    found = await tx.audit.search(replace(wanted, limit=wanted.limit + 1))
    return Page(found[: wanted.limit], len(found) > wanted.limit)
