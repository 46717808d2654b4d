"""What may not start: rules about settings that would be a breach, each with its fix and its explicit override."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from tokenkeep.contract.loopback import is_loopback
from tokenkeep.domain.password_hashes import Argon2Cost
from tokenkeep.domain.secrets import SMALLEST_SECRET
from tokenkeep.jose import InvalidKey, Key
from tokenkeep.settings.kinds import Secret, format_duration
from tokenkeep.settings.options import Settings, SettingsError
from tokenkeep.storage.sql.postgres_address import AddressError, PostgresAddress

LONGEST_ACCESS: Final = timedelta(hours=1)
"""The longest access-token life that needs no override."""
SHORTEST_OPS_TOKEN: Final = 32
"""Characters of the shortest operations token."""
RELEASED_AT: Final = 1_767_225_600_000
"""Milliseconds since the epoch before which this version did not exist; a clock that stands earlier is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Attributes:
        rule: the rule's name.
        ok: whether the settings may be served with.
        found: what is so.
        fix: what to do about it, with the setting that overrides the rule where there is one.
        overridden: the override that lets an unsafe setting pass; it is logged at each start.
    """

    rule: str
    ok: bool
    found: str
    fix: str = ""
    overridden: str | None = None


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


def _issuer_transport(settings: Settings) -> Iterator[Finding]:
    issuer = urlsplit(settings.issuer)
    if issuer.scheme == "https":
        yield Finding("issuer-transport", True, f"issuer {settings.issuer} is https")
    elif is_loopback(issuer.hostname or ""):
        yield Finding("issuer-transport", True, f"issuer {settings.issuer} is a loopback address")
    else:
        yield _overridable(
            "issuer-transport",
            f"issuer {settings.issuer} is plain http off loopback, so that passwords would travel in clear text",
            "use an https issuer",
            ("insecure_bind", settings.insecure_bind),
        )


def _listener(settings: Settings) -> Iterator[Finding]:
    where = f"host {settings.host}"
    if is_loopback(settings.host):
        yield Finding("listener", True, f"{where} is a loopback address")
    elif settings.tls_cert is not None:
        yield Finding("listener", True, f"{where} is served over https")
    elif settings.trusted_proxies and urlsplit(settings.issuer).scheme == "https":
        yield Finding("listener", True, f"{where} takes plain http from the trusted proxies only")
    else:
        yield _overridable(
            "listener",
            f"{where} would take plain http from anywhere",
            "listen on 127.0.0.1, set tls_cert and tls_key, or set an https issuer and trusted_proxies",
            ("insecure_bind", settings.insecure_bind),
        )


def _tls_issuer(settings: Settings) -> Iterator[Finding]:
    if settings.tls_cert is not None and urlsplit(settings.issuer).scheme != "https":
        yield Finding(
            "tls-issuer", False, f"tls_cert is set, but issuer {settings.issuer} is http", "set the https address"
        )
    else:
        yield Finding("tls-issuer", True, "issuer and listener agree on the scheme")


def _database_transport(settings: Settings) -> Iterator[Finding]:
    rule, url = "database-transport", settings.database_url
    if url is None or not url.reveal().startswith("postgresql:"):
        yield Finding(rule, True, "the database is a file of this machine")
        return
    try:
        address = PostgresAddress.parse(url.reveal())
    except AddressError as error:
        yield Finding(rule, False, f"PostgreSQL: {error.found}", error.fix)
        return
    where = f"the database at {address.where}"
    if address.local:
        yield Finding(rule, True, f"{where} is on this machine")
    elif address.verified:
        yield Finding(rule, True, f"{where} must prove over TLS that it is the one")
    else:
        yield _overridable(
            rule,
            f"{where} is reached with sslmode={address.mode}, so that who sits between can read and change all",
            "use sslmode=verify-full in database_url, with sslrootcert for an authority of your own",
            ("insecure_database", settings.insecure_database),
        )


def _server_secret(settings: Settings) -> Iterator[Finding]:
    given = [("secret", settings.secret), *(("previous_secrets", each) for each in settings.previous_secrets)]
    for name, secret in given:
        if secret is None:
            yield Finding("server-secret", True, "the server secret is the generated one")
            continue
        if len(secret.reveal().encode()) < SMALLEST_SECRET:
            yield Finding(
                "server-secret",
                False,
                f"{name} is shorter than {SMALLEST_SECRET} bytes",
                "make one with: tokenkeep secret generate",
            )
            continue
        weakness = _weakness(secret)
        if weakness:
            yield _overridable(
                "server-secret",
                f"{name} is weak ({weakness})",
                "make one with: tokenkeep secret generate",
                ("allow_weak_secret", settings.allow_weak_secret),
            )
        else:
            yield Finding("server-secret", True, f"{name} is long and not publicly known")


def _weakness(secret: Secret) -> str:
    """Return why a secret could be guessed: too little variety, publicly known, an example; empty if it could not."""
    try:
        Key.from_secret(secret.reveal().encode(), alg="HS256")
    except InvalidKey as error:
        return error.message.removeprefix("invalid key: ")
    return "it reads like a placeholder" if _is_placeholder(secret.reveal()) else ""


def _is_placeholder(text: str) -> bool:
    """Tell whether a secret is a text from an example, or one text three times and more."""
    words = "".join(filter(str.isalnum, text.lower()))
    repeated = any(text.startswith(text[length:]) for length in range(1, len(text) // 3 + 1))
    return repeated or _PLACEHOLDERS.search(words) is not None


def _access_life(settings: Settings) -> Iterator[Finding]:
    life = f"access_ttl is {format_duration(settings.access_ttl)}"
    if settings.access_ttl <= LONGEST_ACCESS:
        yield Finding("access-life", True, life)
    else:
        yield _overridable(
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
    local = is_loopback(urlsplit(settings.issuer).hostname or "") and is_loopback(settings.host)
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


def _ops_token(settings: Settings) -> Iterator[Finding]:
    fix = "make one with: tokenkeep secret generate"
    if settings.ops_token is None:
        yield Finding("ops-token", True, "metrics are closed to others")
    elif len(settings.ops_token.reveal()) < SHORTEST_OPS_TOKEN:
        yield Finding("ops-token", False, f"ops_token is shorter than {SHORTEST_OPS_TOKEN} characters", fix)
    elif weakness := _weakness(settings.ops_token):
        yield Finding("ops-token", False, f"ops_token is weak ({weakness})", fix)
    else:
        yield Finding("ops-token", True, "metrics are closed to those without the ops_token")


def _overridable(rule: str, found: str, fix: str, override: tuple[str, bool]) -> Finding:
    name, given = override
    return Finding(rule, given, found, f"{fix} (or {name})", name if given else None)


def _site(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ".".join(host.rsplit(".", 2)[-2:])


_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
"""An origin as browsers write it (RFC 6454 §6.2): lower-case, without user, path, or closing slash."""

_PLACEHOLDERS: Final = re.compile(
    r"(change|replace|insert|enter)(me|it|this|with|your|here|secret)|(your|my|super)(server|jwt)?(secret|key|256)"
    r"|generatewith|placeholder|example"
)
"""Words, letters and digits only, of what stands in an example for a secret that somebody is to put there."""

_RULES: Final[tuple[Callable[[Settings], Iterator[Finding]], ...]] = (
    _issuer_transport,
    _listener,
    _tls_issuer,
    _database_transport,
    _server_secret,
    _access_life,
    _shared_algorithm,
    _origins,
    _proxies,
    _rate_limits,
    _password_hashing,
    _ops_token,
)
