"""Read the audit log."""

from __future__ import annotations

from tokenkeep.domain.audit import Event, EventFilter
from tokenkeep.flows.ports import Storage, Transaction


class ReadAudit:
    """Finds audit events."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def search(self, wanted: EventFilter) -> list[Event]:
        """Return the newest events that fit, the newest first.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.read(_search, wanted)


async def _search(tx: Transaction, wanted: EventFilter) -> list[Event]:
    return await tx.audit.search(wanted)
