"""The history of a database: where its list of revocations stands, and how to tell that it was put back.

A backup that is restored would revive ended sessions, spent refresh tokens and revoked keys.
"""

from __future__ import annotations

from dataclasses import dataclass


class RolledBack(Exception):
    """The database is older than what this installation has already seen."""


@dataclass(frozen=True, slots=True)
class Position:
    """A point in a history: `epoch` changes when a history begins anew, `number` grows with each revocation."""

    epoch: str
    number: int


def check_history(mark: Position | None, stored: Position, *, new: bool) -> None:
    """Return if a database continues the history that the mark knows.

    Args:
        mark: how far it had come when last looked at.
        stored: where the database stands.
        new: whether the database was made just now, and so can revive nothing.

    Raises:
        RolledBack: the database was replaced by an older state, or by another one.
    """
    if mark is None or new:
        return
    if mark.epoch != stored.epoch:
        raise RolledBack(
            "the database is not the one that was served from here before. If it was put back from a backup, "
            "run: tokenkeep recover"
        )
    if stored.number < mark.number:
        raise RolledBack(
            f"the database is at revocation {stored.number}, but {mark.number} were served from here before: it was "
            "put back to an older state. Restore the newest state, or run: tokenkeep recover"
        )
