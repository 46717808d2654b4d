"""Password hashes that take no time, for tests of everything else: what a hash costs is tested in `tests/passwords`.

What would come of taking time, that there is no room for another hash, is set instead.

Such a hash names the cost that was set, and is judged by that name; it was made, and is checked, with hardly any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import argon2
import pytest

from tokenkeep.domain.password_hashes import Argon2Cost
from tokenkeep.passwords import argon2id
from tokenkeep.passwords.pool import HashingPool

_COST: Final = re.compile(r"\bm=\d+,t=\d+,p=\d+\b")
_HARDLY_ANY: Final = {"memory_cost": 8, "time_cost": 1, "parallelism": 1}
_ITS_NAME: Final = "m=8,t=1,p=1"


class QuickHasher(argon2.PasswordHasher):
    """Hashes and checks at once, in the name of a cost."""

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        """Return a hash that claims to have cost what was set."""
        named = f"m={self.memory_cost},t={self.time_cost},p={self.parallelism}"
        return _COST.sub(named, argon2.PasswordHasher(**_HARDLY_ANY).hash(password, salt=salt), count=1)

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        """Check a hash that was made here, whatever it claims to have cost.

        Raises:
            VerificationError: it is of another password, or of another hasher.
            InvalidHashError: it cannot be read.
        """
        stored = hash if isinstance(hash, str) else hash.decode("ascii")
        return super().verify(_COST.sub(_ITS_NAME, stored, count=1), password)


@contextmanager
def quick_hashes() -> Iterator[None]:
    """Have every server that is opened meanwhile in this process hash and check passwords at once."""

    def hasher_of(cost: Argon2Cost) -> QuickHasher:
        return QuickHasher(time_cost=cost.passes, memory_cost=cost.memory, parallelism=cost.lanes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argon2id, "_hasher_of", hasher_of)
        yield


def occupy(pool: HashingPool) -> None:
    """Let there be no room for another hash from now on, as if others took their time."""
    pool._longest_wait = 0.0
    pool._pending, pool._backlog = pool._concurrency, 1.0
