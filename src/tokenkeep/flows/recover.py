"""Recover from a backup that was put back: end everything that it would revive, and begin a new history."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from tokenkeep.contract.revocation import RevocationKind
from tokenkeep.domain.audit import OPERATOR, Event, EventKind
from tokenkeep.domain.history import Position
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import EndReason
from tokenkeep.flows.ports import HighWaterMark, Storage, Transaction
from tokenkeep.flows.rotate_keys import RotateKeys


@dataclass(frozen=True, slots=True)
class Recovered:
    """What `recover` ended and replaced."""

    sessions: int
    accounts: int
    signing_keys: int


class Recover:
    """Makes a database that was put back safe to serve."""

    def __init__(self, storage: Storage, mark: HighWaterMark, rotate_keys: RotateKeys) -> None:
        self._storage = storage
        self._mark = mark
        self._rotate_keys = rotate_keys

    async def recover(self) -> Recovered:
        """End all sessions and access tokens, replace all signing keys, and begin a new epoch.

        Passwords, roles and accounts stay as the backup has them.

        Raises:
            MarkUnavailable: the high-water mark cannot be replaced everywhere; as far as can be known, nothing is done.
            StorageUnavailable: the database did not answer.
        """
        await self._mark.require()
        recovered = await self._storage.transact(self._end_everything, secrets.token_urlsafe(12))
        await self._rotate_keys.establish()
        await self._mark.begin(await self._storage.read(_position))
        return recovered

    async def _end_everything(self, tx: Transaction, epoch: str) -> Recovered:
        accounts = await tx.accounts.raise_token_versions()
        sessions = await tx.sessions.end_everyones(EndReason.RECOVERED, now=tx.now)
        keys = await tx.signing_keys.revoke_published()
        await tx.audit.record(Event(EventKind.RECOVERED, tx.now, OPERATOR, detail=f"{sessions} sessions"))
        await tx.revocations.begin_epoch(epoch)
        for key_id in keys:
            await tx.revocations.append(
                Revocation(RevocationKind.KEY, key_id, None, tx.now, EndReason.RECOVERED, OPERATOR)
            )
        return Recovered(sessions, accounts, len(keys))


async def _position(tx: Transaction) -> Position:
    return await tx.revocations.position()
