"""Where a PostgreSQL is, and how the way there is protected, read from its address alone.

The driver would also look into the environment and service files, and read a doubtful address in its own way. It is
handed what was read here, so that what is judged safe is what is connected to. Not here: connecting.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from tokenkeep.contract.loopback import is_loopback
from tokenkeep.storage.address_error import AddressError

PORT: Final = 5432
SOCKETS: Final = ("/run/postgresql", "/var/run/postgresql", "/tmp")  # noqa: S108 - where servers put their sockets
"""Where a server of this machine is looked for when the address names none."""

Mode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
"""How a connection may be protected, in words that PostgreSQL's own clients use."""

UNREADABLE: Final = (
    "database_url cannot be read as an address of PostgreSQL",
    "write postgresql://user:password@host/name, and in the password %40 for @, %2F for /, %3F for ?, %23 for #",
)
"""What is found, and the fix."""

_POOLER: Final = "pgbouncer"
"""The parameter of the address that only Tokenkeep reads."""
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
_VERIFIED: Final = ("verify-ca", "verify-full")
_TLS_PARAMETERS: Final = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslnegotiation"}
)
_PLACE_PARAMETERS: Final = frozenset({"host", "port", "dbname", "database", "user", "password", "passfile"})


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """An address that was understood. No text that a method returns or raises holds the password.

    Attributes:
        url: the whole address as the driver reads it, which is secret.
        hosts: names, addresses, or directories of unix sockets, each with its port, to be tried in this order.
        database: the name of the database, if the address has one.
        sslmode: how the connection is to be protected, if the address says so.
        parameters: what follows the question mark.
        pooled: whether a PgBouncer lies between, which may give each transaction another connection to the database.
    """

    url: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...]
    database: str
    sslmode: Mode | None
    parameters: Mapping[str, str] = field(repr=False)
    pooled: bool = False

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return what an address says.

        Raises:
            AddressError: it cannot be read, or only by guessing.
        """
        try:
            parts = urlsplit(url)
            parameters = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            listed = unquote(parts.netloc.rpartition("@")[2]) or parameters.get("host", "")
            hosts = (
                _read_hosts(listed, parameters.get("port", "")) if listed else tuple((each, PORT) for each in SOCKETS)
            )
        except ValueError:
            raise AddressError(*UNREADABLE) from None
        # A sign of the password that was not escaped moves a part of the password to where another part belongs.
        misplaced = url.count("@") > 1 or url.count("@") != parts.netloc.count("@") or "#" in url
        if misplaced or not url.isprintable():
            raise AddressError(*UNREADABLE)
        sslmode = next((mode for mode in _MODES if mode == parameters.get("sslmode")), None)
        if sslmode is None and "sslmode" in parameters:
            raise AddressError("database_url has an unknown sslmode", f"use one of {', '.join(_MODES)}")
        unknown = [name for name in parameters if name.startswith("ssl") and name not in _TLS_PARAMETERS]
        if unknown or "service" in parameters:
            raise AddressError(
                "database_url names a service, or has a parameter about TLS that is not known",
                f"write the host into it, and use only {', '.join(sorted(_TLS_PARAMETERS))}",
            )
        pooled = _read_pooler(parameters)
        # The driver would hand it to the server, as it does with every parameter that it does not know.
        url = _without_pooler(url)
        database = unquote(parts.path.removeprefix("/")) or parameters.get("dbname") or parameters.get("database", "")
        return cls(url, hosts, database, sslmode, parameters, pooled)

    @property
    def where(self) -> str:
        """The hosts, as they are named to a person."""
        return ", ".join(host if host.startswith("/") else _join(host, port) for host, port in self.hosts)

    @property
    def local(self) -> bool:
        """Whether nothing but this machine lies between."""
        return all(host.startswith("/") or is_loopback(host) for host, _ in self.hosts)

    @property
    def mode(self) -> Mode:
        """How the connection is protected; if the address does not say, verified as soon as it leaves the machine."""
        return self.sslmode or ("prefer" if self.local else "verify-full")

    @property
    def verified(self) -> bool:
        """Whether the server must prove, over TLS, that it is the one that the address names."""
        return self.mode == "verify-full"

    def tls(self) -> ssl.SSLContext | Mode:
        """Return what the driver is to do about TLS: the context in which it verifies, or the name of a weaker mode.

        Raises:
            AddressError: a file that the address names cannot be used.
        """
        if self.mode not in _VERIFIED:
            return self.mode
        authorities = self.parameters.get("sslrootcert")
        try:
            context = ssl.create_default_context(cafile=None if authorities in {None, "", "system"} else authorities)
            context.check_hostname = self.mode == "verify-full"
            if "sslcrl" in self.parameters:
                context.load_verify_locations(self.parameters["sslcrl"])
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
            if "sslcert" in self.parameters:
                # An empty password: an encrypted key is refused, and nobody is asked.
                password = self.parameters.get("sslpassword", "")
                context.load_cert_chain(self.parameters["sslcert"], self.parameters.get("sslkey"), password)
        except OSError as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "reason", None) or error.strerror
            raise AddressError(
                f"a file that database_url names for TLS cannot be used ({reason})",
                "correct sslrootcert, sslcrl, sslcert or sslkey in it",
            ) from None
        context.set_alpn_protocols(["postgresql"])
        return context


def _read_pooler(parameters: Mapping[str, str]) -> bool:
    given = parameters.get(_POOLER, "false")
    if given not in {"true", "false"}:
        raise AddressError(
            f"database_url has {_POOLER}=…, which is neither true nor false", "write true, or leave it out"
        )
    if given == "true" and not parameters.keys() <= _PLACE_PARAMETERS | _TLS_PARAMETERS | {_POOLER}:
        raise AddressError(
            f"database_url has {_POOLER}=true, and a parameter that would have to be set for a whole session",
            "set it for the role instead, with ALTER ROLE … SET …",
        )
    return given == "true"


def _without_pooler(url: str) -> str:
    place, mark, query = url.partition("?")
    return place + mark + "&".join(each for each in query.split("&") if each.partition("=")[0] != _POOLER)


def _read_hosts(listed: str, ports: str) -> tuple[tuple[str, int], ...]:
    hosts = [_read_host(each) for each in listed.split(",")]
    if not ports:
        return tuple(hosts)
    given = [_read_port(port) for port in ports.split(",")]
    if len(given) == 1:
        given *= len(hosts)
    return tuple((host, port) for (host, _), port in zip(hosts, given, strict=True))


def _read_host(text: str) -> tuple[str, int]:
    if not text.isprintable() or " " in text:
        raise ValueError("no host")
    if text.startswith("/"):
        return text, PORT
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        between, _, port = rest.partition(":")
    else:
        between, (host, _, port) = "", text.partition(":")
    if not host or between:
        raise ValueError("no host")
    return host, _read_port(port) if port else PORT


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _read_port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65_536:
        raise ValueError("no port")
    return port
