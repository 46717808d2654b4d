"""bcrypt hashes of imported accounts: they are checked, and never made for an account. Blocking.

bcrypt looks at 72 bytes, and in many programs at none after a NUL. So a hash cannot tell a longer password from
another one that begins alike, and here it lets in neither: whoever had such a password needs a new one.
"""

from __future__ import annotations

from typing import Final

import bcrypt

from tokenkeep.domain.password_hashes import BcryptCost

LONGEST: Final = 72
"""Bytes of the longest password that a bcrypt hash can stand for."""


def verify(stored: str, password: str) -> bool:
    """Tell whether the password has the stored hash, and the hash is of the whole password.

    The work is the same for one that bcrypt would truncate.
    """
    typed = password.encode()
    seen = typed.partition(b"\0")[0][:LONGEST]
    try:
        return bcrypt.checkpw(seen, stored.encode()) and seen == typed
    except ValueError:
        return False


def make_hash(cost: BcryptCost, password: str) -> str:
    """Return a hash of that cost, to learn how long one takes."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost.exponent)).decode("ascii")
