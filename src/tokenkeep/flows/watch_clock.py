"""Compare this process's clock with the database's, by which sessions are judged and tokens are stamped."""

from __future__ import annotations

import logging

from tokenkeep.domain.clocks import is_tolerable, least_offset
from tokenkeep.flows.ports import Clock, Storage, Transaction

_log = logging.getLogger(__name__)


class WatchClock:
    """Knows how far the clock was off when it was last compared, and says so when that begins and ends to matter."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._offset = 0

    @property
    def offset(self) -> int:
        """Milliseconds by which this process's clock is certainly ahead of the database's; negative if behind."""
        return self._offset

    @property
    def agrees(self) -> bool:
        """Whether the clocks are near enough for this process to serve."""
        return is_tolerable(self._offset)

    async def compare(self) -> None:
        """Compare the clocks. Where the database is a file there is only one, which agrees with itself.

        Raises:
            StorageUnavailable: the database did not answer; what was known is kept.
        """
        asked_at = self._clock.now()
        theirs = await self._storage.read(_now)
        agreed = self.agrees
        self._offset = least_offset(asked_at, theirs, self._clock.now())
        if self.agrees and not agreed:
            _log.info("the clock agrees with the database's again")
        elif agreed and not self.agrees:
            _log.error(
                "the clock is %s s off the database's, so that this process is not ready: set it",
                f"{self._offset / 1000:+.1f}",
            )


async def _now(tx: Transaction) -> int:
    return tx.now
