"""Create and change accounts by name, as commands on the host and the embedding application do: they may do anything.

Not here: administrators elsewhere (`flows.administer_remotely`).
"""

from __future__ import annotations

from typing import Final

from tokenkeep.domain.accounts import Account, parse_name, parse_role
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.change_account import (
    DELETION,
    DISABLING,
    ENABLING,
    Change,
    ChangeAccount,
    new_password,
    new_role,
)
from tokenkeep.flows.create_account import CreateAccount, NewAccount
from tokenkeep.flows.find_account import by_name
from tokenkeep.flows.new_passwords import NewPasswords
from tokenkeep.flows.ports import Storage, Transaction

PAGE_SIZE: Final = 200
"""Accounts read at a time by `list`."""


class AdministerAccounts:
    """Creates and changes accounts. `actor` is the account id of who asks, or `operator`.

    Each method raises `StorageUnavailable` if the database did not answer, and `Unavailable` if it was put back to an
    older state under the open server; then nothing was done.
    """

    def __init__(
        self, storage: Storage, passwords: NewPasswords, creator: CreateAccount, changer: ChangeAccount
    ) -> None:
        self._storage = storage
        self._passwords = passwords
        self._creator = creator
        self._changer = changer

    async def create(self, name: str, password: str, *, role: str, actor: str, temporary: bool = False) -> Account:
        """Create an account that can log in; with a temporary password only to set another one, and only for a day.

        Raises:
            InvalidField: the name, password or role breaks a rule.
            HashingBusy: too many passwords are waiting.
            NameTaken: another account's name reads the same.
        """
        draft = await self._creator.draft(NewAccount(name, password, role, temporary))
        return await self._creator.store(draft, Authority(actor))

    async def page(self, after: str, *, limit: int) -> list[Account]:
        """Return up to `limit` accounts in the order of their names, from the first one after the name `after`.

        Raises:
            InvalidField: `after` is neither empty nor a name.
        """
        return await self._storage.read(_page, parse_name(after).key if after else "", limit)

    async def list(self) -> list[Account]:
        """Return all accounts in the order of their names."""
        accounts: list[Account] = []
        while True:
            page = await self._storage.read(_page, accounts[-1].name_key if accounts else "", PAGE_SIZE)
            accounts.extend(page)
            if len(page) < PAGE_SIZE:
                return accounts

    async def disable(self, name: str, *, actor: str) -> Account:
        """Disable an account and end its sessions and access tokens; a disabled one stays as it is.

        Raises:
            NotFound: there is no account of that name.
        """
        return await self._change(name, DISABLING, actor)

    async def enable(self, name: str, *, actor: str) -> Account:
        """Let a disabled account log in again; its old sessions stay ended.

        Raises:
            NotFound: there is no account of that name.
        """
        return await self._change(name, ENABLING, actor)

    async def set_role(self, name: str, role: str, *, actor: str) -> Account:
        """Give an account another role; its access tokens end at once, its sessions go on with the new role.

        Raises:
            NotFound: there is no account of that name.
            InvalidField: the role is not of an acceptable form.
        """
        return await self._change(name, new_role(parse_role(role)), actor)

    async def set_password(self, name: str, password: str, *, actor: str, temporary: bool = False) -> Account:
        """Replace a password and end all sessions and access tokens of the account.

        A temporary password is good for nothing but setting another one, and only for a day.

        Raises:
            NotFound: there is no account of that name.
            InvalidField: the password breaks a rule.
            HashingBusy: too many passwords are waiting.
        """
        password_hash = await self._passwords.hash(password, parse_name(name))
        return await self._change(name, new_password(password_hash, temporary=temporary), actor)

    async def delete(self, name: str, *, actor: str) -> Account:
        """Delete an account for good; its sessions and access tokens end. Its id is never used again.

        Raises:
            NotFound: there is no account of that name.
        """
        return await self._change(name, DELETION, actor)

    async def _change(self, name: str, change: Change, actor: str) -> Account:
        return await self._changer.change(by_name(name), change, Authority(actor))


async def _page(tx: Transaction, after: str, limit: int) -> list[Account]:
    return await tx.accounts.page(after, limit)
