"""How a thread that waits for the network is told to stop waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Interruption:
    """Ends, from another thread, what a thread waits for now, and whatever it would wait for next."""

    def __init__(self) -> None:
        # Reentrant: whoever gives up may be a finalizer, which runs in any thread at any moment.
        self._lock = threading.RLock()
        self._given_up = False
        self._ends: tuple[Callable[[], object], ...] = ()

    def ends(self, *ends: Callable[[], object]) -> None:
        """Take what ends the waiting that begins now; they are called in their order."""
        with self._lock:
            self._ends = ends
            given_up = self._given_up
        if given_up:
            _call(ends)

    def give_up(self) -> None:
        """End the waiting."""
        with self._lock:
            self._given_up = True
            ends = self._ends
        _call(ends)


def _call(ends: tuple[Callable[[], object], ...]) -> None:
    for end in ends:
        end()
