"""What a reader of the revocation feed does with a document: believe it, ask for everything, or refuse it.

Pure: no clock, no network. When to ask is in `feed_following`; the document's form is in `contract.revocation_feed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tokenkeep.contract.revocation import EntryExpiries, RevocationKind, RevocationSet, digest
from tokenkeep.contract.revocation_feed import FeedDocument, FeedRefused


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """How far a reader has come: up to which number of which history, and when the last document was issued."""

    epoch: str
    number: int
    issued_at: int


class FeedReading:
    """Follows documents into a revocation set, each of which must continue the one before it.

    An entry once believed is only ever forgotten by its own expiry or by a snapshot that does not hold it.
    """

    def __init__(self, revoked: RevocationSet, *, issuer: str, leeway: float) -> None:
        """Begin with nothing known.

        Args:
            revoked: the set that is kept.
            issuer: whose feed it is.
            leeway: seconds by which the clocks of server and reader may differ.
        """
        self._revoked = revoked
        self._issuer: Final = issuer
        self._leeway: Final = leeway
        self._expiries = EntryExpiries()
        self.position: FeedPosition | None = None

    def take(self, document: FeedDocument, now: float) -> bool:
        """Take over what a document says; False if it leaves a gap, so that a snapshot must be asked for.

        Args:
            now: seconds since the epoch.

        Raises:
            FeedRefused: it is of another issuer, of a revoked key, too old, from the future, or older than what
                is known already.
        """
        self._check_origin(document, now)
        position = self.position
        snapshot = document.after == 0
        # Whatever its history: a snapshot of an earlier one would take away what the later one revoked.
        if position is not None and document.issued_at < position.issued_at:
            raise FeedRefused("the document was issued before one that is known already")
        if position is not None and document.epoch == position.epoch:
            if document.upto < position.number:
                raise FeedRefused("the document ends before what is known already: the feed went backwards")
            continues = document.after <= position.number
        else:
            continues = snapshot
        if not continues:
            return False
        self._apply(document, replace=snapshot)
        self.position = FeedPosition(document.epoch, document.upto, document.issued_at)
        self.forget_expired(now)
        return True

    def forget_expired(self, now: float) -> None:
        """Drop entries whose tokens have all expired; `now` is in seconds since the epoch."""
        self._revoked.discard(self._expiries.take_due(now - self._leeway))

    def _check_origin(self, document: FeedDocument, now: float) -> None:
        if document.issuer != self._issuer:
            raise FeedRefused("the document is of another issuer")
        # The key set may be minutes old. Whoever has stolen the key would begin a history without its revocation.
        if self._revoked.holds(digest(RevocationKind.KEY, self._issuer, document.key_id)):
            raise FeedRefused("the document is signed with a key that was revoked")
        if now >= document.expires_at + self._leeway:
            raise FeedRefused("the document has expired")
        if document.issued_at > now + self._leeway:
            raise FeedRefused("the document was issued in the future: the clocks differ")

    def _apply(self, document: FeedDocument, *, replace: bool) -> None:
        # Everything is added before anything is taken away, so that nothing is let through in between.
        self._revoked.add(entry.digest for entry in document.entries)
        if replace:
            self._revoked.discard(self._expiries.take_all() - {entry.digest for entry in document.entries})
        for entry in document.entries:
            self._expiries.note(entry.digest, entry.expires_at)
