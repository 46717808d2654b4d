"""Note refusals that changed nothing, such as failed logins: queued, and written in batches shortly after."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final

from tokenkeep.domain.audit import ANYONE, Event, EventKind
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.limits import address_block
from tokenkeep.domain.secrets import SecretRing
from tokenkeep.domain.sessions import Client
from tokenkeep.flows.ports import Clock, Storage, Transaction

CAPACITY: Final = 10_000
"""Events that may wait; more are counted and forgotten."""
MOST_OF_PLACE: Final = 60
"""Events of one kind from one address block that are written in a minute."""
MOST_OF_KIND: Final = 300
"""Events of one kind that are written in a minute: many places together may not fill the log, nor hide other kinds."""
BATCH: Final = 500
"""Events written in one transaction."""


class NoteRefusals:
    """A bounded queue of audit events that accompany no change."""

    def __init__(self, storage: Storage, clock: Clock, secret_ring: SecretRing) -> None:
        self._storage = storage
        self._clock = clock
        self._secrets = secret_ring
        self._waiting: deque[Event] = deque()
        self._writing = asyncio.Lock()
        self.dropped: Counter[EventKind] = Counter()
        """How many events of each kind were counted and not written since the start."""
        self._minute = 0
        self._of_kind: Counter[EventKind] = Counter()
        self._of_place: Counter[tuple[EventKind, str]] = Counter()

    def note(
        self,
        kind: EventKind,
        client: Client,
        *,
        account_id: AccountId | None = None,
        session_id: str | None = None,
        detail: str = "",
    ) -> None:
        """Remember a refusal; nobody waits for it to be written."""
        if len(self._waiting) >= CAPACITY or not self._has_room(kind, client):
            self.dropped[kind] += 1
            return
        event = Event(
            kind, self._clock.now(), ANYONE, account_id, session_id, client.address, client.user_agent, detail
        )
        self._waiting.append(event)

    def _has_room(self, kind: EventKind, client: Client) -> bool:
        """Tell whether one more event of a kind, from a place, may be written in this minute."""
        minute = self._clock.now() // 60_000
        if minute != self._minute:
            self._minute = minute
            self._of_kind.clear()
            self._of_place.clear()
        place = (kind, address_block(client.address))
        if self._of_kind[kind] >= MOST_OF_KIND or self._of_place[place] >= MOST_OF_PLACE:
            return False
        self._of_kind[kind] += 1
        self._of_place[place] += 1
        return True

    def pseudonym(self, name_key: str) -> str:
        """Return what stands for a name that nobody has: mistyped names are often passwords."""
        return self._secrets.pseudonym(name_key)

    async def flush(self) -> None:
        """Write what is waiting.

        Raises:
            StorageUnavailable: the database did not answer; what was not written waits on.
        """
        async with self._writing:  # what one call is writing, another must not write again
            while self._waiting:
                batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
                await self._storage.transact(_record_all, batch)
                for _ in batch:
                    self._waiting.popleft()


async def _record_all(tx: Transaction, events: list[Event]) -> None:
    for event in events:
        await tx.audit.record(event)
