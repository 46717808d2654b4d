"""Where a Redis or Valkey is, and how the way there is protected, read from its address alone.

Not here: connecting (`storage.redis`), so that settings can be judged without the driver.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tokenkeep.contract.loopback import is_loopback
from tokenkeep.storage.address_error import AddressError

PORT: Final = 6379
SCHEMES: Final = ("redis", "rediss", "unix")

_UNREADABLE: Final = (
    "redis_url cannot be read as an address of Redis or Valkey",
    "write rediss://user:password@host:6379/0, and in the password %40 for @, %2F for /, %3F for ?, %23 for #",
)
"""What is found, and the fix."""
_TLS_PARAMETERS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """An address that was understood. No text that a method returns or raises holds the password.

    Attributes:
        socket: path of the unix socket; empty if it is reached over TCP.
        tls: whether it must prove over TLS that it is the host that the address names.
    """

    host: str
    port: int
    socket: str
    database: int
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    tls: bool = False
    authorities: str | None = None
    certificate: str | None = None
    key: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return what an address says.

        Raises:
            AddressError: it cannot be read, or asks for something that is not known or not safe.
        """
        try:
            parts = urlsplit(url)
            parameters = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            over_socket = parts.scheme == "unix"
            port = parts.port or PORT
            path = unquote(parts.path)
            named = parameters.pop("db", "") if over_socket else path.removeprefix("/")
            database = int(named or "0")
        except ValueError:
            raise AddressError(*_UNREADABLE) from None
        # A sign of the password that was not escaped moves a part of the password to where another part belongs.
        misplaced = url.count("@") > 1 or url.count("@") != parts.netloc.count("@") or "#" in url
        placed = path.startswith("/") and not parts.hostname if over_socket else bool(parts.hostname)
        if misplaced or not placed or not url.isprintable() or " " in url or parts.scheme not in SCHEMES:
            raise AddressError(*_UNREADABLE)
        if not 0 <= database < 10_000 or (named and not named.isdecimal()):
            raise AddressError(*_UNREADABLE)
        allowed = _TLS_PARAMETERS if parts.scheme == "rediss" else ()
        if parameters.keys() - set(allowed):
            raise AddressError(
                "redis_url has a parameter that is not known here",
                f"use only {', '.join(_TLS_PARAMETERS)} with rediss://, and db with unix://; "
                "TLS is always verified, and times are fixed",
            )
        return cls(
            host="" if over_socket else parts.hostname or "",
            port=port,
            socket=path if over_socket else "",
            database=database,
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=parts.scheme == "rediss",
            authorities=parameters.get("ssl_ca_certs"),
            certificate=parameters.get("ssl_certfile"),
            key=parameters.get("ssl_keyfile"),
        )

    @property
    def where(self) -> str:
        """The place, as it is named to a person."""
        if self.socket:
            return self.socket
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether nothing but this machine lies between."""
        return bool(self.socket) or is_loopback(self.host)

    def context(self) -> ssl.SSLContext | None:
        """Return the context in which Redis must prove that it is the one; None where no TLS is spoken.

        Raises:
            AddressError: a file that the address names cannot be used.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.authorities)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate is not None:
                # An empty password: an encrypted key is refused, and nobody is asked.
                context.load_cert_chain(self.certificate, self.key, "")
        except OSError as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "reason", None) or error.strerror
            raise AddressError(
                f"a file that redis_url names for TLS cannot be used ({reason})",
                f"correct {', '.join(_TLS_PARAMETERS)} in it",
            ) from None
        return context
