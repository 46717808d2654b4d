"""Keep this process's revocation set complete: load it once, then read what other processes append."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tokenkeep.contract.revocation import EntryExpiries, RevocationKind, RevocationSet
from tokenkeep.domain.history import Position, check_history
from tokenkeep.flows.ports import Clock, Storage, Transaction
from tokenkeep.flows.stores import NumberedRevocation


class FollowRevocations:
    """Reads the list of revocations into a set, and vouches for the set for a while after each good read."""

    def __init__(
        self,
        storage: Storage,
        revoked: RevocationSet,
        clock: Clock,
        *,
        issuer: str,
        max_staleness: float,
        key_revoked: Callable[[], None] = lambda: None,
    ) -> None:
        """Follow the list in `storage`; `max_staleness` is in seconds, `key_revoked` is told when a signing key is."""
        self._storage = storage
        self._revoked = revoked
        self._clock = clock
        self._issuer = issuer
        self._max_staleness: Final = max_staleness
        self._key_revoked = key_revoked
        self._position: Position | None = None
        self._reached = 0
        self._latest = 0
        self._revision: int | None = None
        self._expiries = EntryExpiries()

    async def remember_access_life(self, life: int) -> None:
        """Have entries kept as long as tokens of this life, in milliseconds, and of every one before it, can matter.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        await self._storage.transact(_register_access_life, life)

    async def poll(self) -> None:
        """Read what was appended since the last time, if anything may have been.

        Raises:
            StorageUnavailable: the database did not answer; the set goes stale unless a later call succeeds.
            RolledBack: the database was put back to an older state; the set goes stale, so that nothing is accepted.
        """
        asked_at = self._clock.monotonic()
        revision = await self._storage.revision()
        if self._is_set_back():
            # What seemed to have expired may not have. All of it is read again.
            self._reached, self._revision = 0, None
        if revision != self._revision:
            await self._read_on()
            self._revision = revision
        self._revoked.discard(self._expiries.take_due(self._clock.now()))
        self._revoked.confirm(asked_at + self._max_staleness)

    def _is_set_back(self) -> bool:
        """Tell whether the clock stands earlier than at the last look."""
        before, self._latest = self._latest, self._clock.now()
        return self._latest < before

    async def _read_on(self) -> None:
        position, appended = await self._storage.read(_after, self._reached)
        if self._position is not None:
            check_history(self._position, position)
        for numbered in appended:
            entry = numbered.revocation.entry(self._issuer)
            self._revoked.add([entry])
            self._expiries.note(entry, numbered.expires_at)
            if numbered.revocation.kind is RevocationKind.KEY:
                self._key_revoked()
        self._position = position
        self._reached = position.number


async def _after(tx: Transaction, number: int) -> tuple[Position, list[NumberedRevocation]]:
    return await tx.revocations.position(), await tx.revocations.after(number, now=tx.now)


async def _register_access_life(tx: Transaction, life: int) -> None:
    await tx.revocations.register_access_life(life)
