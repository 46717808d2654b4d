"""Rules about what is listened on and connected to: nothing secret may travel where others can read it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from tokenkeep.contract.loopback import is_loopback, leads_to_loopback
from tokenkeep.settings.finding import Finding, overridable
from tokenkeep.settings.options import Settings
from tokenkeep.storage.address_error import AddressError
from tokenkeep.storage.redis_address import RedisAddress
from tokenkeep.storage.sql.postgres_address import PostgresAddress


def issuer_transport(settings: Settings) -> Iterator[Finding]:
    """Judge whether what is sent to the issuer can be read on its way."""
    if urlsplit(settings.issuer).scheme == "https":
        yield Finding("issuer-transport", True, f"issuer {settings.issuer} is https")
    elif leads_to_loopback(settings.issuer):
        yield Finding("issuer-transport", True, f"issuer {settings.issuer} is a loopback address")
    else:
        yield overridable(
            "issuer-transport",
            f"issuer {settings.issuer} is plain http off loopback, so that passwords would travel in clear text",
            "use an https issuer",
            ("insecure_bind", settings.insecure_bind),
        )


def listener(settings: Settings) -> Iterator[Finding]:
    """Judge whether others could send plain http to this process."""
    where = f"host {settings.host}"
    if is_loopback(settings.host):
        yield Finding("listener", True, f"{where} is a loopback address")
    elif settings.tls_cert is not None:
        yield Finding("listener", True, f"{where} is served over https")
    elif settings.trusted_proxies and urlsplit(settings.issuer).scheme == "https":
        yield Finding("listener", True, f"{where} takes plain http from the trusted proxies only")
    else:
        yield overridable(
            "listener",
            f"{where} would take plain http from anywhere",
            "listen on 127.0.0.1, set tls_cert and tls_key, or set an https issuer and trusted_proxies",
            ("insecure_bind", settings.insecure_bind),
        )


def tls_issuer(settings: Settings) -> Iterator[Finding]:
    """Judge whether issuer and listener agree on the scheme."""
    if settings.tls_cert is not None and urlsplit(settings.issuer).scheme != "https":
        yield Finding(
            "tls-issuer", False, f"tls_cert is set, but issuer {settings.issuer} is http", "set the https address"
        )
    else:
        yield Finding("tls-issuer", True, "issuer and listener agree on the scheme")


def database_transport(settings: Settings) -> Iterator[Finding]:
    """Judge whether the database proves over TLS that it is the one."""
    rule, url = "database-transport", settings.database_url
    if url is None or settings.embedded:
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
        yield overridable(
            rule,
            f"{where} is reached with sslmode={address.mode}, so that who sits between can read and change all",
            "use sslmode=verify-full in database_url, with sslrootcert for an authority of your own",
            ("insecure_database", settings.insecure_database),
        )


def redis_transport(settings: Settings) -> Iterator[Finding]:
    """Judge whether Redis proves over TLS that it is the one."""
    rule, url = "redis-transport", settings.redis_url
    if url is None:
        yield Finding(rule, True, "no Redis is used")
        return
    try:
        address = RedisAddress.parse(url.reveal())
    except AddressError as error:
        yield Finding(rule, False, error.found, error.fix)
        return
    where = f"the Redis at {address.where}"
    if address.tls:
        yield Finding(rule, True, f"{where} must prove over TLS that it is the one")
    elif address.local:
        yield Finding(rule, True, f"{where} is on this machine")
    else:
        yield overridable(
            rule,
            f"{where} is reached without TLS, so that who sits between can read its password and undo limits",
            "use rediss:// in redis_url, with ssl_ca_certs for an authority of your own",
            ("insecure_redis", settings.insecure_redis),
        )
