"""Let a process serve beside others only if they share what they must, and be seen by them while it serves."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from tokenkeep.domain.server_processes import (
    LOST_AFTER,
    Accord,
    NotShared,
    ServerProcess,
    explain_dissent,
    explain_rivals,
    find_others,
    find_rivals,
)
from tokenkeep.flows.ports import Storage, Transaction

LOOK_AGAIN: Final = 0.5
"""Seconds between two looks at a rival that may be gone already."""

_log = logging.getLogger(__name__)


class ServeTogether:
    """Joins the processes that serve one database, stays among them, and leaves."""

    def __init__(self, storage: Storage, *, node: str, redis: Callable[[], Awaitable[str]], accord: Accord) -> None:
        """Serve for a node; `redis` finds out what names the Redis in use, `accord` is what this process was told."""
        self._storage = storage
        self._redis = redis
        self._mine = ServerProcess(secrets.token_urlsafe(12), node, "", accord=accord)
        self._dissent = ""

    async def join(self) -> None:
        """Return once this process serves together with all others that are there.

        One that was killed is waited for until it counts as gone; one that lives is not.

        Raises:
            NotShared: another process serves the database, and the two share no Redis, or not the issuer.
            StorageUnavailable: the database did not answer.
        """
        first_seen: dict[str, int] = {}
        while True:
            others = await self._storage.transact(_join, await self._myself())
            rivals = find_rivals(self._mine, others)
            if not rivals:
                self._tell_dissent(others)
                return
            if not first_seen:
                _log.warning("%s; waiting for what may be the last sign of it", explain_rivals(self._mine, rivals))
            for rival in rivals:
                if rival.seen_at > first_seen.setdefault(rival.id, rival.seen_at):
                    raise NotShared(explain_rivals(self._mine, rivals))
            await asyncio.sleep(LOOK_AGAIN)

    async def stay(self) -> None:
        """Be seen.

        Raises:
            NotShared: another process has come that shares no Redis with this one, or not the issuer.
            StorageUnavailable: the database did not answer.
        """
        others = await self._storage.transact(_note, await self._myself())
        self._tell_dissent(others)
        if rivals := find_rivals(self._mine, others):
            raise NotShared(explain_rivals(self._mine, rivals))

    async def leave(self) -> None:
        """Be there no longer.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        await self._storage.transact(_leave, self._mine.id)

    def _tell_dissent(self, others: list[ServerProcess]) -> None:
        """Have the log tell, once until it is over, that another process was told something else."""
        dissent = explain_dissent(self._mine, others)
        if dissent and dissent != self._dissent:
            _log.warning("%s", dissent)
        self._dissent = dissent

    async def _myself(self) -> ServerProcess:
        self._mine = replace(self._mine, redis=await self._redis())
        return self._mine


async def see_others(tx: Transaction, mine: ServerProcess) -> list[ServerProcess]:
    """Return the processes of other nodes that serve the database just now."""
    return find_others(mine, await tx.server_processes.all(), now=tx.now)


async def _join(tx: Transaction, mine: ServerProcess) -> list[ServerProcess]:
    # One after the other: of two that begin at once, the second sees the first.
    await tx.server_processes.take_turn()
    others = await see_others(tx, mine)
    if not find_rivals(mine, others):
        await tx.server_processes.note(replace(mine, seen_at=tx.now))
    return others


async def _note(tx: Transaction, mine: ServerProcess) -> list[ServerProcess]:
    await tx.server_processes.note(replace(mine, seen_at=tx.now))
    await tx.server_processes.forget_lost(before=tx.now - LOST_AFTER)
    return await see_others(tx, mine)


async def _leave(tx: Transaction, process_id: str) -> None:
    await tx.server_processes.forget(process_id)
