"""Find the account that a change is for, by its name or its id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tokenkeep.domain.accounts import Account, parse_name
from tokenkeep.domain.errors import NotFound
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.flows.ports import Transaction

Find = Callable[[Transaction], Awaitable[Account]]
"""Finds an account inside a transaction; raises if there is none, or if it may not be looked at."""


def by_name(text: str) -> Find:
    """Return what finds the account of that name.

    Raises:
        InvalidField: it is no name.
    """
    name = parse_name(text)

    async def find(tx: Transaction) -> Account:
        account = await tx.accounts.find_by_name(name.key)
        if account is None:
            raise NotFound(f"there is no account named {name.display!r}; tokenkeep users list shows them")
        return account

    return find


def by_id(account_id: AccountId) -> Find:
    """Return what finds the account with that id."""

    async def find(tx: Transaction) -> Account:
        account = await tx.accounts.find(account_id)
        if account is None:
            raise NotFound
        return account

    return find
