"""Refuse a database that was put back to an older state, and remember how far its history has come."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping

from tokenkeep.domain.history import Position, RolledBack, check_start
from tokenkeep.flows.known_history import KnownHistory, Look, look_at_history
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
        self._known = KnownHistory()

    @property
    def doubted(self) -> bool:
        """Whether the database was put back to an older state when last looked at by `keep`."""
        return self._known.doubted

    async def check(self) -> None:
        """Return if the database continues the history of this installation; nothing is changed.

        Raises:
            RolledBack: it was put back to an older state, or nobody can tell.
            MarkUnavailable: the mark cannot be read.
            StorageUnavailable: the database did not answer.
        """
        marks = await self._mark.read()
        self._check(marks, await self._look(marks))

    async def begin(self) -> None:
        """Check the history and keep its mark from now on; a new database begins its own.

        Raises:
            RolledBack: it was put back to an older state, or nobody can tell.
            MarkUnavailable: the mark cannot be read or written.
            StorageUnavailable: the database did not answer.
        """
        marks = await self._mark.read()
        look = await self._look(marks)
        self._check(marks, look)
        position = look.position
        if not position.epoch:
            position = Position(secrets.token_urlsafe(12), position.number)
            # Before the database has it: an end between the two must not leave a history without a mark. Other nodes
            # must not see it yet: of several that begin at once, the database takes the name of one.
            await self._mark.promise(position)
            position = await self._storage.transact(_begin, position.epoch)
            await self._mark.begin(position)
            look = await self._look({})
        elif not marks:
            _log.warning(
                "UNSAFE, allowed by %s: the database is served without a high-water mark of it, so that an older state "
                "would not be noticed",
                "allow_unmarked_database",
            )
        await self._advance(look)

    async def keep(self) -> None:
        """Move the mark to where the database stands; it never moves back, and is not made here.

        Raises:
            RolledBack: the database was put back to an older state, also under the running server.
            MarkUnavailable: the mark cannot be read or written.
            StorageUnavailable: the database did not answer.
        """
        if self._known.begun:
            look = await self._storage.read(look_at_history, self._known.number)
        else:
            marks = await self._mark.read()
            look = await self._look(marks)
            self._check(marks, look)
            if not marks:
                return
        if self._known.begun or look.position.epoch:
            await self._advance(look)

    async def _advance(self, look: Look) -> None:
        self._known.go_on(look)
        await self._mark.advance(look.position)

    async def _look(self, marks: Mapping[str, Position]) -> Look:
        """Look at the list from where the earliest mark stands on."""
        earliest = min((mark.number for mark in marks.values()), default=None)
        return await self._storage.read(look_at_history, earliest)

    def _check(self, marks: Mapping[str, Position], look: Look) -> None:
        if not marks:
            check_start(None, look.position, unmarked=self._unmarked)
        for place, mark in marks.items():
            try:
                check_start(mark, look.position, unmarked=self._unmarked, found=look.found(mark.number))
            except RolledBack as error:
                raise RolledBack(f"{error} (so says the high-water mark in {place})") from None


async def _begin(tx: Transaction, epoch: str) -> Position:
    # Of several processes that begin at once the first gives the name, and all take what is there.
    await tx.revocations.begin_first_epoch(epoch)
    return await tx.revocations.position()
