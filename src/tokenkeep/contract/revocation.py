"""Revocation as verifiers see it: what an entry is, its digest, and the set that answers "is this token revoked?".

Not here: why something was revoked and how long that matters (`domain.revocations`).
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, TypeGuard

from tokenkeep.contract.access_token import AccessToken
from tokenkeep.jose import Key, KeySet
from tokenkeep.jose.encoding import encode_array

DIGEST_SIZE: Final = 16
"""Bytes of SHA-256 that stand for an entry."""


class RevocationKind(StrEnum):
    """What an entry revokes; the value is the first member of the array that is hashed."""

    SESSION = "sid"
    TOKEN = "jti"
    ACCOUNT = "sub"
    KEY = "kid"


def digest(kind: RevocationKind, issuer: str, *values: str | int) -> bytes:
    """Return the 16 bytes that stand for an entry: the start of SHA-256 over the JSON array `[kind, issuer, value…]`.

    `SESSION`, `TOKEN` and `KEY` have one value; `ACCOUNT` has two, the subject and the token version that ended.
    """
    return hashlib.sha256(encode_array([kind.value, issuer, *values])).digest()[:DIGEST_SIZE]


def names_key(key_id: object, keys: Key | KeySet) -> TypeGuard[str]:
    """Tell whether a header with this `kid`, whose signature is right, names the key that made it.

    A set is searched by it, if there is one; a key alone is taken whatever the header says.
    """
    return key_id is not None and (isinstance(keys, KeySet) or key_id == keys.kid)


class EntryExpiries:
    """Until when each entry must be kept; one that is noted again is kept until the later instant.

    Instants are in whatever unit the caller counts in, the same for all.
    """

    __slots__ = ("_expires_at", "_next")

    def __init__(self) -> None:
        self._expires_at: dict[bytes, int] = {}
        self._next: list[tuple[int, bytes]] = []

    def note(self, entry: bytes, expires_at: int) -> None:
        """Keep an entry until an instant at least."""
        if expires_at > self._expires_at.get(entry, -1):
            self._expires_at[entry] = expires_at
            heapq.heappush(self._next, (expires_at, entry))

    def take_due(self, now: float) -> list[bytes]:
        """Return the entries that need not be kept any more, and forget them."""
        due = []
        while self._next and self._next[0][0] <= now:
            expires_at, entry = heapq.heappop(self._next)
            if self._expires_at.get(entry) == expires_at:  # otherwise it was noted again, for longer
                del self._expires_at[entry]
                due.append(entry)
        return due

    def take_all(self) -> set[bytes]:
        """Return all entries, and forget them."""
        entries = set(self._expires_at)
        self._expires_at.clear()
        self._next.clear()
        return entries


class RevocationSet:
    """The entries in force, and until when they may be relied on.

    Changes and look-ups may come from different threads: each is one operation on a built-in set.
    """

    __slots__ = ("_entries", "_fresh_until")

    def __init__(self) -> None:
        self._entries: set[bytes] = set()
        self._fresh_until: float | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entries: Iterable[bytes]) -> None:
        """Revoke what the digests stand for; adding an entry twice changes nothing."""
        self._entries.update(entries)

    def discard(self, entries: Iterable[bytes]) -> None:
        """Forget entries that can no longer matter, because every token they stand for has expired."""
        self._entries.difference_update(entries)

    def confirm(self, fresh_until: float) -> None:
        """Promise that the set is complete; `fresh_until` is in seconds of the monotonic clock."""
        if self._fresh_until is None or fresh_until > self._fresh_until:
            self._fresh_until = fresh_until

    def fresh(self, now: float) -> bool:
        """Tell whether the set may be relied on at `now`, in seconds of the monotonic clock.

        A set that has never been confirmed is not fresh: nobody knows yet what it should hold.
        """
        return self._fresh_until is not None and now < self._fresh_until

    def holds(self, entry: bytes) -> bool:
        """Tell whether what a digest stands for is revoked."""
        return entry in self._entries

    def contains(self, token: AccessToken) -> bool:
        """Tell whether the token's session, account version, signing key or the token itself is revoked."""
        entries = self._entries
        if not entries:
            return False
        issuer = token.issuer
        return (
            (token.session_id is not None and digest(RevocationKind.SESSION, issuer, token.session_id) in entries)
            or (
                token.version is not None
                and digest(RevocationKind.ACCOUNT, issuer, token.subject, token.version) in entries
            )
            or (token.token_id is not None and digest(RevocationKind.TOKEN, issuer, token.token_id) in entries)
            or (token.key_id is not None and digest(RevocationKind.KEY, issuer, token.key_id) in entries)
        )
