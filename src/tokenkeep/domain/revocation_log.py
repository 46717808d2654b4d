"""The log of revocations: what can still matter, in the order of the numbers, for those who follow the list.

Not here: the set that tokens are checked against (`contract.revocation`), and how entries travel
(`contract.revocation_feed`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from tokenkeep.contract.revocation_feed import FeedEntry
from tokenkeep.domain.history import Position

SHORTEST_SWEPT: Final = 1_000
"""Entries up to which a log is not worth sweeping."""


class RevocationLog:
    """The unexpired entries up to a position. Whoever knows those up to any number needs only the ones after it.

    Numbers have no gaps, so what is missing between two of them has expired.
    """

    __slots__ = ("_entries", "_numbers", "_position", "_sweep_from")

    def __init__(self) -> None:
        self._position = Position("", 0)
        self._numbers: list[int] = []
        self._entries: list[FeedEntry] = []
        self._sweep_from = SHORTEST_SWEPT

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def position(self) -> Position:
        """How far the log goes; its epoch is empty before anything was read."""
        return self._position

    def take(self, position: Position, numbered: Iterable[tuple[int, FeedEntry]], *, after: int) -> bool:
        """Put what was read in the place of everything after a number; tells whether the position is another one.

        Args:
            position: where the list stood when it was read.
            numbered: its unexpired entries after that number, in order.
            after: the number.
        """
        kept = bisect_right(self._numbers, after)
        del self._numbers[kept:], self._entries[kept:]
        for number, entry in numbered:
            self._numbers.append(number)
            self._entries.append(entry)
        moved = position != self._position
        self._position = position
        return moved

    def continues(self, known: Position) -> bool:
        """Tell whether somebody who knows the list up to a position needs only what comes after it."""
        return known.epoch == self._position.epoch and known.number <= self._position.number

    def count_after(self, number: int) -> int:
        """Return how many entries come after a number."""
        return len(self._numbers) - bisect_right(self._numbers, number)

    def after(self, number: int) -> tuple[FeedEntry, ...]:
        """Return the entries after a number, in order."""
        return tuple(self._entries[bisect_right(self._numbers, number) :])

    def forget_expired(self, now: float) -> None:
        """Forget entries that no token can need any more; `now` is in seconds since the epoch.

        Most expire in the order of their numbers, and go from the first on. What stands behind one that is kept for
        longer, such as a signing key, goes once the log has doubled: it never holds much more than twice what matters.
        """
        expired = 0
        while expired < len(self._entries) and self._entries[expired].expires_at <= now:
            expired += 1
        del self._numbers[:expired], self._entries[:expired]
        if len(self._entries) >= self._sweep_from:
            left = [at for at, entry in enumerate(self._entries) if entry.expires_at > now]
            self._numbers, self._entries = [self._numbers[at] for at in left], [self._entries[at] for at in left]
            self._sweep_from = max(SHORTEST_SWEPT, 2 * len(left))
