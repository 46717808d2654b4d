"""How a reader follows the feed: forward only, whole, and never forgetting early."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.contract.revocation import RevocationKind, RevocationSet, digest
from tokenkeep.contract.revocation_feed import FeedDocument, FeedEntry, FeedRefused
from tokenkeep.verifier.feed_reading import FeedReading

ISSUER = "https://auth.example.com"
NOW = 1_800_000_000
LEEWAY = 5.0


def entry(number: int, life: int = 960) -> FeedEntry:
    """Return an entry that lives for some seconds."""
    return FeedEntry(number.to_bytes(16, "big"), NOW + life)


def document(after: int, upto: int, *, epoch: str = "first", at: int = NOW, entries=None) -> FeedDocument:
    """Return a document with one entry for each number."""
    listed = entries if entries is not None else tuple(entry(number) for number in range(after + 1, upto + 1))
    return FeedDocument(ISSUER, at, at + 60, epoch, after, upto, listed)


class Reader:
    """A reading and the set it keeps."""

    def __init__(self) -> None:
        self.revoked = RevocationSet()
        self.reading = FeedReading(self.revoked, issuer=ISSUER, leeway=LEEWAY)

    def take(self, given: FeedDocument, now: float = NOW) -> bool:
        """Give the reader a document."""
        return self.reading.take(given, now)

    @property
    def known(self) -> set[int]:
        """The numbers whose entries are in force."""
        return {int.from_bytes(digest, "big") for digest in self.revoked._entries}


@pytest.fixture
def reader() -> Reader:
    """A reader that has taken a snapshot of three entries."""
    reader = Reader()
    assert reader.take(document(0, 3))
    return reader


def test_a_snapshot_comes_first():
    """A reader that knows nothing takes a snapshot, and asks for one when it is given less."""
    reader = Reader()
    assert not reader.take(document(2, 4))
    assert reader.known == set()
    assert reader.take(document(0, 4))
    assert reader.known == {1, 2, 3, 4}


def test_what_continues_is_added(reader: Reader):
    """Documents that begin where the last one ended, or before, add to what is known."""
    assert reader.take(document(3, 5))
    assert reader.take(document(2, 6))
    assert reader.take(document(6, 6))
    assert reader.known == {1, 2, 3, 4, 5, 6}


def test_a_gap_asks_for_everything(reader: Reader):
    """A document that begins after the last one ended is not taken; the snapshot that follows closes the gap."""
    assert not reader.take(document(5, 6))
    assert reader.known == {1, 2, 3}
    assert reader.take(document(0, 6))
    assert reader.known == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (replace(document(3, 4), issuer="https://other.example.com"), "another issuer"),
        (document(3, 4, at=NOW - 66), "expired"),
        (document(3, 4, at=NOW + 6), "future"),
        (document(3, 4, at=NOW - 1), "issued before"),
        (document(0, 2), "backwards"),
        (document(1, 2), "backwards"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_lies_or_is_old_is_refused(reader: Reader, given: FeedDocument, why: str):
    """A foreign, expired, future, replayed or shorter document changes nothing."""
    with pytest.raises(FeedRefused, match=why):
        reader.take(given)
    assert reader.known == {1, 2, 3}
    assert reader.reading.position is not None
    assert reader.reading.position.number == 3


def test_a_revoked_key_vouches_for_nothing(reader: Reader):
    """Once a key is known to be revoked, no document of it is believed, least of all one without its revocation."""
    stolen, other = "stolen-key", "other-key"
    revoked = FeedEntry(digest(RevocationKind.KEY, ISSUER, stolen), NOW + 960)
    assert reader.take(replace(document(3, 4, entries=(revoked,)), key_id=other))
    for lie in (document(4, 4), document(0, 4), document(0, 0, epoch="another")):
        with pytest.raises(FeedRefused, match="key that was revoked"):
            reader.take(replace(lie, key_id=stolen))
    assert reader.revoked.holds(revoked.digest)
    assert reader.take(replace(document(4, 5), key_id=other))


def test_the_clocks_may_differ_by_the_leeway(reader: Reader):
    """The last moment before expiry and the first of the future are exact."""
    assert reader.take(document(3, 4, at=NOW), now=NOW + 64.9)
    with pytest.raises(FeedRefused, match="expired"):
        reader.take(document(4, 5, at=NOW), now=NOW + 65)
    assert reader.take(document(4, 5, at=NOW + 70), now=NOW + 65)


def test_a_new_history_needs_a_snapshot(reader: Reader):
    """After a recovery nothing of the old history continues; the snapshot of the new one replaces everything."""
    assert not reader.take(document(3, 4, epoch="second"))
    assert reader.known == {1, 2, 3}
    assert reader.take(document(0, 2, epoch="second", entries=(entry(7), entry(8))))
    assert reader.known == {7, 8}


def test_entries_are_forgotten_when_they_expire_and_not_before(reader: Reader):
    """An entry stays until its expiry and the leeway have passed."""
    reader.reading.forget_expired(NOW + 960 + LEEWAY - 0.1)
    assert reader.known == {1, 2, 3}
    reader.reading.forget_expired(NOW + 960 + LEEWAY)
    assert reader.known == set()


def test_an_entry_listed_twice_lives_until_the_later_expiry(reader: Reader):
    """Listing an entry again with another expiry never shortens its life."""
    assert reader.take(document(3, 5, entries=(entry(1, 2000), entry(2, 100))))
    reader.reading.forget_expired(NOW + 1000)
    assert reader.known == {1}
    reader.reading.forget_expired(NOW + 2005)
    assert reader.known == set()


class Watched(RevocationSet):
    """A set that notes whether an entry was ever missing between two changes."""

    __slots__ = ("missed",)

    def discard(self, entries) -> None:
        """Forget, and look whether the watched entry went."""
        super().discard(entries)
        self.missed = entry(1).digest not in self._entries


def test_a_snapshot_lets_nothing_through_in_between():
    """While a snapshot replaces what is known, an entry of both is never missing."""
    watched = Watched()
    reading = FeedReading(watched, issuer=ISSUER, leeway=LEEWAY)
    reading.take(document(0, 3), NOW)
    reading.take(document(0, 4, entries=(entry(1), entry(4))), NOW)
    assert not watched.missed
    assert len(watched) == 2


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 3)), max_size=30))
def test_whatever_comes_in_whatever_order_nothing_known_is_lost(steps):
    """Random documents of one history, true but delayed, repeated and overtaking: what was known stays known."""
    reader = Reader()
    before: set[int] = set()
    for first, second, later in steps:
        after, upto = min(first, second), max(first, second)
        try:
            taken = reader.take(document(after, upto, at=NOW + later), NOW + 3)
        except FeedRefused:
            taken = False
        assert reader.known >= before
        if taken:
            assert reader.known == set(range(1, upto + 1))
        before = reader.known
