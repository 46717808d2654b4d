"""Stored password hashes: which text is one, of what kind, what checking it costs, and how much it may cost.

Not here: hashing and checking (`passwords`).
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from tokenkeep.domain.errors import InvalidField

MOST_MEMORY: Final = 262_144
"""KiB of memory that checking one hash may take: what is known as the moderate setting of libsodium."""
MOST_PASSES: Final = 10
"""Passes over that memory."""
MOST_LANES: Final = 16
"""Lanes, each of which is a thread while a hash is checked."""
MOST_BCRYPT: Final = 14
"""The greatest cost of bcrypt; one more doubles the time, which is a second or two here."""

# The OWASP floors: fewer passes must be paid for with more memory.
_FLOORS: Final = ((47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5))

# The parts of a PHC string that Argon2 itself reads; a digest of less than 16 bytes could be hit by trying.
_ARGON2: Final = re.compile(
    r"\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,7})\$"
    r"([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})"
)
# 16 bytes of salt and 23 of digest; the last character of each leaves the bits that belong to no byte at zero.
_BCRYPT: Final = re.compile(
    r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]", re.ASCII
)
_KIND: Final = re.compile(r"argon2id m=([0-9]{1,10}),t=([0-9]{1,10}),p=([0-9]{1,8})|bcrypt ([0-9]{2})")


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What one Argon2id hash costs: memory in KiB, passes over it, lanes."""

    memory: int
    passes: int
    lanes: int

    def __str__(self) -> str:
        return f"argon2id m={self.memory},t={self.passes},p={self.lanes}"

    @property
    def within_ceiling(self) -> bool:
        """Whether checking such a hash is affordable."""
        return self.memory <= MOST_MEMORY and self.passes <= MOST_PASSES and self.lanes <= MOST_LANES

    @property
    def reaches_floor(self) -> bool:
        """Whether new hashes may be made at this cost."""
        return self.lanes >= 1 and any(self.memory >= memory and self.passes >= passes for memory, passes in _FLOORS)

    @property
    def weight(self) -> int:
        """A number that grows with the time it takes, among costs of as many lanes."""
        return self.memory * self.passes


@dataclass(frozen=True, slots=True)
class BcryptCost:
    """What one bcrypt hash costs: two to this power rounds."""

    exponent: int

    def __str__(self) -> str:
        return f"bcrypt {self.exponent:02}"

    @property
    def within_ceiling(self) -> bool:
        """Whether checking such a hash is affordable."""
        return self.exponent <= MOST_BCRYPT

    @property
    def weight(self) -> int:
        """A number that grows with the time it takes."""
        return self.exponent


HashCost: TypeAlias = Argon2Cost | BcryptCost


def read_hash(text: str, *, field: str = "password_hash") -> HashCost:
    """Return what checking a stored hash costs; its text is the kind of hash and that cost.

    Raises:
        InvalidField: it is no hash that can be checked here, or it costs more than one may.
    """
    cost = _read(text)
    if cost is None:
        raise InvalidField(field, "The hash must be Argon2id in PHC form, or bcrypt as $2a$, $2b$ or $2y$")
    if not cost.within_ceiling:
        raise InvalidField(
            field,
            f"The hash costs too much to be checked ({cost}); at most m={MOST_MEMORY},t={MOST_PASSES},p={MOST_LANES} "
            f"of Argon2id or {MOST_BCRYPT} of bcrypt are accepted",
        )
    return cost


def cost_of(text: str | None) -> HashCost | None:
    """Return what checking a stored hash costs; None if there is none, or none that may be checked."""
    cost = _read(text) if text is not None else None
    return cost if cost is not None and cost.within_ceiling else None


def parse_kind(text: str) -> HashCost | None:
    """Return the cost of which this is the text, if it may be checked."""
    match = _KIND.fullmatch(text)
    if match is None:
        return None
    cost = BcryptCost(int(match[4])) if match[4] else Argon2Cost(int(match[1]), int(match[2]), int(match[3]))
    return cost if cost.within_ceiling else None


def slowest_of_each(costs: set[HashCost]) -> set[HashCost]:
    """Return a few costs one of which takes the longest of all.

    Among hashes of one algorithm and as many lanes it is the one of the greatest weight; between those only a
    measurement can tell.
    """
    slowest: dict[object, HashCost] = {}
    for cost in sorted(costs, key=lambda cost: cost.weight):
        slowest[cost.lanes if isinstance(cost, Argon2Cost) else "bcrypt"] = cost
    return set(slowest.values())


def _read(text: str) -> HashCost | None:
    if match := _ARGON2.fullmatch(text):
        cost = Argon2Cost(int(match[1]), int(match[2]), int(match[3]))
        return cost if cost.memory >= 8 * cost.lanes and _is_canonical(match[4]) and _is_canonical(match[5]) else None
    if match := _BCRYPT.fullmatch(text):
        return BcryptCost(int(match[1])) if int(match[1]) >= 4 else None
    return None


def _is_canonical(text: str) -> bool:
    """Tell whether base64 without padding is spelt in the one way that Argon2 reads."""
    try:
        decoded = binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return False
    return binascii.b2a_base64(decoded, newline=False).rstrip(b"=") == text.encode()
