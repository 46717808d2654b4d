"""What runs by itself while the server is open: one table of name, interval and flow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tokenkeep.domain.errors import Refusal
from tokenkeep.domain.history import MarkUnavailable, RolledBack
from tokenkeep.domain.secrets import SecretMismatch
from tokenkeep.domain.server_processes import NotShared
from tokenkeep.flows.bell import Bell

_log = logging.getLogger(__name__)

EXPLAINED: Final = (Refusal, RolledBack, MarkUnavailable, NotShared, SecretMismatch)
"""Failures that say themselves what is wrong; all others are bugs, and are logged with their trace."""
LONGEST_END: Final = 5.0
"""Seconds that a run under way gets to come to its end."""


@dataclass(frozen=True, slots=True)
class Chore:
    """Something done again and again; `interval` is the pause between two runs in seconds, unless the bell rings."""

    name: str
    interval: float
    run: Callable[[], Awaitable[object]]
    bell: Bell = field(default_factory=Bell)


class Background:
    """Runs chores, each in a task of its own; one that fails is logged and tried again at its next turn."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = tuple(chores)
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False

    def start(self) -> None:
        """Begin; each chore waits its interval, or for its bell, before its first run."""
        self._tasks = [asyncio.create_task(self._repeat(chore), name=chore.name) for chore in self._chores]

    async def stop(self) -> None:
        """Let every run that is under way come to its end, and begin no other; one that does not end is cancelled."""
        self._ending = True
        for chore in self._chores:
            chore.bell.ring()
        if self._tasks:
            _, hanging = await asyncio.wait(self._tasks, timeout=LONGEST_END)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _repeat(self, chore: Chore) -> None:
        failing = False
        while True:
            await chore.bell.heard_within(chore.interval)
            if self._ending:
                return
            try:
                await chore.run()
            except Exception as error:  # noqa: BLE001  (a chore that fails once must not end for good)
                if not failing:
                    _log.error("%s failed: %s", chore.name, error, exc_info=not isinstance(error, EXPLAINED))
                failing = True
            else:
                if failing:
                    _log.info("%s works again", chore.name)
                failing = False
