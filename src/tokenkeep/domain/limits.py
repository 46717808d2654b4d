"""How often something may be tried: quotas per address and for all, and a delay that grows per name.

Nobody can be locked out: the delay ends, and a place from which the account was used lately has a count of its own.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

FREE_FAILURES: Final = 5
"""Failed attempts in a row that cost no delay."""
LONGEST_DELAY: Final = 300_000
"""Milliseconds of the longest delay between two attempts."""
FORGOTTEN_AFTER: Final = 3_600_000
"""Milliseconds without an attempt after which a name begins anew."""
FAMILIAR_FOR: Final = 30 * 86_400_000
"""Milliseconds for which a place remains familiar after the account was last used from it."""


@dataclass(frozen=True, slots=True)
class Quota:
    """So many attempts in a moving window.

    Attributes:
        name: what it is called in the answer's `RateLimit` fields.
        count: attempts.
        window: seconds.
    """

    name: str
    count: int
    window: int


def delay_after(failures: int) -> int:
    """Return for how many milliseconds no further attempt is let in after so many in a row: 1 s, 2 s, 4 s, …, 5 min."""
    if failures <= FREE_FAILURES:
        return 0
    return min(LONGEST_DELAY, 1000 << min(failures - FREE_FAILURES - 1, 20))


def address_block(address: str) -> str:
    """Return what counts as one place: an IPv4 address, or the /64 that one holder of IPv6 addresses is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
