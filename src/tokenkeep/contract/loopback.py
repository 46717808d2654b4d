"""Which hosts are this machine's own loopback: the only ones where plain http keeps a secret."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address, an IPv6 one in brackets or not, is this machine's own loopback."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def leads_to_loopback(url: str) -> bool:
    """Tell whether an http or https address leads to this machine's own loopback."""
    return is_loopback(urlsplit(url).hostname or "")
