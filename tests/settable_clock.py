"""A clock that stands still until a test moves it."""

from __future__ import annotations

from typing import Final

START: Final = 1_767_225_600_000
"""2026-01-01 00:00:00 UTC in milliseconds: when a new clock stands."""


class SettableClock:
    """The two clocks of a process (port `Clock`), each moved on its own.

    What expires by the wall clock is tested with `advance`; what goes stale by the clock that never steps (the
    revocation set) with `elapse`.
    """

    def __init__(self, start: int = START) -> None:
        self._now = start
        self._monotonic = 1_000.0

    def now(self) -> int:
        """Return the wall clock in milliseconds since the epoch, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds on the clock that never steps."""
        return self._monotonic

    def advance(self, milliseconds: int) -> None:
        """Move the wall clock; by a negative number to set it back."""
        self._now += milliseconds

    def elapse(self, seconds: float) -> None:
        """Move the clock that never steps."""
        if seconds < 0:
            raise ValueError("this clock never goes back")
        self._monotonic += seconds
