"""Which server processes may serve one database together: those of one node, or those that share a Redis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LOST_AFTER: Final = 10_000
"""Milliseconds after which a process that was not seen is gone."""
NO_REDIS: Final = ""
"""What stands for the Redis of a process that uses none."""
UNKNOWN_REDIS: Final = "?"
"""What stands for a Redis that does not answer just now."""


class NotShared(Exception):
    """Another server process serves the database, and the two do not share what they must; the text says what to do."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A process that serves the database.

    Attributes:
        node: where it belongs; the processes of one node share a data directory, which admits one server.
        redis: what names the Redis that it uses, `NO_REDIS` or `UNKNOWN_REDIS`.
        seen_at: when it was last seen, in milliseconds, UTC.
    """

    id: str
    node: str
    redis: str
    seen_at: int = 0


def find_rivals(mine: ServerProcess, all_seen: Iterable[ServerProcess], *, now: int) -> list[ServerProcess]:
    """Return the processes of other nodes that are there and share no Redis with this one."""
    return [
        other
        for other in all_seen
        if other.node != mine.node and other.seen_at > now - LOST_AFTER and not _share(mine.redis, other.redis)
    ]


def explain_rivals(mine: ServerProcess, rivals: Iterable[ServerProcess]) -> str:
    """Return what is wrong with these rivals, and what to do."""
    if mine.redis == NO_REDIS:
        return (
            "another server process serves this database, and this one has no redis_url: set the same Redis for all of "
            "them, so that they share limits, or stop the other one"
        )
    if any(rival.redis == NO_REDIS for rival in rivals):
        return (
            "another server process serves this database without a redis_url: set the same Redis for it, so that they "
            "share limits, or stop it"
        )
    return (
        "another server process serves this database with another Redis, or another redis_prefix or issuer: "
        "set the same for all of them"
    )


def _share(mine: str, other: str) -> bool:
    if NO_REDIS in {mine, other}:
        return False
    return mine == other or UNKNOWN_REDIS in {mine, other}
