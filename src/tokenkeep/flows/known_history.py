"""How far a process has seen the history of the database come, and whether the database still continues it.

A failover to a replica that lacked the last commits loses revocations, and gives their numbers to others: whoever only
looks at the number takes the list for the one that it knows as soon as that has caught up, and never reads the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokenkeep.domain.history import GONE_ON, Position, RolledBack, check_history
from tokenkeep.domain.revocations import NumberedRevocation
from tokenkeep.flows.ports import Transaction


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the list: the instant, where it stands, and its unexpired revocations from a number on."""

    now: int
    position: Position
    kept: Sequence[NumberedRevocation]

    def found(self, number: int) -> str:
        """Return what tells the revocation of a number; empty if it is not there any more."""
        return next((each.revocation.fingerprint() for each in self.kept if each.number == number), "")


class KnownHistory:
    """The last position that was seen. A database that did not continue it is believed again once it proves to."""

    def __init__(self) -> None:
        self._known: Position | None = None
        self._doubted = False

    @property
    def number(self) -> int:
        """The number of the last position that was seen; 0 before the first."""
        return self._known.number if self._known is not None else 0

    @property
    def begun(self) -> bool:
        """Whether a position was seen."""
        return self._known is not None

    @property
    def doubted(self) -> bool:
        """Whether the database did not continue the history when last looked at."""
        return self._doubted

    def go_on(self, look: Look) -> None:
        """Take the position of a look, which must reach back to the last one, for the last one.

        Raises:
            RolledBack: the database does not continue the history, or did not before and cannot prove that it does.
        """
        known = self._known
        if known is not None:
            found = look.found(known.number)
            try:
                check_history(known, look.position, found=found)
                if self._doubted and not (found and found == known.last):
                    raise RolledBack(GONE_ON)
            except RolledBack:
                self._doubted = True
                raise
        self._doubted = False
        # What is not kept any more is still what it was.
        self._known = known if known == look.position and not look.position.last else look.position


async def look_at_history(tx: Transaction, number: int | None) -> Look:
    """Look at where the list stands, and at what it has from a number on, that one included; None: the last only."""
    position = await tx.revocations.position()
    start = position.number if number is None else number
    kept = await tx.revocations.after(start - 1, now=tx.now) if position.number >= start else []
    look = Look(tx.now, position, kept)
    return replace(look, position=replace(position, last=look.found(position.number)))
