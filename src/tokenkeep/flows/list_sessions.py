"""Show somebody their own live sessions."""

from __future__ import annotations

from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.sessions import Session
from tokenkeep.flows.ports import Storage, Transaction


class ListSessions:
    """Lists the sessions of one account."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def live(self, owner: AccountId) -> list[Session]:
        """Return the account's live sessions, the last used first.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.read(_live, owner)


async def _live(tx: Transaction, owner: AccountId) -> list[Session]:
    return await tx.sessions.live_of(owner, now=tx.now)
