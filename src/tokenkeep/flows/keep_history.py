"""Refuse a database that was put back to an older state, and remember how far its history has come."""

from __future__ import annotations

import asyncio
import logging
import secrets

from tokenkeep.domain.history import Position, check_history, check_start
from tokenkeep.flows.ports import HighWaterMark, Storage, Transaction

_log = logging.getLogger(__name__)


class KeepHistory:
    """Compares the database with the high-water mark at the start, and moves the mark along after that.

    The mark is read before the database: what happens between the two then puts the database ahead, never the mark.
    """

    def __init__(self, storage: Storage, mark: HighWaterMark, *, unmarked: bool) -> None:
        """Keep `mark` for `storage`; `unmarked`: whether a database with a history is believed without a mark."""
        self._storage = storage
        self._mark = mark
        self._unmarked = unmarked
        self._written: Position | None = None

    async def check(self) -> None:
        """Return if the database continues the history of this installation; nothing is changed.

        Raises:
            RolledBack: it was put back to an older state, or nobody can tell.
            MarkUnavailable: the mark cannot be read.
            StorageUnavailable: the database did not answer.
        """
        mark = await asyncio.to_thread(self._mark.read)
        check_start(mark, await self._storage.read(_position), unmarked=self._unmarked)

    async def begin(self) -> None:
        """Check the history and keep its mark from now on; a new database begins its own.

        Raises:
            RolledBack: it was put back to an older state, or nobody can tell.
            MarkUnavailable: the mark cannot be read or written.
            StorageUnavailable: the database did not answer.
        """
        mark = await asyncio.to_thread(self._mark.read)
        position = await self._storage.read(_position)
        check_start(mark, position, unmarked=self._unmarked)
        if not position.epoch:
            position = Position(secrets.token_urlsafe(12), position.number)
            # Before the database has it: an end between the two must not leave a history without a mark.
            await self._write(position)
            position = await self._storage.transact(_begin, position.epoch)
        elif mark is None:
            _log.warning(
                "UNSAFE, allowed by %s: the database is served without a high-water mark of it, so that an older state "
                "would not be noticed",
                "allow_unmarked_database",
            )
        await self._write(position)

    async def keep(self) -> None:
        """Move the mark to where the database stands; it never moves back, and is not made here.

        Raises:
            RolledBack: the database was put back to an older state, also under the running server.
            MarkUnavailable: the mark cannot be read or written.
            StorageUnavailable: the database did not answer.
        """
        mark = self._written
        if mark is not None:
            position = await self._storage.read(_position)
            check_history(mark, position)
        else:
            mark = await asyncio.to_thread(self._mark.read)
            position = await self._storage.read(_position)
            check_start(mark, position, unmarked=self._unmarked)
        if mark is not None and position.epoch:
            self._written = mark
            await self._write(position)

    async def _write(self, position: Position) -> None:
        if position != self._written:
            await asyncio.to_thread(self._mark.write, position)
            self._written = position


async def _begin(tx: Transaction, epoch: str) -> Position:
    position = await tx.revocations.position()
    if position.epoch:
        return position  # another process has begun it just now
    await tx.revocations.begin_epoch(epoch)
    return Position(epoch, position.number)


async def _position(tx: Transaction) -> Position:
    return await tx.revocations.position()
