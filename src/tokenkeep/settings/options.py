"""Every option: its default, its help, and its check. One frozen dataclass; nothing here reads anything.

Not here: the checks (`settings.checks`), the order of sources (`settings.sources`), and rules about several options at
once (`settings.safety`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tokenkeep.domain.password_hashes import MOST_MEMORY, MOST_PASSES
from tokenkeep.settings.checks import (
    SQLITE_URL,
    between,
    check_algorithm,
    check_database,
    check_issuer,
    check_level,
    check_prefix,
    check_redis,
    number_between,
)
from tokenkeep.settings.kinds import Kind, Rate, Secret, format_duration


class SettingsError(Exception):
    """A setting is unknown, of the wrong form, or not allowed; the text names it and the fix."""


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table of options."""

    name: str
    kind: Kind
    default: Any
    help: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"TOKENKEEP_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return f"--{self.name.replace('_', '-')}"

    def show(self, value: Any) -> str:
        """Return a value as it would be written in a file, secrets masked."""
        if value is None or value == "":
            return "(not set)"
        if self.kind.secret:
            return "********" if value else "(not set)"
        if self.kind is Kind.DURATION:
            return format_duration(value)
        if self.kind is Kind.RATE:
            return f"{value.count}/{format_duration(value.window)}"
        if self.kind is Kind.BOOLEAN:
            return "on" if value else "off"
        if self.kind is Kind.LIST:
            return ", ".join(value) or "(none)"
        return str(value)


def _option(default: Any, kind: Kind, help: str, check: Callable[[Any], str | None] | None = None) -> Any:
    return field(default=default, metadata={"kind": kind, "help": help, "check": check})


