"""Know which kinds of password hashes are stored, so that no refused login can tell by its time which one it met."""

from __future__ import annotations

from tokenkeep.domain.password_hashes import HashCost
from tokenkeep.flows.ports import PasswordHasher, Storage, Transaction


class FollowPasswordKinds:
    """Tells the hasher what is stored: hashes are imported beside the server, and upgraded one login at a time."""

    def __init__(self, storage: Storage, hasher: PasswordHasher) -> None:
        self._storage = storage
        self._hasher = hasher

    async def poll(self) -> None:
        """Read the kinds that are stored now, and let the hasher measure what it has not met.

        Raises:
            StorageUnavailable: the database did not answer; what was known before holds on.
            HashingBusy: too many passwords are waiting.
        """
        await self._hasher.expect(await self._storage.read(_kinds))


async def _kinds(tx: Transaction) -> list[HashCost]:
    return await tx.accounts.password_kinds()
