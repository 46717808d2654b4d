"""The log of revocations: in order, whole from any number on, and rid of what has expired."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.contract.revocation_feed import FeedEntry
from tokenkeep.domain.history import Position
from tokenkeep.domain.revocation_log import SHORTEST_SWEPT, RevocationLog


def entry(number: int, expires_at: int = 1000) -> tuple[int, FeedEntry]:
    """Return a numbered entry."""
    return number, FeedEntry(number.to_bytes(16, "big"), expires_at)


def log_up_to(number: int) -> RevocationLog:
    """Return a log with one entry for each number."""
    log = RevocationLog()
    log.take(Position("first", number), [entry(each) for each in range(1, number + 1)], after=0)
    return log


def numbers(entries: tuple[FeedEntry, ...]) -> list[int]:
    """Return the numbers that entries were made from."""
    return [int.from_bytes(each.digest, "big") for each in entries]


def test_a_reader_is_led_from_any_number():
    """What comes after a number is there in order, nothing of it twice; after the last one there is nothing."""
    log = log_up_to(5)
    for after in range(6):
        assert numbers(log.after(after)) == list(range(after + 1, 6))
        assert log.count_after(after) == 5 - after
    assert log.after(99) == ()
    assert len(log) == 5


def test_what_is_read_again_takes_the_place_of_what_was_there():
    """A second reading from some number on leaves no entry twice."""
    log = log_up_to(5)
    assert log.take(Position("first", 7), [entry(each) for each in (4, 5, 6, 7)], after=3)
    assert numbers(log.after(0)) == [1, 2, 3, 4, 5, 6, 7]
    log.take(Position("first", 7), [entry(each) for each in (5, 7)], after=0)
    assert numbers(log.after(0)) == [5, 7]


def test_only_another_position_is_news():
    """Reading the same again tells of nothing; numbers that came and have expired meanwhile do."""
    log = log_up_to(2)
    assert not log.take(Position("first", 2), [], after=2)
    assert log.take(Position("first", 3), [], after=2)
    assert log.take(Position("second", 3), [], after=3)


def test_who_needs_only_what_comes_after():
    """A position of this history up to its head continues; one of another, or beyond the head, does not."""
    log = log_up_to(3)
    assert all(log.continues(Position("first", number)) for number in range(4))
    assert not log.continues(Position("first", 4))
    assert not log.continues(Position("second", 2))
    assert not log.continues(Position("", 0))


def test_before_anything_was_read_nothing_continues():
    """A log that has read nothing has no epoch."""
    assert RevocationLog().position == Position("", 0)
    assert not RevocationLog().continues(Position("first", 0))


def test_entries_go_at_the_instant_of_their_expiry():
    """An entry stays up to its last second; numbers go on counting."""
    log = RevocationLog()
    log.take(Position("first", 3), [entry(1, 10), entry(2, 20), entry(3, 30)], after=0)
    log.forget_expired(9.999)
    assert numbers(log.after(0)) == [1, 2, 3]
    log.forget_expired(10)
    assert numbers(log.after(0)) == [2, 3]
    log.forget_expired(30)
    assert log.after(0) == ()
    assert log.position == Position("first", 3)
    assert log.continues(Position("first", 1))


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(0, 40))
def test_no_entry_goes_before_its_expiry(expiries: list[int], now: int):
    """In whatever order entries expire, all that have not are still there, and nothing expired comes first."""
    log = RevocationLog()
    numbered = [entry(number, expiry) for number, expiry in enumerate(expiries, 1)]
    log.take(Position("first", len(numbered)), numbered, after=0)
    log.forget_expired(now)
    left = log.after(0)
    assert {each for _, each in numbered if each.expires_at > now} <= set(left)
    assert not left or left[0].expires_at > now


def test_what_is_kept_for_long_holds_nothing_else():
    """Behind an entry that is kept for days, a log holds at most twice what matters, and a reader misses none of it."""
    log = RevocationLog()
    log.take(Position("first", 1), [entry(1, 1_000_000)], after=0)
    life = SHORTEST_SWEPT
    for number in range(2, 10 * life):
        log.take(Position("first", number), [entry(number, number + life)], after=number - 1)
        log.forget_expired(number)
        assert len(log) <= 2 * (life + 1)
    assert numbers(log.after(0))[0] == 1
    assert numbers(log.after(8 * life + life)) == list(range(9 * life + 1, 10 * life))
