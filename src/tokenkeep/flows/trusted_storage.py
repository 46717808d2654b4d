"""The storage that flows are given: it refuses them a database that was put back to an older state.

Not here: noticing that (`flows.known_history`), and those who have to look at such a database (`assembly` tells who).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, TypeVarTuple

from tokenkeep.domain.errors import Unavailable
from tokenkeep.flows.ports import Storage, Transaction

T = TypeVar("T")
Args = TypeVarTuple("Args")

IN_DOUBT: Final = "the database was put back to an older state: from here nothing is read or changed in it by request"
"""Why a request is refused; what to do about it is told where it is noticed."""


class TrustedStorage:
    """Runs steps only while the database continues the history that this process knows (port `Storage`).

    A session that was ended, a password that was changed, a role that was taken away may be back in an older state: to
    act by it is a guess. And what is changed in it is lost when the newest state is restored, so that nobody is told
    that it was done: logouts wait with the rest, as while the database does not answer.
    """

    def __init__(self, storage: Storage, doubted: Callable[[], bool]) -> None:
        """Take what tells whether the database is in doubt now."""
        self._storage = storage
        self._doubted = doubted

    async def transact(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)` and return its result once everything it did is durable.

        Raises:
            Unavailable: the database was put back to an older state; nothing was done.
            StorageUnavailable: the database did not answer.
        """
        self._require_no_doubt()
        return await self._storage.transact(steps, *args)

    async def change_once(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Do what `transact` does, for steps that find a session and end with one change of it.

        Raises:
            Unavailable, StorageUnavailable: as `transact` does.
        """
        self._require_no_doubt()
        return await self._storage.change_once(steps, *args)

    async def read(self, steps: Callable[[Transaction, *Args], Awaitable[T]], *args: *Args) -> T:
        """Run `steps(tx, *args)`, which only reads, on one consistent state.

        Raises:
            Unavailable, StorageUnavailable: as `transact` does.
        """
        self._require_no_doubt()
        return await self._storage.read(steps, *args)

    async def revision(self) -> int | str:
        """Return what differs from the last one whenever a revocation may have been added since.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.revision()

    def _require_no_doubt(self) -> None:
        if self._doubted():
            raise Unavailable(IN_DOUBT)
