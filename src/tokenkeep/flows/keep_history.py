"""Refuse a database that was put back to an older state, and remember how far its history has come."""

from __future__ import annotations

import asyncio
import secrets

from tokenkeep.domain.history import Position, check_history
from tokenkeep.flows.ports import HighWaterMark, Storage, Transaction


class KeepHistory:
    """Compares the database with the high-water mark at the start, and moves the mark along after that."""

    def __init__(self, storage: Storage, mark: HighWaterMark) -> None:
        self._storage = storage
        self._mark = mark
        self._written: Position | None = None

    async def check(self) -> None:
        """Return if the database continues the history of this installation; a new one begins its own.

        Raises:
            RolledBack: it was put back to an older state.
        """
        stored, new = await self._storage.transact(_begin, secrets.token_urlsafe(12))
        check_history(await asyncio.to_thread(self._mark.read), stored, new=new)
        await self._write(stored)

    async def keep(self) -> None:
        """Move the mark to where the database stands; it never moves back.

        Raises:
            RolledBack: the database was put back to an older state under the running server.
        """
        position = await self._storage.read(_position)
        if position.epoch:  # else it has never been served, and there is nothing to keep
            check_history(self._written or await asyncio.to_thread(self._mark.read), position, new=False)
            await self._write(position)

    async def _write(self, position: Position) -> None:
        if position != self._written:
            await asyncio.to_thread(self._mark.write, position)
            self._written = position


async def _begin(tx: Transaction, epoch: str) -> tuple[Position, bool]:
    position = await tx.revocations.position()
    if position.epoch:
        return position, False
    await tx.revocations.begin_epoch(epoch)
    return Position(epoch, position.number), True


async def _position(tx: Transaction) -> Position:
    return await tx.revocations.position()
