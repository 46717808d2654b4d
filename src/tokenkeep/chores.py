"""What an open server does by itself, and how often.

Not here: how it is repeated (`flows.background`), and what each chore does.
"""

from __future__ import annotations

from typing import Final

from tokenkeep.assembly import ObjectGraph
from tokenkeep.flows.background import Chore

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
