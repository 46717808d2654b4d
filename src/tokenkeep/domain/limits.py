"""How often something may be tried: quotas per address and for all, and a delay that grows per name.

Nobody can be locked out: the delay ends, a place from which the account logged in lately has a count of its own, and
of any other neighbourhood a first attempt is let in although many from elsewhere have failed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

FREE_FAILURES: Final = 5
"""Failed attempts in a row that cost no delay."""
LONGEST_DELAY: Final = 300_000
"""Milliseconds of the longest delay between two attempts."""
FORGOTTEN_AFTER: Final = 3_600_000
"""Milliseconds without an attempt after which a name begins anew."""
FAMILIAR_FOR: Final = 30 * 86_400_000
"""Milliseconds for which a place remains familiar after the account last logged in from it."""


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


NAME: Final = Quota("login-name", 1, LONGEST_DELAY // 1000)
"""What a name under attack is at worst left with; said in the answer beside how long it must rest now."""
NEWCOMER: Final = Quota("login-newcomer", 2, 3600)
"""Attempts that one neighbourhood may make on a name while the name must rest."""
NEWCOMERS: Final = Quota("login-newcomers", 12, 3600)
"""Attempts that all neighbourhoods together may make so: in an hour as many again as the longest delay lets in."""


def delay_after(failures: int) -> int:
    """Return for how many milliseconds no further attempt is let in after so many in a row: 1 s, 2 s, 4 s, …, 5 min."""
    if failures <= FREE_FAILURES:
        return 0
    return min(LONGEST_DELAY, 1000 << min(failures - FREE_FAILURES - 1, 20))


@lru_cache(maxsize=1024)
def address_block(address: str) -> str:
    """Return what counts as one place: an IPv4 address, or the /64 that one holder of IPv6 addresses is given."""
    return _network(address, ipv4=32, ipv6=64)


def neighbourhood(address: str) -> str:
    """Return what counts as one stranger: so many addresses that having several of them takes some effort."""
    return _network(address, ipv4=24, ipv6=48)


def _network(address: str, *, ipv4: int, ipv6: int) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    length = ipv6 if parsed.version == 6 else ipv4
    if length == parsed.max_prefixlen:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, length), strict=False))
