"""The history of a database: where its list of revocations stands, and how to tell that it was put back.

A backup that is restored would revive ended sessions, spent refresh tokens and revoked keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

GONE_ON: Final = (
    "the database has other revocations than were served from here before: it was put back to an older state, and has "
    "gone on from there. Restore the newest state, or run: tokenkeep recover"
)
"""Why a database is refused whose numbers have caught up, so that they do not tell any more."""


class RolledBack(Exception):
    """The database is older than what this installation has already seen, or nobody can tell that it is not."""


class MarkUnavailable(Exception):
    """The high-water mark cannot be read or written; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Position:
    """A point in a history: `epoch` changes when a history begins anew, `number` grows with each revocation.

    The epoch is empty in a database that was made just now, and so can revive nothing. `last` tells the revocation of
    that number from every other that could have it, and is empty where that is not known.
    """

    epoch: str
    number: int
    last: str = field(default="", compare=False)


def check_history(mark: Position, stored: Position, *, found: str = "") -> None:
    """Return if a database continues the history that the mark knows.

    Args:
        mark: how far it had come when last looked at.
        stored: where the database stands.
        found: what tells the revocation that the database has under the mark's number; empty if it has none any more.

    Raises:
        RolledBack: the database was replaced by an older state, or by another one.
    """
    if mark.epoch != stored.epoch:
        raise RolledBack(
            "the database is not the one that was served from here before. If it was put back from a backup, "
            "run: tokenkeep recover; if that has been run on another node, remove the high-water mark of this one"
        )
    if stored.number < mark.number:
        raise RolledBack(
            f"the database is at revocation {stored.number}, but {mark.number} were served from here before: it was "
            "put back to an older state. Restore the newest state, or run: tokenkeep recover"
        )
    if mark.last and found and found != mark.last:
        raise RolledBack(GONE_ON)


def check_start(mark: Position | None, stored: Position, *, unmarked: bool, found: str = "") -> None:
    """Return if a database may be worked on from here: it is new, or continues the history that the mark knows.

    Args:
        mark: how far it had come when last served from here; None if it never was, or the mark was lost.
        stored: where the database stands.
        unmarked: whether a database with a history is believed without a mark.
        found: as for `check_history`.

    Raises:
        RolledBack: it was put back to an older state, or without a mark nobody can tell that it was not.
    """
    if not stored.epoch:
        return
    if mark is not None:
        check_history(mark, stored, found=found)
    elif not unmarked:
        raise RolledBack(
            "the database was served before, but no high-water mark of it is kept here. If it was put back from a "
            "backup, run: tokenkeep recover; if it is the newest state, start once with: --allow-unmarked-database on"
        )
