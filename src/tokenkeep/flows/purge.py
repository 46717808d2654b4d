"""Purge: forget what can no longer matter, in small batches, so that nobody waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tokenkeep.domain.limits import FAMILIAR_FOR
from tokenkeep.flows.ports import Storage, Transaction

BATCH: Final = 500
"""Rows deleted in one transaction."""


@dataclass(frozen=True, slots=True)
class Purged:
    """How many rows were forgotten."""

    sessions: int
    revocations: int
    audit_events: int


class Purge:
    """Forgets expired sessions, expired revocations and old audit events.

    A session's row stays until its absolute end, ended or not: until then a spent refresh token that turns up is
    still told from one that never was. It stays longer while the place of its login is familiar.
    """

    def __init__(self, storage: Storage, *, audit_retention: int) -> None:
        """Keep audit events for `audit_retention` milliseconds."""
        self._storage = storage
        self._audit_retention = audit_retention

    async def purge(self) -> Purged:
        """Forget everything that can be forgotten now.

        Raises:
            StorageUnavailable: the database did not answer; what was forgotten before stays forgotten.
        """
        total = Purged(0, 0, 0)
        while True:
            batch = await self._storage.transact(self._batch)
            total = Purged(
                total.sessions + batch.sessions,
                total.revocations + batch.revocations,
                total.audit_events + batch.audit_events,
            )
            if max(batch.sessions, batch.revocations, batch.audit_events) < BATCH:
                return total

    async def _batch(self, tx: Transaction) -> Purged:
        return Purged(
            sessions=await tx.sessions.purge(over_before=tx.now, begun_before=tx.now - FAMILIAR_FOR, limit=BATCH),
            revocations=await tx.revocations.purge(before=tx.now, limit=BATCH),
            audit_events=await tx.audit.purge(before=tx.now - self._audit_retention, limit=BATCH),
        )
