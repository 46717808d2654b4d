"""What is asked over the network and what comes back: addresses, which machines may answer for them, and answers.

Values only; resolving names and connecting is the business of `download`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from tokenkeep.contract.loopback import is_loopback
from tokenkeep.jose.arguments import checked_text

_PORTS: Final = {"https": 443, "http": 80}
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class DownloadFailed(Exception):
    """Nothing that can be used came; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: the body only with status 200, and headers that are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that is waited for and read, in seconds and bytes.

    `pause` is how long the other side may keep silent on purpose; it comes on top of `seconds`.
    """

    seconds: float
    size: int
    pause: float = 0.0

    @property
    def whole(self) -> float:
        """Seconds for everything."""
        return self.seconds + self.pause


@dataclass(frozen=True, slots=True)
class Target:
    """An address that may be asked: https, or http on this machine's own loopback."""

    url: str
    host: str
    port: int
    private_network: bool

    @classmethod
    def parse(cls, url: str, *, private_network: bool = False, what: str = "a key set") -> Self:
        """Return the target that an address names.

        Args:
            url: the whole address.
            private_network: whether machines of a private network may answer for it.
            what: is to be fetched from there, for the errors.

        Raises:
            ValueError: nothing is fetched from such an address.
            WrongType: it is no string.
        """
        checked_text(f"the address of {what}", url)
        if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise ValueError(f"the address of {what} is visible ASCII without spaces and backslashes")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"this is not the address of {what}: {error}") from None
        if not host or "@" in parts.netloc or "#" in url or port == 0:
            raise ValueError(f"the address of {what} has a host, and no user, password or fragment")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
            raise ValueError(f"{what} is fetched over https only, but for loopback addresses")
        target = cls(url, host, port or _PORTS[parts.scheme], private_network)
        if _ip_address(host) is not None and not target.permitted([host]):
            hint = "" if private_network else "; private_network allows those of private networks"
            raise ValueError(f"{host} is no address where {what} is fetched from{hint}")
        return target

    def permitted(self, addresses: Iterable[str]) -> list[str]:
        """Return those IP addresses that may answer for the host, in their order.

        For a loopback host these are loopback addresses only; for any other they are public ones, and those of
        private networks if that was asked for.
        """
        return [text for text in addresses if self._permits(text)]

    def _permits(self, text: str) -> bool:
        if is_loopback(self.host):
            return text != "localhost" and is_loopback(text)
        address = _ip_address(text)
        if address is None or address.is_multicast:
            return False
        if self.private_network:
            # Still not the services of this machine, nor the metadata service of a cloud.
            return not (address.is_loopback or address.is_link_local or address.is_unspecified)
        return address.is_global and not (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)


def _ip_address(text: str) -> IpAddress | None:
    """Return what an IP address stands for, the IPv4 one inside an IPv6 one that leads to it; None if it is a name."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