_SECOND, _MINUTE, _HOUR, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Settings:
    """The value of every option. Each is checked on its own when an instance is made.

    Raises:
        SettingsError: a value is not allowed.
    """

    issuer: str = _option(
        "",
        Kind.TEXT,
        "Public address of this server; the iss of every token, and their default audience. "
        "By default http://127.0.0.1 and the port.",
        check_issuer,
    )
    audiences: tuple[str, ...] = _option(
        (), Kind.LIST, "Other audiences that /login and /refresh may issue access tokens for."
    )
    client_id: str = _option("tokenkeep", Kind.TEXT, "The client_id of every access token.")
    data_dir: Path = _option(
        Path(".tokenkeep"), Kind.PATH, "Directory of the embedded database and the generated server secret."
    )
    database_url: Secret | None = _option(
        None,
        Kind.SECRET,
        "postgresql://user:password@host/name, or sqlite:///path; by default SQLite in the data directory.",
        check_database,
    )
    redis_url: Secret | None = _option(
        None,
        Kind.SECRET,
        "rediss://user:password@host/0, redis:// on this machine, or unix:///path: the Redis or Valkey through which "
        "server processes share limits and tell each other of revocations.",
        check_redis,
    )
    redis_prefix: str = _option(
        "tokenkeep:",
        Kind.TEXT,
        "What the names of keys and channels there begin with; a digest of the issuer follows.",
        check_prefix,
    )
    secret: Secret | None = _option(
        None, Kind.SECRET, "Server secret, at least 32 bytes of text; by default generated in the data directory."
    )
    previous_secrets: tuple[Secret, ...] = _option(
        (), Kind.SECRETS, "Server secrets before this one, so that what they protect can still be opened."
    )
    signing_algorithm: str = _option(
        "ES256",
        Kind.TEXT,
        "Signature algorithm of the next signing keys; a change waits until verifiers are said to be ready for it.",
        check_algorithm,
    )
    key_rotation: timedelta = _option(
        90 * _DAY,
        Kind.DURATION,
        "How long a key signs before the next one does by itself.",
        between(_HOUR, 3650 * _DAY),
    )
    access_ttl: timedelta = _option(15 * _MINUTE, Kind.DURATION, "Life of an access token.", between(_SECOND, _DAY))
    refresh_idle_ttl: timedelta = _option(
        7 * _DAY, Kind.DURATION, "A session that is not refreshed for this long is over.", between(_SECOND, 365 * _DAY)
    )
    session_ttl: timedelta = _option(
        30 * _DAY, Kind.DURATION, "A session is over this long after its login.", between(_SECOND, 365 * _DAY)
    )
    max_sessions: int = _option(
        100,
        Kind.INTEGER,
        "Sessions of one account that may live at once; a login beyond them ends the least recently used.",
        number_between(1, 10_000),
    )
    refresh_grace: timedelta = _option(
        10 * _SECOND,
        Kind.DURATION,
        "How long after a refresh the token before it gets the same answer again.",
        between(timedelta(), _MINUTE),
    )
    leeway: timedelta = _option(5 * _SECOND, Kind.DURATION, "How far clocks may differ.", between(timedelta(), _MINUTE))
    revocation_max_staleness: timedelta = _option(
        5 * _SECOND,
        Kind.DURATION,
        "Without a look at the database for this long, tokens are neither accepted nor refused: 503.",
        between(_SECOND, _MINUTE),
    )
    allowed_origins: tuple[str, ...] = _option(
        (), Kind.LIST, "Origins on the issuer's site, besides its own, whose pages may log in and refresh."
    )
    registration: bool = _option(False, Kind.BOOLEAN, "Let anyone make an account with POST /register.")
    password_min_length: int = _option(
        15, Kind.INTEGER, "Characters of the shortest new password.", number_between(8, 64)
    )
    rate_limits: bool = _option(
        True, Kind.BOOLEAN, "Limit attempts; may be off only where issuer and host are loopback addresses."
    )
    login_limit_address: Rate = _option(
        Rate(60, _MINUTE), Kind.RATE, "Logins that one address (IPv6: one /64) may try."
    )
    login_limit_everyone: Rate = _option(
        Rate(1200, _MINUTE),
        Kind.RATE,
        "Logins that all together may try, but for those from where their account logged in lately.",
    )
    refresh_limit_address: Rate = _option(
        Rate(600, _MINUTE), Kind.RATE, "Refreshes that one address (IPv6: one /64) may try."
    )
    logout_limit_address: Rate = _option(
        Rate(600, _MINUTE), Kind.RATE, "Logouts that end no session that one address (IPv6: one /64) may try."
    )
    hash_concurrency: int = _option(
        2, Kind.INTEGER, "Passwords hashed at the same time; each takes argon2_memory.", number_between(1, 64)
    )
    argon2_memory: int = _option(
        19_456,
        Kind.INTEGER,
        "KiB of memory that hashing a password takes; measure with tokenkeep calibrate.",
        number_between(7_168, MOST_MEMORY),
    )
    argon2_passes: int = _option(
        2,
        Kind.INTEGER,
        "Passes over that memory; old hashes are renewed at the next login.",
        number_between(1, MOST_PASSES),
    )
    workers: int = _option(
        1,
        Kind.INTEGER,
        "Server processes on this machine; more than one need a PostgreSQL and a Redis to share.",
        number_between(1, 64),
    )
    host: str = _option("127.0.0.1", Kind.TEXT, "Address to listen on.")
    port: int = _option(8000, Kind.INTEGER, "Port to listen on.", number_between(1, 65_535))
    tls_cert: Path | None = _option(None, Kind.PATH, "PEM file of the certificate chain, to serve https directly.")
    tls_key: Path | None = _option(None, Kind.PATH, "PEM file of the certificate's private key.")
    trusted_proxies: tuple[str, ...] = _option(
        (), Kind.LIST, "Addresses or networks of the proxies in front, whose X-Forwarded-For is believed."
    )
    allowed_hosts: tuple[str, ...] = _option(
        (), Kind.LIST, "Host headers accepted besides the issuer's and the address listened on."
    )
    ops_token: Secret | None = _option(
        None, Kind.SECRET, "Bearer token that opens /metrics to others than this machine; at least 32 characters."
    )
    feed_token: Secret | None = _option(
        None,
        Kind.SECRET,
        "Bearer token with which services read /revocations; at least 32 characters. Without one there is no feed.",
    )
    feed_public: bool = _option(False, Kind.BOOLEAN, "Let anyone read /revocations, without a token.")
    api_docs: bool = _option(False, Kind.BOOLEAN, "Serve /openapi.json although the issuer is not a loopback address.")
    audit_retention: timedelta = _option(
        90 * _DAY, Kind.DURATION, "How long audit events are kept.", between(_DAY, 3650 * _DAY)
    )
    log_level: str = _option(
        "info", Kind.TEXT, "Least important log lines written: debug, info, warning or error.", check_level
    )
    allow_unmarked_database: bool = _option(
        False,
        Kind.BOOLEAN,
        "UNSAFE: serve a database that was served before although the data directory has no high-water mark of it, so "
        "that nobody can tell whether it was put back to an older state. For the first start of a new server process "
        "on a PostgreSQL database that others serve.",
    )
    insecure_bind: bool = _option(
        False, Kind.BOOLEAN, "UNSAFE: allow plain http off loopback. Passwords then travel in clear text."
    )
    insecure_database: bool = _option(
        False,
        Kind.BOOLEAN,
        "UNSAFE: allow a PostgreSQL on another machine without verified TLS. Who sits between can read and change all.",
    )
    insecure_redis: bool = _option(
        False,
        Kind.BOOLEAN,
        "UNSAFE: allow a Redis on another machine without TLS. Who sits between can read the password and undo limits.",
    )
    allow_long_access: bool = _option(False, Kind.BOOLEAN, "UNSAFE: allow an access_ttl above an hour.")
    allow_weak_secret: bool = _option(
        False, Kind.BOOLEAN, "UNSAFE: allow a server secret that is guessable or publicly known."
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            check = each.metadata["check"]
            complaint = check(getattr(self, each.name)) if check else None
            if complaint:
                raise SettingsError(f"{each.name} {complaint}")
        if not self.issuer:
            object.__setattr__(self, "issuer", f"http://127.0.0.1:{self.port}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingsError("tls_cert and tls_key belong together: set both or neither")
        if self.refresh_idle_ttl > self.session_ttl:
            raise SettingsError("refresh_idle_ttl must not be longer than session_ttl")

    @property
    def embedded(self) -> bool:
        """Whether the database is a file of this machine, for one server process."""
        return self.database_url is None or self.database_url.reveal().startswith(SQLITE_URL)


OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(
    {
        each.name: Option(each.name, each.metadata["kind"], each.default, each.metadata["help"])
        for each in fields(Settings)
    }
)
"""The table of options by name."""
