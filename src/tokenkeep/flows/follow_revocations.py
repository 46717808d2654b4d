"""Keep this process's revocation set and log complete: load them once, then read what other processes append."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from tokenkeep.contract.revocation import EntryExpiries, RevocationKind, RevocationSet
from tokenkeep.contract.revocation_feed import FeedEntry
from tokenkeep.domain.revocation_log import RevocationLog
from tokenkeep.flows.known_history import KnownHistory, look_at_history
from tokenkeep.flows.news import News
from tokenkeep.flows.ports import Clock, Storage, Transaction


class FollowRevocations:
    """Reads the list of revocations into a set, and vouches for the set for a while after each good read.

    Attributes:
        log: the same entries in their order.
        news: told whenever the list has grown.
        read_at: the instant of the last read of the list, by the database's clock, in milliseconds.
    """

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
        self._confirmed_at = -math.inf
        self._history = KnownHistory()
        self._reached = 0
        self._latest = 0
        self._revision: int | str | None = None
        self._expiries = EntryExpiries()
        self._reading = asyncio.Lock()
        self.log: Final = RevocationLog()
        self.news: Final = News()
        self.read_at = 0

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
        async with self._reading:
            asked_at = self._clock.monotonic()
            revision = await self._storage.revision()
            self._begin_anew_if_set_back()
            if revision != self._revision or self._history.doubted:
                await self._read_on()
                self._revision = revision
            self._vouch(asked_at)

    async def look(self) -> None:
        """Read the list now, so that set, log and `read_at` are those of an instant after the call.

        Raises:
            StorageUnavailable, RolledBack: as `poll` does.
        """
        async with self._reading:
            asked_at = self._clock.monotonic()
            self._begin_anew_if_set_back()
            await self._read_on()
            self._vouch(asked_at)

    def fresh(self) -> bool:
        """Tell whether the set may be relied on now."""
        return self._revoked.fresh(self._clock.monotonic())

    @property
    def doubted(self) -> bool:
        """Whether the database was put back to an older state when last looked at."""
        return self._history.doubted

    @property
    def age(self) -> float:
        """Seconds since the last look at the list that succeeded was begun; endless before the first."""
        return self._clock.monotonic() - self._confirmed_at

    def _begin_anew_if_set_back(self) -> None:
        """Have all of the list read again if the clock stands earlier than at the last look."""
        before, self._latest = self._latest, self._clock.now()
        if self._latest < before:
            # What seemed to have expired may not have.
            self._reached, self._revision = 0, None

    async def _read_on(self) -> None:
        after = self._reached
        look = await self._storage.read(look_at_history, min(after, self._history.number))
        self._history.go_on(look)
        numbered = []
        for each in look.kept:
            if each.number <= after:
                continue
            entry = each.revocation.entry(self._issuer)
            self._revoked.add([entry])
            self._expiries.note(entry, each.expires_at)
            numbered.append((each.number, FeedEntry(entry, -(-each.expires_at // 1000))))
            if each.revocation.kind is RevocationKind.KEY:
                self._key_revoked()
        self._reached = look.position.number
        self.read_at = look.now
        if self.log.take(look.position, numbered, after=after):
            self.news.tell()

    def _vouch(self, asked_at: float) -> None:
        """Forget what has expired, and promise that the rest is complete."""
        now = self._clock.now()
        self._revoked.discard(self._expiries.take_due(now))
        self.log.forget_expired(now / 1000)
        self._revoked.confirm(asked_at + self._max_staleness)
        self._confirmed_at = asked_at


async def _register_access_life(tx: Transaction, life: int) -> None:
    await tx.revocations.register_access_life(life)
