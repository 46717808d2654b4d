"""What may not start: rules about settings that would be a breach, each with its fix and its explicit override."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from tokenkeep.contract.loopback import is_loopback, leads_to_loopback
from tokenkeep.domain.password_hashes import Argon2Cost
from tokenkeep.settings.finding import Finding, overridable
from tokenkeep.settings.kinds import format_duration
from tokenkeep.settings.options import Settings, SettingsError
from tokenkeep.settings.secret_rules import feed_token, ops_token, server_secret
from tokenkeep.settings.transport_rules import (
    database_transport,
    issuer_transport,
    listener,
    redis_transport,
    tls_issuer,
)

LONGEST_ACCESS: Final = timedelta(hours=1)
"""The longest access-token life that needs no override."""
RELEASED_AT: Final = 1_767_225_600_000
"""Milliseconds since the epoch before which this version did not exist; a clock that stands earlier is wrong."""


def judge_safety(settings: Settings) -> list[Finding]:
    """Return what each rule finds, in the order of the rules."""
    return [finding for rule in _RULES for finding in rule(settings)]


def check_safety(settings: Settings) -> list[Finding]:
    """Return the findings that only an override lets pass.

    Raises:
        SettingsError: the settings are not safe; the text names every rule that is broken and its fix.
    """
    findings = judge_safety(settings)
    broken = [f"{finding.found}: {finding.fix}" for finding in findings if not finding.ok]
    if broken:
        raise SettingsError("\n".join(broken))
    return [finding for finding in findings if finding.overridden]


def check_clock(now: int) -> None:
    """Return if a clock can be right; `now` is what it says, in milliseconds since the epoch.

    What is revoked by a clock that is behind would be forgotten when it is set right.

    Raises:
        SettingsError: it stands before this version was made.
    """
    if now < RELEASED_AT:
        raise SettingsError("the clock of this machine stands before this version was made: set it")


def _access_life(settings: Settings) -> Iterator[Finding]:
    life = f"access_ttl is {format_duration(settings.access_ttl)}"
    if settings.access_ttl <= LONGEST_ACCESS:
        yield Finding("access-life", True, life)
    else:
        yield overridable(
            "access-life",
            f"{life}, so that services elsewhere accept a stolen token for that long",
            f"set at most {format_duration(LONGEST_ACCESS)}; refreshing is silent",
            ("allow_long_access", settings.allow_long_access),
        )


def _shared_algorithm(settings: Settings) -> Iterator[Finding]:
    if settings.signing_algorithm.startswith("HS") and settings.audiences:
        yield Finding(
            "shared-algorithm",
            False,
            f"signing_algorithm {settings.signing_algorithm} with audiences: whoever can verify could also sign",
            "use ES256, or have no audiences but this server",
        )
    else:
        yield Finding("shared-algorithm", True, f"signing_algorithm {settings.signing_algorithm} suits the audiences")


def _origins(settings: Settings) -> Iterator[Finding]:
    issuer = urlsplit(settings.issuer)
    for origin in settings.allowed_origins:
        try:
            parts = urlsplit(origin)
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        if not _ORIGIN.fullmatch(origin) or (parts.scheme, parts.port) in {("http", 80), ("https", 443)}:
            yield Finding(
                "allowed-origins",
                False,
                f"allowed_origins: {origin} is not an origin",
                "write scheme://host or scheme://host:port exactly",
            )
        elif parts.scheme != issuer.scheme or _site(parts.hostname or "") != _site(issuer.hostname or ""):
            yield Finding(
                "allowed-origins",
                False,
                f"allowed_origins: {origin} is on another site than the issuer, where no browser sends the cookie",
                "serve both under one domain and one scheme",
            )
        else:
            yield Finding("allowed-origins", True, f"allowed origin {origin} is on the issuer's site")
    if not settings.allowed_origins:
        yield Finding("allowed-origins", True, "only pages of the issuer itself may log in")


def _proxies(settings: Settings) -> Iterator[Finding]:
    for proxy in settings.trusted_proxies:
        try:
            network = ipaddress.ip_network(proxy)
        except ValueError:
            yield Finding(
                "trusted-proxies",
                False,
                f"trusted_proxies: {proxy} is no address or network",
                "write 10.0.0.5 or 10.0.0.0/24",
            )
            continue
        if network.prefixlen < (8 if network.version == 4 else 32):
            yield Finding(
                "trusted-proxies",
                False,
                f"trusted_proxies: {proxy} is so wide that anyone could claim any address",
                "name the proxies' own addresses",
            )
        else:
            yield Finding("trusted-proxies", True, f"X-Forwarded-For is believed from {proxy}")
    if not settings.trusted_proxies:
        yield Finding("trusted-proxies", True, "no X-Forwarded-For is believed")


def _rate_limits(settings: Settings) -> Iterator[Finding]:
    local = leads_to_loopback(settings.issuer) and is_loopback(settings.host)
    if settings.rate_limits:
        yield Finding("rate-limits", True, "attempts are limited")
    elif local:
        yield Finding("rate-limits", True, "attempts are not limited, but only this machine can make any")
    else:
        yield Finding(
            "rate-limits",
            False,
            "rate_limits is off, so that passwords could be guessed at will",
            "turn rate_limits on",
        )


def _workers(settings: Settings) -> Iterator[Finding]:
    rule, many = "workers", f"workers is {settings.workers}"
    if settings.workers == 1:
        yield Finding(rule, True, "one server process")
    elif settings.embedded:
        yield Finding(
            rule,
            False,
            f"{many}, but a database in a file is for one server process",
            "set database_url to a PostgreSQL and redis_url to a Redis that they share, or workers to 1",
        )
    elif settings.redis_url is None:
        yield Finding(
            rule,
            False,
            f"{many}, but without a Redis each would limit attempts by itself and let in as many times the limits",
            "set redis_url to a Redis that they share, or workers to 1",
        )
    else:
        yield Finding(rule, True, f"{many}, which share a PostgreSQL and a Redis")


def _password_hashing(settings: Settings) -> Iterator[Finding]:
    cost = Argon2Cost(settings.argon2_memory, settings.argon2_passes, 1)
    if cost.reaches_floor:
        yield Finding("password-hashing", True, f"passwords are hashed with {cost}")
    else:
        yield Finding(
            "password-hashing",
            False,
            f"argon2_memory {cost.memory} with argon2_passes {cost.passes} is too weak against guessing",
            "set at least 19456 and 2, or what tokenkeep calibrate proposes",
        )


def _site(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ".".join(host.rsplit(".", 2)[-2:])


_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
"""An origin as browsers write it (RFC 6454 §6.2): lower-case, without user, path, or closing slash."""

_RULES: Final[tuple[Callable[[Settings], Iterator[Finding]], ...]] = (
    issuer_transport,
    listener,
    tls_issuer,
    database_transport,
    redis_transport,
    server_secret,
    _access_life,
    _shared_algorithm,
    _origins,
    _proxies,
    _rate_limits,
    _workers,
    _password_hashing,
    ops_token,
    feed_token,
)
