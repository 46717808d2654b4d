"""The object graph: which implementation each flow is given, built from settings. The only module that knows them all.

Not here: opening, closing and serving (`server`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tokenkeep.api.addresses import Proxies, hosts_served
from tokenkeep.api.cookies import CookiePolicy
from tokenkeep.api.endpoint import Endpoint, Services
from tokenkeep.api.frame import FramePolicy
from tokenkeep.api.openapi import describe, description_endpoint
from tokenkeep.api.routes import ROUTES
from tokenkeep.contract.loopback import is_loopback
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.domain.accounts import PasswordPolicy
from tokenkeep.domain.audit import Event
from tokenkeep.domain.errors import Refusal
from tokenkeep.domain.history import RolledBack
from tokenkeep.domain.limits import Quota
from tokenkeep.domain.secrets import SecretRing
from tokenkeep.domain.sessions import SessionPolicy
from tokenkeep.domain.signing_keys import AlgorithmChanged
from tokenkeep.flows.administer_accounts import AdministerAccounts
from tokenkeep.flows.change_password import ChangePassword
from tokenkeep.flows.end_sessions import EndSessions
from tokenkeep.flows.follow_revocations import FollowRevocations
from tokenkeep.flows.issue_tokens import ClaimsHook, TokenIssuer, TokenPolicy
from tokenkeep.flows.keep_history import KeepHistory
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.limit_attempts import LimitAttempts, LimitPolicy
from tokenkeep.flows.list_sessions import ListSessions
from tokenkeep.flows.login import Login
from tokenkeep.flows.logout import Logout
from tokenkeep.flows.note_refusals import NoteRefusals
from tokenkeep.flows.open_session import OpenSession
from tokenkeep.flows.overview import ViewOverview
from tokenkeep.flows.ports import Clock, HighWaterMark, SecretMismatch, Storage
from tokenkeep.flows.purge import Purge
from tokenkeep.flows.read_audit import ReadAudit
from tokenkeep.flows.recover import Recover
from tokenkeep.flows.refresh import Refresh
from tokenkeep.flows.revoke import Revoker
from tokenkeep.flows.rotate_keys import RotateKeys
from tokenkeep.flows.watch_clock import WatchClock
from tokenkeep.passwords import Argon2Parameters, HashingPool
from tokenkeep.settings import Settings, SettingsError
from tokenkeep.settings.kinds import Rate
from tokenkeep.storage.data_directory import DataDirectory, DataDirectoryError
from tokenkeep.storage.memory import MemoryLimiter
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.migrate import SchemaMismatch
from tokenkeep.storage.sql.sqlite import SqliteDatabase
from tokenkeep.storage.sql.stores import SqlStorage
from tokenkeep.verifier import TokenVerifier

HASHING_WAIT: Final = 5.0
"""Seconds that a login may wait for its turn to be checked."""

CANNOT_SERVE: Final = (
    Refusal,
    RolledBack,
    AlgorithmChanged,
    SecretMismatch,
    SettingsError,
    DataDirectoryError,
    SchemaMismatch,
)
"""Errors that say in a line what is wrong with the surroundings, and what to do; all others are defects."""

_MILLISECOND: Final = timedelta(milliseconds=1)
_SQLITE_URL: Final = "sqlite:///"


class SystemClock:
    """The clocks of this machine (port `Clock`)."""

    def now(self) -> int:
        """Return the wall clock in milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps."""
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Outside:
    """What the graph is built upon: connections, clocks, and what the embedding application brings."""

    database: Database
    secret_ring: SecretRing
    clock: Clock
    revoked: RevocationSet
    verifier: TokenVerifier
    observe_event: Callable[[Event], None]
    exposition: Callable[[], bytes]
    mark: HighWaterMark
    claims: ClaimsHook | None


@dataclass(frozen=True, slots=True)
class ObjectGraph:
    """Everything that an open server consists of."""

    storage: Storage
    hasher: HashingPool
    accounts: AdministerAccounts
    key_ring: KeyRing
    rotate_keys: RotateKeys
    follow_revocations: FollowRevocations
    history: KeepHistory
    purge: Purge
    refusals: NoteRefusals
    audit: ReadAudit
    recover: Recover
    watch_clock: WatchClock
    services: Services
    access_life: int
    """Milliseconds of an access token's life."""


