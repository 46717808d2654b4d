"""Keep this process's revocation set complete: load it once, then read what other processes append."""

from __future__ import annotations

import heapq
from typing import Final

from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.flows.ports import Clock, NumberedRevocation, Storage, Transaction


class FollowRevocations:
    """Reads the list of revocations into a set, and vouches for the set for a while after each good read."""

    def __init__(
        self, storage: Storage, revoked: RevocationSet, clock: Clock, *, issuer: str, max_staleness: float
    ) -> None:
        """Follow the list in `storage`; `max_staleness` is in seconds."""
        self._storage = storage
        self._revoked = revoked
        self._clock = clock
        self._issuer = issuer
        self._max_staleness: Final = max_staleness
        self._last_number = 0
        self._revision: int | None = None
        self._expiries: list[tuple[int, bytes]] = []

    async def poll(self) -> None:
        """Read what was appended since the last time, if anything may have been.

        Raises:
            StorageUnavailable: the database did not answer; the set goes stale unless a later call succeeds.
        """
        asked_at = self._clock.monotonic()
        revision = await self._storage.revision()
        if revision != self._revision:
            await self._read_on()
            self._revision = revision
        self._drop_expired()
        self._revoked.confirm(asked_at + self._max_staleness)

    async def _read_on(self) -> None:
        for numbered in await self._storage.read(_after, self._last_number):
            entry = numbered.revocation.entry(self._issuer)
            self._revoked.add([entry])
            heapq.heappush(self._expiries, (numbered.expires_at, entry))
            self._last_number = numbered.number

    def _drop_expired(self) -> None:
        now = self._clock.now()
        while self._expiries and self._expiries[0][0] <= now:
            self._revoked.discard([heapq.heappop(self._expiries)[1]])


async def _after(tx: Transaction, number: int) -> list[NumberedRevocation]:
    return await tx.revocations.after(number, now=tx.now)
