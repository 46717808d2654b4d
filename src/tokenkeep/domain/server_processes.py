"""Which server processes may serve one database together: those of one node, or those that share a Redis and an issuer.

A node may pass through a disagreement with itself, while workers are replaced after a change of its settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
class Accord:
    """What the processes that serve one database should have been told alike, and cannot find out from it."""

    issuer: str
    """A process refuses the tokens of every other issuer."""
    signing_algorithm: str
    """Each process has the next key be of its own when it starts."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A process that serves the database.

    Attributes:
        node: where it belongs; the processes of one node share a data directory, which admits one server.
        redis: what names the Redis that it uses, `NO_REDIS` or `UNKNOWN_REDIS`.
        seen_at: when it was last seen, in milliseconds, UTC.
        accord: what it was told; None if it is of a version that does not say.
    """

    id: str
    node: str
    redis: str
    seen_at: int = 0
    accord: Accord | None = None


def find_others(mine: ServerProcess, all_seen: Iterable[ServerProcess], *, now: int) -> list[ServerProcess]:
    """Return the processes of other nodes that are there."""
    return [other for other in all_seen if other.node != mine.node and other.seen_at > now - LOST_AFTER]


def find_rivals(mine: ServerProcess, others: Iterable[ServerProcess]) -> list[ServerProcess]:
    """Return those of other nodes that share no Redis with this process, or not its issuer."""
    return [other for other in others if _is_stranger(mine, other) or not _share(mine.redis, other.redis)]


def explain_rivals(mine: ServerProcess, rivals: Sequence[ServerProcess]) -> str:
    """Return what is wrong with these rivals, and what to do."""
    if strange := explain_strangers(mine, rivals):
        return strange
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


def explain_strangers(mine: ServerProcess, others: Iterable[ServerProcess]) -> str:
    """Return which of the others has another issuer than this process, and what to do; empty if none has."""
    for theirs, ours in _accords(mine, others):
        if theirs.issuer != ours.issuer:
            return (
                f"another server process serves this database with the issuer {theirs.issuer}, and this one has "
                f"{ours.issuer}: each would refuse the tokens of the other. Set the same issuer for all of "
                "them; to change it, stop all of them first"
            )
    return ""


def explain_dissent(mine: ServerProcess, others: Iterable[ServerProcess]) -> str:
    """Return which of the others has another signing algorithm than this process, and what comes of it; or nothing."""
    for theirs, ours in _accords(mine, others):
        named, wanted = theirs.signing_algorithm, ours.signing_algorithm
        if named != wanted:
            return (
                f"another server process serves this database with the signing_algorithm {named}, and this one has "
                f"{wanted}: whichever is started last decides the next signing key. Unless that is being changed "
                "node by node, set the same for all of them"
            )
    return ""


def _is_stranger(mine: ServerProcess, other: ServerProcess) -> bool:
    return any(theirs.issuer != ours.issuer for theirs, ours in _accords(mine, [other]))


def _accords(mine: ServerProcess, others: Iterable[ServerProcess]) -> Iterator[tuple[Accord, Accord]]:
    """Yield what each of the others was told, and what this process was, where both are known."""
    for other in others:
        if mine.accord is not None and other.accord is not None:
            yield other.accord, mine.accord


def _share(mine: str, other: str) -> bool:
    if NO_REDIS in {mine, other}:
        return False
    return mine == other or UNKNOWN_REDIS in {mine, other}
