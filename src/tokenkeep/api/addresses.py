"""Who is at the other end: the client's address behind trusted proxies, and the hosts this server answers for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from tokenkeep.contract.loopback import is_loopback

_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies in front; nobody else's `X-Forwarded-For` is believed."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, addresses: Sequence[str]) -> Proxies:
        """Return the proxies at these addresses or networks."""
        return cls(tuple(ipaddress.ip_network(address) for address in addresses))

    def trusts(self, address: str) -> bool:
        """Tell whether the address is a proxy's."""
        try:
            parsed = _address(address)
        except ValueError:
            return False
        return any(parsed.version == network.version and parsed in network for network in self.networks)

    def client_of(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the address of the client.

        From right to left, each hop is believed only if the one that reported it is a trusted proxy; the first that
        is not a proxy is the client.

        Args:
            peer: the address of the connection.
            forwarded: the values of all `X-Forwarded-For` headers, in order.
        """
        client = peer
        hops = [hop.strip() for header in forwarded for hop in header.split(",")]
        while hops and self.trusts(client):
            try:
                client = str(_address(_without_port(hops.pop())))
            except ValueError:
                break
        return client


def hosts_served(issuer: str, listening: tuple[str, int], more: Sequence[str]) -> frozenset[str]:
    """Return the `Host` values that mean this server: the issuer's, those it listens on, and those configured.

    Args:
        issuer: the public address.
        listening: host and port that it listens on.
        more: further names, with a port where it is not the scheme's own.
    """
    parts = urlsplit(issuer)
    host_name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    default = 443 if parts.scheme == "https" else 80
    port = parts.port or default
    hosts = {parts.netloc, f"{host_name}:{port}", *more}
    if port == default:
        hosts.add(host_name)
    host, listening_port = listening
    hosts.add(f"[{host}]:{listening_port}" if ":" in host else f"{host}:{listening_port}")
    if is_loopback(host):
        hosts |= {f"{name}:{listening_port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    return frozenset(each.lower() for each in hosts)


def _without_port(hop: str) -> str:
    """Return the address of a hop that may carry a port: `198.51.100.7:4711`, `[2001:db8::7]:4711`."""
    match = _WITH_PORT.fullmatch(hop)
    return match[1] or match[2] if match else hop


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if "%" in text:
        raise ValueError("an address with a zone means nothing to another machine")
    parsed = ipaddress.ip_address(text)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
