"""Recover from a backup that was put back: end everything that it would revive, and begin a new history."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from tokenkeep.domain import revocations
from tokenkeep.domain.audit import OPERATOR, EventKind
from tokenkeep.domain.history import Position
from tokenkeep.domain.sessions import EndReason
from tokenkeep.domain.signing_keys import KeyRecord, KeyState
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.change_keys import revoke
from tokenkeep.flows.establish_keys import EstablishKeys
from tokenkeep.flows.ports import HighWaterMark, Storage, Transaction

_BY_OPERATOR = Authority(OPERATOR)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What `recover` ended and replaced."""

    sessions: int
    accounts: int
    signing_keys: int


class Recover:
    """Makes a database that was put back safe to serve."""

    def __init__(self, storage: Storage, mark: HighWaterMark, establish_keys: EstablishKeys) -> None:
        self._storage = storage
        self._mark = mark
        self._establish_keys = establish_keys

    async def recover(self) -> Recovered:
        """End all sessions and access tokens, replace all signing keys, and begin a new epoch.

        Passwords, roles and accounts stay as the backup has them.

        Raises:
            MarkUnavailable: the high-water mark cannot be replaced everywhere; as far as can be known, nothing is done.
            StorageUnavailable: the database did not answer.
        """
        await self._mark.require()
        recovered, keys = await self._storage.transact(self._end_everything, secrets.token_urlsafe(12))
        # The settings of a command need not be the server's; the verifiers know the algorithm that was in use.
        await self._establish_keys.establish(
            next((key.algorithm for key in keys if key.state is KeyState.ACTIVE), None)
        )
        await self._mark.begin(await self._storage.read(_position))
        return recovered

    async def _end_everything(self, tx: Transaction, epoch: str) -> tuple[Recovered, list[KeyRecord]]:
        accounts = await tx.accounts.raise_token_versions()
        sessions = await tx.sessions.end_everyones(EndReason.RECOVERED, now=tx.now)
        keys = await tx.signing_keys.records()
        for key in keys:
            await revoke(tx, key, _BY_OPERATOR)
        await tx.audit.record(_BY_OPERATOR.event(EventKind.RECOVERED, tx.now, detail=f"{sessions} sessions"))
        await tx.revocations.begin_epoch(epoch)
        for key in keys:
            await tx.revocations.append(
                revocations.of_key(key.id, at=tx.now, reason=EndReason.RECOVERED, actor=OPERATOR)
            )
        return Recovered(sessions, accounts, len(keys)), keys


async def _position(tx: Transaction) -> Position:
    return await tx.revocations.position()
