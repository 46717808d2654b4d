"""What a server does by itself: before the first request, again and again while it is open, and at its end.

Not here: how it is repeated (`flows.background`), and what each chore does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

from tokenkeep.assembly import CANNOT_SERVE, ObjectGraph
from tokenkeep.flows.background import Background, Chore
from tokenkeep.flows.serve_together import ServeTogether

REVOCATION_POLL: Final = 0.25
"""Seconds between two looks at whether another process has revoked something."""
PASSWORD_KIND_POLL: Final = 1.0
"""Seconds between two looks at which kinds of password hashes are stored."""
AUDIT_INTERVAL: Final = 0.5
"""Seconds between two writings of refusals to the audit log."""
PURGE_INTERVAL: Final = 3600.0
"""Seconds between two purges."""
CLOCK_INTERVAL: Final = 5.0
"""Seconds between two comparisons of this process's clock with the database's."""
ASKING_INTERVAL: Final = 1.0
"""Seconds between two looks at whether Redis is there."""
CALL_INTERVAL: Final = 60.0
"""Seconds after which the other processes are called although nothing was revoked."""
NOTE_INTERVAL: Final = 2.0
"""Seconds between two notes in the database that this process is there."""
MARK_INTERVAL: Final = 1.0
"""Seconds between two writings of the high-water mark."""
LEAVE_TIMEOUT: Final = 1.0
"""Seconds in which the other processes are told that this one serves no longer."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def at_work(graph: ObjectGraph) -> AsyncIterator[None]:
    """Make ready for the first request, do the chores from then on, and finish what is under way in the end.

    Raises:
        NotShared, RolledBack, MarkUnavailable, SecretMismatch, StorageUnavailable: nothing may be served, and why.
    """
    async with AsyncExitStack() as ending:
        if graph.shared is not None:
            await graph.shared.link.ask()
        if graph.together is not None:
            await graph.together.join()
            ending.push_async_callback(_leave, graph.together)
        await graph.history.begin()
        await graph.follow_revocations.remember_access_life(graph.access_life)
        await graph.establish_keys.establish()
        await graph.password_kinds.poll()
        await graph.key_ring.reload()
        await graph.follow_revocations.poll()
        await graph.watch_clock.compare()
        background = Background(chores_of(graph))
        ending.push_async_callback(_finish, graph)
        background.start()
        ending.push_async_callback(background.stop)
        ending.callback(graph.publish_revocations.end_waits)
        if graph.read_now is not None:
            graph.read_now.start()
            ending.push_async_callback(graph.read_now.stop)
        yield


def chores_of(graph: ObjectGraph) -> list[Chore]:
    """Return what runs by itself while the server is open: name, seconds between two runs, flow."""
    chores = [
        Chore("reading revocations", REVOCATION_POLL, graph.follow_revocations.poll, graph.revocation_bell),
        Chore("reading signing keys", graph.key_poll, graph.key_ring.reload, graph.key_bell),
        Chore("rotating signing keys", graph.key_poll, graph.rotate_keys.advance),
        Chore("reading kinds of passwords", PASSWORD_KIND_POLL, graph.password_kinds.poll),
        Chore("writing refusals to the audit log", AUDIT_INTERVAL, graph.refusals.flush),
        Chore("purging", PURGE_INTERVAL, graph.purge.purge),
        Chore("comparing the clocks", CLOCK_INTERVAL, graph.watch_clock.compare),
        Chore("keeping the high-water mark", MARK_INTERVAL, graph.history.keep),
    ]
    if graph.together is not None:
        chores.append(Chore("noting this process", NOTE_INTERVAL, graph.together.stay))
    if graph.shared is not None:
        chores.append(Chore("asking Redis", ASKING_INTERVAL, graph.shared.link.ask))
    if graph.read_now is not None:
        chores.append(Chore("calling the other processes", CALL_INTERVAL, graph.read_now.call, graph.read_now.bell))
    return chores


async def _leave(together: ServeTogether) -> None:
    """Say that this process serves no longer; where that cannot be said, it is noticed soon."""
    with suppress(TimeoutError, *CANNOT_SERVE):
        async with asyncio.timeout(LEAVE_TIMEOUT):
            await together.leave()


async def _finish(graph: ObjectGraph) -> None:
    """Write what is still to be written, as far as the database lets it."""
    try:
        await graph.refusals.flush()
        await graph.history.keep()
    except CANNOT_SERVE as error:
        _log.error("the last audit events or the high-water mark were not written: %s", error)
