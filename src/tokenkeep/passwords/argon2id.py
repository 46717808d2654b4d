"""Argon2id (RFC 9106): parameters, hashing, and checking. Blocking; `passwords.pool` takes it off the event loop."""

from __future__ import annotations

from dataclasses import dataclass

import argon2
from argon2.exceptions import InvalidHashError, VerificationError


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """Cost of one hash: memory in KiB, passes over it, lanes."""

    memory: int = 19_456
    passes: int = 2
    lanes: int = 1

    def __post_init__(self) -> None:
        # The OWASP floors: fewer passes must be paid for with more memory.
        if not any(self.memory >= memory and self.passes >= passes for memory, passes in _FLOORS) or self.lanes < 1:
            raise ValueError("these Argon2id parameters are weaker than m=19456 KiB, t=2, p=1")


_FLOORS = ((47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5))


class Argon2id:
    """Hashes and checks with fixed parameters; hashes made with others are still checked."""

    def __init__(self, parameters: Argon2Parameters) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=parameters.passes,
            memory_cost=parameters.memory,
            parallelism=parameters.lanes,
            type=argon2.Type.ID,
        )

    def hash(self, password: str) -> str:
        """Return the hash in PHC form, with a random salt of 16 bytes."""
        return self._hasher.hash(password)

    def verify(self, stored: str, password: str) -> bool:
        """Tell whether the password has the stored hash; one that cannot be read has no password."""
        try:
            return self._hasher.verify(stored, password)
        except (InvalidHashError, VerificationError, UnicodeEncodeError):
            return False

    def outdated(self, stored: str) -> bool:
        """Tell whether a hash was made with other parameters than these."""
        return self._hasher.check_needs_rehash(stored)
