"""Publish the list of revocations: signed documents for those who follow it, made once for all who stand alike.

Not here: reading the list (`flows.follow_revocations`), and who may have documents (`api`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from tokenkeep.contract.revocation_feed import DOCUMENT_LIFE, FeedDocument, FeedEntry, sign_feed
from tokenkeep.domain.errors import Unavailable
from tokenkeep.domain.history import Position, RolledBack
from tokenkeep.flows.follow_revocations import FollowRevocations
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.shared_work import SharedWork
from tokenkeep.jose import Key

LONGEST_WAIT: Final = 30
"""Seconds that a reader may wait for news."""
MOST_WAITING: Final = 1_000
"""Readers that wait at the same time; any more are answered at once."""
MOST_AT_ONCE: Final = 1_000
"""Entries that are signed at once: some two milliseconds. Longer documents are made in a thread, one at a time."""
MOST_ENTRIES: Final = 1_250_000
"""Entries of the longest document that readers still read."""
LARGEST_STEP_BACK: Final = 5
"""Seconds that the clock may be set back before documents are dated back too."""
_MOST_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class _Edition:
    """What all documents of an instant have in common; those of one edition with the same start are the same."""

    position: Position
    issued_at: int
    signer: Key


class PublishRevocations:
    """Answers readers of the list with documents that lead them from what they know to an instant after their asking.

    Each document is dated by the database's clock at the read it was made from, and that read begins after the request
    came. So a reader that is moved from one server process to another meets no earlier date and no lower number there.
    """

    def __init__(
        self, follow: FollowRevocations, key_ring: KeyRing, *, issuer: str, most_waiting: int = MOST_WAITING
    ) -> None:
        """Publish what `follow` reads; `most_waiting`: how many readers may wait at the same time."""
        self._follow = follow
        self._key_ring = key_ring
        self._issuer = issuer
        self._most_waiting = most_waiting
        self._look_together = SharedWork(self._look)
        self._make_together = SharedWork(self._make_snapshot)
        self._edition: _Edition | None = None
        self._texts: dict[int, bytes] = {}
        self._latest = 0
        self._ending = False
        self.waiting = 0
        """Readers that wait for news now."""
        self.signed = 0
        """Documents signed since the start."""

    async def answer(self, known: Position | None, *, wait: float = 0) -> bytes:
        """Return the document for a reader that knows the list up to a position; None: nothing.

        If there is nothing new, it comes when there is, and says that there is nothing after `wait` seconds.

        Raises:
            Unavailable: nobody can vouch for the list now.
        """
        await self._look_together()
        log = self._follow.log
        if known is not None and known == log.position and wait > 0 and not await self._news_within(wait):
            await self._look_together()
        if not self._follow.fresh():
            raise Unavailable("the list of revocations was read too long ago")
        if known is None or not log.continues(known):
            return await self._document(0)
        return await self._document(known.number)

    def end_waits(self) -> None:
        """Answer at once all who wait for news, and let nobody wait from here on."""
        self._ending = True
        self._follow.news.tell()

    async def _news_within(self, seconds: float) -> bool:
        """Wait for news, if there is room to wait; tells whether there was any."""
        if self._ending or self.waiting >= self._most_waiting:
            return False
        self.waiting += 1
        try:
            return await self._follow.news.heard_within(seconds) and not self._ending
        finally:
            self.waiting -= 1

    async def _look(self) -> None:
        try:
            await self._follow.look()
        except RolledBack as error:
            raise Unavailable(str(error)) from error

    async def _document(self, after: int) -> bytes:
        count = self._follow.log.count_after(after)
        if count <= MOST_AT_ONCE:
            return self._short_document(after)
        # Whoever lacks so much gets all of it: one long document for everybody.
        return await self._make_together()

    def _short_document(self, after: int) -> bytes:
        edition = self._current_edition()
        text = self._kept(edition, after)
        if text is None:
            text = self._keep(edition, after, self._sign(edition, after, self._follow.log.after(after)))
        return text

    async def _make_snapshot(self) -> bytes:
        edition = self._current_edition()
        text = self._kept(edition, 0)
        if text is None:
            entries = self._follow.log.after(0)
            if len(entries) > MOST_ENTRIES:
                raise Unavailable(f"{len(entries)} revocations are more than a reader takes at once")
            text = self._keep(edition, 0, await asyncio.to_thread(self._sign, edition, 0, entries))
        return text

    def _kept(self, edition: _Edition, after: int) -> bytes | None:
        """Return a document that was signed before; those of other editions are forgotten."""
        if edition != self._edition:
            self._edition, self._texts = edition, {}
        return self._texts.get(after)

    def _keep(self, edition: _Edition, after: int, text: bytes) -> bytes:
        if edition == self._edition:
            if len(self._texts) >= _MOST_KEPT:
                self._texts.clear()
            self._texts[after] = text
        return text

    def _current_edition(self) -> _Edition:
        read_at = self._follow.read_at // 1000
        # The date does not follow a clock that is set back a little: readers refuse an earlier one. If it is set back
        # further, it was wrong before, and no reader with the right time believed those documents.
        if not 0 < self._latest - read_at <= LARGEST_STEP_BACK:
            self._latest = read_at
        return _Edition(self._follow.log.position, self._latest, self._key_ring.signer())

    def _sign(self, edition: _Edition, after: int, entries: tuple[FeedEntry, ...]) -> bytes:
        document = FeedDocument(
            issuer=self._issuer,
            issued_at=edition.issued_at,
            expires_at=edition.issued_at + DOCUMENT_LIFE,
            epoch=edition.position.epoch,
            after=after,
            upto=edition.position.number,
            entries=entries,
        )
        self.signed += 1
        return sign_feed(document, edition.signer).encode("ascii")
