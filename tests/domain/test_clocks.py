"""How far a clock is off for certain: `domain.clocks`."""

from __future__ import annotations

import pytest

from tokenkeep.domain.clocks import is_tolerable, least_offset


@pytest.mark.parametrize(
    ("asked_at", "theirs", "answered_at", "offset"),
    [
        (1_000, 1_000, 1_000, 0),
        (1_000, 1_003, 1_005, 0),
        (1_000, 1_000, 1_005, 0),
        (1_000, 1_005, 1_005, 0),
        (1_000, 999, 1_005, 1),
        (1_000, 1_006, 1_005, -1),
        (5_000, 1_000, 5_010, 4_000),
        (1_000, 5_010, 1_010, -4_000),
        # An answer that took long says little.
        (1_000, 5_000, 9_000, 0),
        (1_000, 11_000, 9_000, -2_000),
        # Our clock was set back between the two readings.
        (5_000, 5_000, 1_000, -4_000),
    ],
)
def test_the_time_of_the_answer_excuses_as_much(asked_at: int, theirs: int, answered_at: int, offset: int):
    """Only what cannot be the time that the answer took is an offset, with its sign."""
    assert least_offset(asked_at, theirs, answered_at) == offset


@pytest.mark.parametrize(
    ("offset", "tolerable"), [(0, True), (2_000, True), (-2_000, True), (2_001, False), (-2_001, False)]
)
def test_two_seconds_are_tolerable(offset: int, tolerable: bool):
    """Up to two seconds, ahead or behind."""
    assert is_tolerable(offset) is tolerable
