"""Show live sessions: to somebody their own, to an operator those of an account or of everyone."""

from __future__ import annotations

from tokenkeep.domain.accounts import Account
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.sessions import Session
from tokenkeep.flows.find_account import Find
from tokenkeep.flows.ports import Storage, Transaction


class ListSessions:
    """Lists sessions."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def live(self, owner: AccountId) -> list[Session]:
        """Return the account's live sessions, the last used first.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.read(_live, owner)

    async def of_account(self, find: Find) -> list[tuple[Session, Account]]:
        """Return an account's live sessions, the last used first, and the account with each.

        Raises:
            NotFound: there is no such account.
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.read(_of_account, find)

    async def latest(self, limit: int) -> list[tuple[Session, Account]]:
        """Return up to `limit` live sessions of anybody, the last used first, and whose they are.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.read(_latest, limit)


async def _of_account(tx: Transaction, find: Find) -> list[tuple[Session, Account]]:
    account = await find(tx)
    return [(session, account) for session in await tx.sessions.live_of(account.id, now=tx.now)]


async def _latest(tx: Transaction, limit: int) -> list[tuple[Session, Account]]:
    return await tx.sessions.latest(now=tx.now, limit=limit)


async def _live(tx: Transaction, owner: AccountId) -> list[Session]:
    return await tx.sessions.live_of(owner, now=tx.now)
