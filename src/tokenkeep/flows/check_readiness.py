"""Tell whether this process can serve just now and, if not, what it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from tokenkeep.domain.errors import StorageUnavailable, Unavailable
from tokenkeep.domain.readiness import Need
from tokenkeep.flows.ports import Storage
from tokenkeep.flows.shared_work import look_at

LONGEST_ANSWER: Final = 1.0
"""Seconds in which the database must answer a question that costs it nothing."""


class CheckReadiness:
    """Asks the database, and what keeps watch over the other needs.

    Anyone may ask: however many do at once, the database is asked once.
    """

    def __init__(self, storage: Storage, watched: Mapping[Need, Callable[[], bool]]) -> None:
        """Take the storage, and what tells of each need but the database whether it is met."""
        self._storage = storage
        self._watched = watched
        self._asking: asyncio.Task[int | str] | None = None

    async def check(self) -> None:
        """Return if requests can be served now; within `LONGEST_ANSWER`, whatever the database does.

        Raises:
            StorageUnavailable: the database did not answer; it and everything else that is lacking is named.
            Unavailable: something else is lacking.
        """
        outage = await self._outage()
        missing = [need for need, is_met in self._watched.items() if not is_met()]
        if outage is not None:
            raise StorageUnavailable(outage.detail, missing=[Need.DATABASE, *missing])
        if missing:
            raise Unavailable(f"missing: {', '.join(missing)}", missing=missing)

    async def _outage(self) -> StorageUnavailable | None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._storage.revision(), name="asking the database")
            self._asking.add_done_callback(look_at)
        asked = self._asking
        await asyncio.wait({asked}, timeout=LONGEST_ANSWER)
        if not asked.done() or asked.cancelled():
            # Not waited for: a driver that is told to give up may first wait for the database to agree.
            asked.cancel()
            if self._asking is asked:
                self._asking = None
            return StorageUnavailable(f"the database has not answered for {LONGEST_ANSWER:.0f} s")
        try:
            asked.result()
        except StorageUnavailable as error:
            return error
        return None
