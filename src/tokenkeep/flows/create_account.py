"""Create an account: by command, by an administrator, or by whoever registers."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from functools import partial

from tokenkeep.domain.accounts import Account, check_new_name, parse_role, password_end
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.errors import NameTaken
from tokenkeep.domain.identifiers import ID_SIZE, account_id
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.new_passwords import NewPasswords
from tokenkeep.flows.ports import Storage, Transaction


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What is wanted: a name, the first password and a role, none of them checked yet.

    `temporary` is whether the password is good for nothing but setting another one.
    """

    name: str
    password: str = field(repr=False)
    role: str
    temporary: bool = False


@dataclass(frozen=True, slots=True)
class AccountDraft:
    """An account that may be stored once its password is hashed."""

    account: Account
    password: str = field(repr=False)
    temporary: bool


class CreateAccount:
    """Creates accounts that can log in."""

    def __init__(self, storage: Storage, passwords: NewPasswords) -> None:
        self._storage = storage
        self._passwords = passwords

    async def draft(self, new: NewAccount) -> AccountDraft:
        """Return what would be stored, with an id that nobody has; nothing is hashed yet.

        Raises:
            InvalidField: the name, password or role breaks a rule.
            NameTaken: another account's name reads the same.
            HashingBusy: too many passwords are waiting.
            StorageUnavailable: the database did not answer.
        """
        name = check_new_name(new.name)
        role = parse_role(new.role)
        if await self._storage.read(_is_taken, name.key):
            raise NameTaken(_TAKEN)
        password = await self._passwords.judged(new.password, name)
        known_as = account_id(secrets.token_bytes(ID_SIZE))
        return AccountDraft(Account(known_as, name.display, name.key, role, 1, 0), password, new.temporary)

    async def store(self, draft: AccountDraft, by: Authority) -> Account:
        """Hash the password and store the account.

        Raises:
            NameTaken: another account took the name meanwhile.
            Forbidden: an administrator is none any more.
            HashingBusy: too many passwords are waiting.
            StorageUnavailable: the database did not answer; nothing was stored.
        """
        account = replace(draft.account, password_hash=await self._passwords.hash_judged(draft.password))
        return await self._storage.transact(partial(_add, temporary=draft.temporary), account, by)


_TAKEN = "the name is taken, or reads the same as one that is; tokenkeep users list shows them"


async def _is_taken(tx: Transaction, name_key: str) -> bool:
    return await tx.accounts.find_by_name(name_key) is not None


async def _add(tx: Transaction, account: Account, by: Authority, *, temporary: bool) -> Account:
    await by.hold(tx)
    stored = replace(account, created_at=tx.now, password_expires_at=password_end(tx.now, temporary=temporary))
    if not await tx.accounts.add(stored):
        raise NameTaken(_TAKEN)
    detail = f"{stored.role}, temporary password" if temporary else stored.role
    await tx.audit.record(by.event(EventKind.ACCOUNT_CREATED, tx.now, account_id=stored.id, detail=detail))
    return stored