def assemble(settings: Settings, outside: Outside) -> ObjectGraph:
    """Return the object graph of a server with these settings."""
    storage = SqlStorage(outside.database, Sealer(outside.secret_ring), outside.observe_event)
    hasher = HashingPool(Argon2Parameters(), concurrency=settings.hash_concurrency, longest_wait=HASHING_WAIT)
    key_ring = KeyRing(storage)
    revoker = Revoker(settings.issuer, outside.revoked)
    tokens = TokenIssuer(key_ring, outside.secret_ring, _token_policy(settings), outside.claims)
    sessions = _session_policy(settings)
    passwords = PasswordPolicy(settings.password_min_length)
    refusals = NoteRefusals(storage, outside.clock, outside.secret_ring)
    limits = LimitAttempts(MemoryLimiter(outside.clock), _limit_policy(settings))
    opener = OpenSession(outside.secret_ring, sessions)
    rotate_keys = RotateKeys(storage, settings.signing_algorithm)
    watch_clock = WatchClock(storage, outside.clock)
    return ObjectGraph(
        storage=storage,
        hasher=hasher,
        accounts=AdministerAccounts(storage, hasher, revoker, passwords),
        key_ring=key_ring,
        rotate_keys=rotate_keys,
        history=KeepHistory(storage, outside.mark),
        purge=Purge(storage, audit_retention=settings.audit_retention // _MILLISECOND),
        refusals=refusals,
        audit=ReadAudit(storage),
        recover=Recover(storage, outside.mark, rotate_keys),
        watch_clock=watch_clock,
        follow_revocations=FollowRevocations(
            storage,
            outside.revoked,
            outside.clock,
            issuer=settings.issuer,
            max_staleness=settings.revocation_max_staleness.total_seconds(),
        ),
        services=Services(
            login=Login(storage, hasher, tokens, revoker, opener, refusals=refusals, limits=limits),
            refresh=Refresh(
                storage,
                tokens,
                revoker,
                secret_ring=outside.secret_ring,
                policy=sessions,
                refusals=refusals,
                limits=limits,
            ),
            logout=Logout(storage, revoker, outside.secret_ring),
            change_password=ChangePassword(
                storage, hasher, tokens, revoker, opener, policy=passwords, limits=limits, refusals=refusals
            ),
            list_sessions=ListSessions(storage),
            end_sessions=EndSessions(storage, revoker),
            overview=ViewOverview(storage),
            key_ring=key_ring,
            verifier=outside.verifier,
            storage=storage,
            refusals=refusals,
            cookies=CookiePolicy.of(settings.issuer, settings.allowed_origins),
            ready=lambda: watch_clock.agrees and outside.revoked.fresh(outside.clock.monotonic()),
            metrics=outside.exposition,
            ops_token=settings.ops_token.reveal() if settings.ops_token else None,
            local=is_loopback(urlsplit(settings.issuer).hostname or ""),
        ),
        access_life=settings.access_ttl // _MILLISECOND,
    )


def is_embedded(settings: Settings) -> bool:
    """Tell whether the database is a file of this machine, for one server process."""
    return settings.database_url is None or settings.database_url.reveal().startswith(_SQLITE_URL)


def sqlite_file(settings: Settings, directory: DataDirectory) -> Path:
    """Return the file of the embedded database."""
    if settings.database_url is None:
        return directory.database
    return Path(settings.database_url.reveal().removeprefix(_SQLITE_URL))


def choose_database(settings: Settings, directory: DataDirectory, clock: Clock) -> Database:
    """Return the configured database, not yet open."""
    url = settings.database_url.reveal() if settings.database_url else None
    if url is None or url.startswith(_SQLITE_URL):
        return SqliteDatabase(sqlite_file(settings, directory), clock)
    # Imported when configured only: the driver costs memory that the embedded default need not spend.
    from tokenkeep.storage.sql.postgres import PostgresDatabase

    return PostgresDatabase(url)


def read_secrets(settings: Settings, directory: DataDirectory, *, create: bool) -> SecretRing:
    """Return the server secrets: the configured ones, or the one in the data directory.

    Args:
        create: whether one may be generated there if there is none.

    Raises:
        SettingsError: there is none, or it is too short.
        DataDirectoryError: the one in the data directory cannot be read or made.
    """
    if settings.secret is not None:
        text: str | None = settings.secret.reveal()
    else:
        text = directory.read_secret() or (
            directory.create_secret(sqlite_file(settings, directory)) if create else None
        )
    if text is None:
        raise SettingsError("no server secret: set TOKENKEEP_SECRET (make one with: tokenkeep secret generate)")
    try:
        return SecretRing(text.encode(), [previous.reveal().encode() for previous in settings.previous_secrets])
    except ValueError as error:
        raise SettingsError(f"secret: {error}; make one with: tokenkeep secret generate") from None


def _token_policy(settings: Settings) -> TokenPolicy:
    return TokenPolicy(
        issuer=settings.issuer,
        client_id=settings.client_id,
        audiences=(settings.issuer, *settings.audiences),
        access_life=settings.access_ttl // timedelta(seconds=1),
    )


def _limit_policy(settings: Settings) -> LimitPolicy:
    return LimitPolicy(
        login_address=_quota("login-address", settings.login_limit_address),
        login_everyone=_quota("login-everyone", settings.login_limit_everyone),
        refresh_address=_quota("refresh-address", settings.refresh_limit_address),
        enabled=settings.rate_limits,
    )


def _quota(name: str, rate: Rate) -> Quota:
    return Quota(name, rate.count, rate.window // timedelta(seconds=1))


def _session_policy(settings: Settings) -> SessionPolicy:
    return SessionPolicy(
        idle=settings.refresh_idle_ttl // _MILLISECOND,
        absolute=settings.session_ttl // _MILLISECOND,
        grace=settings.refresh_grace // _MILLISECOND,
    )


def endpoints_of(settings: Settings) -> list[Endpoint]:
    """Return the rows of the route table to serve, with their description where it may be seen."""
    if not settings.api_docs and not is_loopback(urlsplit(settings.issuer).hostname or ""):
        return list(ROUTES)
    return [*ROUTES, description_endpoint(describe_api(settings))]


def describe_api(settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI document of a server with these settings."""
    cookie = CookiePolicy.of(settings.issuer, settings.allowed_origins).name
    return describe(ROUTES, issuer=settings.issuer, cookie=cookie, version=metadata.version("tokenkeep"))


def frame_policy(settings: Settings, *, mounted: bool) -> FramePolicy:
    """Return what is let in; a mounted server leaves the choice of hosts to the application around it."""
    secure = urlsplit(settings.issuer).scheme == "https"
    hosts = hosts_served(settings.issuer, (settings.host, settings.port), settings.allowed_hosts)
    return FramePolicy(
        hosts=None if mounted else hosts,
        proxies=Proxies.of(settings.trusted_proxies),
        https_only=secure and not settings.insecure_bind,
        secure=secure,
    )
