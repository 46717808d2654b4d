"""How far two clocks are apart, as far as that can be told from one question and its answer."""

from __future__ import annotations

from typing import Final

LARGEST_OFFSET: Final = 2_000
"""Milliseconds that a process's clock may be off the database's."""


def is_tolerable(offset: int) -> bool:
    """Tell whether a process with this offset, in milliseconds, may serve."""
    return abs(offset) <= LARGEST_OFFSET


def least_offset(asked_at: int, theirs: int, answered_at: int) -> int:
    """Return how far our clock is off for certain, in milliseconds: positive if it is ahead, negative if behind.

    Their clock was read at some instant between our asking and the answer, so that the time this took excuses as much.
    """
    if theirs < asked_at:
        return asked_at - theirs
    if theirs > answered_at:
        return answered_at - theirs
    return 0
