"""What a drill is set up with."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

STALENESS: Final = 5.0
"""Seconds for which a process may not have heard of an end; past them it answers 503. The default setting."""
SPREAD: Final = 2.0
"""Seconds in which processes that can read the database refuse what has ended: one, on a machine with much to do."""


@dataclass(frozen=True)
class Plan:
    """How a drill is set up.

    Attributes:
        bound: seconds in which every node must refuse what has ended.
        patience: seconds that a client waits for an answer.
        pace: seconds between two refreshes of one session.
        flags: settings of every node.
        environ: what is added to the environment of each.
        excused: reasons for which a good token may be refused, by a node that is not ready.
        killing: whether processes are killed, and so replaced.
    """

    nodes: int = 1
    workers: int = 3
    bound: float = STALENESS
    people: int = 4
    patience: float = 5.0
    pace: float = 0.1
    flags: Mapping[str, str] = field(default_factory=dict)
    environ: Sequence[Mapping[str, str]] = ()
    excused: Container[str] = ()
    killing: bool = False
