"""How long work of each kind takes on this machine: measured, and smoothed much as RFC 6298 smooths round trips.

Only what takes longer than the mean counts as deviation: work that was quicker than expected moves no bound up.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

LONGEST: Final = 10.0
"""Seconds that count at most: a machine that was suspended has learnt nothing about hashing."""

_GAIN: Final = 1 / 8
_DEVIATION_GAIN: Final = 1 / 16
_DEVIATIONS: Final = 6
_FIRST_DEVIATION: Final = 1 / 12


class Durations:
    """Remembers mean and upward deviation of each kind of work, in seconds."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, float]] = {}

    def __contains__(self, kind: Hashable) -> bool:
        return kind in self._known

    def note(self, kind: Hashable, seconds: float) -> None:
        """Take in that work of a kind has just taken so long."""
        seconds = min(seconds, LONGEST)
        if kind not in self._known:
            self._known[kind] = (seconds, seconds * _FIRST_DEVIATION)
            return
        mean, deviation = self._known[kind]
        deviation += _DEVIATION_GAIN * (max(0.0, seconds - mean) - deviation)
        self._known[kind] = (mean + _GAIN * (seconds - mean), deviation)

    def mean(self, kind: Hashable) -> float:
        """Return how long work of a kind takes; of one never done, as long as the longest of the others."""
        known = self._known.get(kind)
        return known[0] if known else max((mean for mean, _ in self._known.values()), default=0.0)

    def bound(self, kind: Hashable) -> float:
        """Return how long work of a kind hardly ever exceeds; 0 if it was never done."""
        mean, deviation = self._known.get(kind, (0.0, 0.0))
        return mean + _DEVIATIONS * deviation
