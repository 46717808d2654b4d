"""Admission: what stands before every attempt to get in, and remembers those that were turned away."""

from __future__ import annotations

from dataclasses import dataclass

from tokenkeep.flows.limit_attempts import LimitAttempts
from tokenkeep.flows.note_refusals import NoteRefusals


@dataclass(frozen=True, slots=True)
class Admission:
    """The limits that an attempt must pass, and the memory of refused ones."""

    limits: LimitAttempts
    refusals: NoteRefusals
