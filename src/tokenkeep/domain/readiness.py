"""What a server process must have in order to serve: a closed list of names that may be told to anyone."""

from __future__ import annotations

from enum import StrEnum


class Need(StrEnum):
    """Something without which requests are refused. Redis is none: a process serves without it."""

    DATABASE = "database"
    """An answer from the database, lately and in time."""
    REVOCATIONS = "revocations"
    """The list of revocations, read lately."""
    KEYS = "keys"
    """The signing keys, read lately, and one of them that signs."""
    CLOCK = "clock"
    """A clock that agrees with the database's."""
