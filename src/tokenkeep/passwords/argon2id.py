"""Argon2id (RFC 9106): parameters, hashing, and checking. Blocking; `passwords.pool` takes it off the event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import argon2
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError
from argon2.low_level import error_to_str

from tokenkeep.domain.errors import HashingBusy
from tokenkeep.domain.password_hashes import Argon2Cost

_NO_MEMORY: Final = error_to_str(-22)  # ARGON2_MEMORY_ALLOCATION_ERROR


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """Cost of one new hash: memory in KiB, passes over it, lanes."""

    memory: int = 19_456
    passes: int = 2
    lanes: int = 1

    def __post_init__(self) -> None:
        if not self.cost.reaches_floor:
            raise ValueError("these Argon2id parameters are weaker than m=19456 KiB, t=2, p=1")
        if not self.cost.within_ceiling:
            raise ValueError("these Argon2id parameters cost more than a stored hash may")

    @property
    def cost(self) -> Argon2Cost:
        """The same as what is read off a stored hash."""
        return Argon2Cost(self.memory, self.passes, self.lanes)


class Argon2id:
    """Hashes and checks with fixed parameters; hashes made with others are still checked."""

    def __init__(self, parameters: Argon2Parameters) -> None:
        self._hasher = _hasher_of(parameters.cost)

    def hash(self, password: str) -> str:
        """Return the hash in PHC form, with a random salt of 16 bytes.

        Raises:
            HashingBusy: there is not enough memory at the moment.
        """
        return _hash(self._hasher, password)

    def verify(self, stored: str, password: str) -> bool:
        """Tell whether the password has the stored hash; one that cannot be read has no password.

        Raises:
            HashingBusy: there is not enough memory at the moment.
        """
        try:
            return self._hasher.verify(stored, password)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError, UnicodeEncodeError) as error:
            if str(error) == _NO_MEMORY:
                raise HashingBusy(str(error)) from None
            return False

    def outdated(self, stored: str) -> bool:
        """Tell whether a hash was made with other parameters than these."""
        return self._hasher.check_needs_rehash(stored)


def make_hash(cost: Argon2Cost, password: str) -> str:
    """Return a hash of any cost, to learn how long one takes; new passwords are hashed by `Argon2id`.

    Raises:
        HashingBusy: there is not enough memory at the moment.
    """
    return _hash(_hasher_of(cost), password)


def _hasher_of(cost: Argon2Cost) -> argon2.PasswordHasher:
    return argon2.PasswordHasher(
        time_cost=cost.passes, memory_cost=cost.memory, parallelism=cost.lanes, type=argon2.Type.ID
    )


def _hash(hasher: argon2.PasswordHasher, password: str) -> str:
    try:
        return hasher.hash(password)
    except HashingError as error:
        raise HashingBusy(str(error)) from None
