"""The connections of a process to PostgreSQL, lent one at a time, and kept at hand from one loan to the next.

Not here: how they are made and how many there are (the driver's pool, below this), what is done on them (`postgres`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    _Connection = PoolConnectionProxy[asyncpg.Record]

AT_HAND: Final = 60.0
"""Seconds for which a connection that nobody wants is kept at hand; then the pool has it, and closes it in time."""


class Connections:
    """Lends the connections of a pool.

    One that comes back in order is kept for whoever is next: the way into the pool and out of it again takes a task, a
    timer and a twelfth of a refresh's processor time. All others, and every one that somebody waits for, go back into
    the pool, which sees to what was left undone on them.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        """Take the pool, which nobody else may use."""
        self._pool = pool
        self._at_hand: list[tuple[float, _Connection]] = []
        self._waiting = 0
        self._closing = False

    @asynccontextmanager
    async def lent(self, patience: float) -> AsyncIterator[_Connection]:
        """Lend a connection.

        Raises:
            TimeoutError: there was none for `patience` seconds.
            asyncpg.PostgresError, OSError: none can be made.
        """
        connection = await self._take_at_hand()
        if connection is None:
            # Nothing may be waited for between the look at what is at hand and this: what comes back must be seen.
            self._waiting += 1
            try:
                connection = await self._pool.acquire(timeout=patience)
            finally:
                self._waiting -= 1
        try:
            yield connection
        except BaseException:
            await self._pool.release(connection)
            raise
        await self._take_back(connection)

    async def close(self) -> None:
        """Close all connections, once those that are lent have come back."""
        self._closing = True
        while self._at_hand:
            await self._pool.release(self._at_hand.pop()[1])
        await self._pool.close()

    def terminate(self) -> None:
        """Cut all connections off."""
        self._pool.terminate()

    async def _take_at_hand(self) -> _Connection | None:
        while self._at_hand:
            _, connection = self._at_hand.pop()
            if _is_open(connection):
                return connection
            await self._pool.release(connection)
        return None

    async def _take_back(self, connection: _Connection) -> None:
        if self._closing or self._waiting or not _is_open(connection) or connection.is_in_transaction():
            await self._pool.release(connection)
            return
        now = time.monotonic()
        self._at_hand.append((now, connection))
        if self._at_hand[0][0] < now - AT_HAND:
            await self._pool.release(self._at_hand.pop(0)[1])


def _is_open(connection: _Connection) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False  # it was lost, and the pool has taken it back by itself
