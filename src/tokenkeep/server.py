"""`AuthServer`: builds the object graph from settings. What the command line, `create_app` and an application open alike."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from tokenkeep import observability
from tokenkeep.api import app as http
from tokenkeep.api.cookies import CookiePolicy
from tokenkeep.api.endpoint import Endpoint, Services
from tokenkeep.api.openapi import describe, description_endpoint
from tokenkeep.api.routes import ROUTES
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.domain.accounts import PasswordPolicy
from tokenkeep.domain.secrets import SecretRing
from tokenkeep.domain.sessions import SessionPolicy
from tokenkeep.flows.administer_accounts import AdministerAccounts
from tokenkeep.flows.background import Background, Chore
from tokenkeep.flows.follow_revocations import FollowRevocations
from tokenkeep.flows.issue_tokens import ClaimsHook, TokenIssuer, TokenPolicy
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.login import Login
from tokenkeep.flows.logout import Logout
from tokenkeep.flows.overview import ViewOverview
from tokenkeep.flows.ports import Clock, Storage, Transaction
from tokenkeep.flows.refresh import Refresh
from tokenkeep.flows.revoke import Revoker
from tokenkeep.flows.rotate_keys import RotateKeys
from tokenkeep.jose import KeySet
from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.passwords import Argon2Parameters, HashingPool
from tokenkeep.settings import Secret, Settings, SettingsError, check_safety, load
from tokenkeep.settings.safety import is_loopback
from tokenkeep.storage.data_directory import DataDirectory
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.migrate import Migration, check_current, migrate
from tokenkeep.storage.sql.sqlite import SqliteDatabase
from tokenkeep.storage.sql.stores import SqlStorage
from tokenkeep.verifier import TokenVerifier

HASHING_WAIT: Final = 5.0
"""Seconds that a login may wait for its turn to be checked."""
REVOCATION_POLL: Final = 0.25
"""Seconds between two looks at whether another process has revoked something."""
KEY_POLL: Final = 10.0
"""Seconds between two looks at the signing keys."""


class SystemClock:
    """The clocks of this machine (port `Clock`)."""

    def now(self) -> int:
        """Return the wall clock in milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps."""
        return time.monotonic()


_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is built when the server is opened."""

    database: Database
    storage: Storage
    hasher: HashingPool
    accounts: AdministerAccounts
    key_ring: KeyRing
    follow: FollowRevocations
    services: Services


class AuthServer:
    """An auth server: its flows, its ASGI application, and the verifier for its own tokens.

    Open it with `async with`, through the life span of `app`, or by mounting it on an application that has one.
    """

    def __init__(
        self, settings: Settings | None = None, *, clock: Clock | None = None, claims: ClaimsHook | None = None
    ) -> None:
        """Take the settings; nothing is read, written or connected before `open`.

        Args:
            settings: by default what `tokenkeep.toml` and the environment say.
            clock: by default this machine's.
            claims: returns what is added to an account's access tokens.

        Raises:
            SettingsError: the settings are not allowed or not safe.
        """
        self.settings = settings if settings is not None else load(environ=os.environ).settings
        check_safety(self.settings)
        self._clock = clock or SystemClock()
        self._claims = claims
        self._revoked = RevocationSet()
        self._directory = DataDirectory(self.settings.data_dir)
        self._parts: _Parts | None = None
        self._http: ASGIApp | None = None
        self._exit = AsyncExitStack()
        self.verifier: Final = TokenVerifier(
            issuer=self.settings.issuer,
            audience=self.settings.issuer,
            algorithms=list(ALGORITHMS),
            keys=self._verification_keys,
            revocations=self._revoked,
            leeway=self.settings.leeway,
            clock=lambda: self._clock.now() / 1000,
            monotonic=self._clock.monotonic,
        )
        """Verifies the server's own access tokens; for routes of an application that embeds it."""

    @property
    def accounts(self) -> AdministerAccounts:
        """Creates and changes accounts.

        Raises:
            RuntimeError: the server is not open.
        """
        return self._open_parts().accounts

    async def open(self) -> None:
        """Make ready to serve: data directory, secret, database, schema, keys, revocations, background chores.

        Raises:
            DataDirectoryError, SettingsError, SchemaMismatch, SecretMismatch, StorageUnavailable: it cannot, and why.
        """
        try:
            self._directory.create()
            if _embedded(self.settings):
                self._directory.lock()
                self._exit.callback(self._directory.unlock)
            parts = await self._connect(create_secret=_embedded(self.settings))
            await migrate(parts.database)
            await parts.storage.transact(_register_access_life, self.settings.access_ttl // _MILLISECOND)
            await RotateKeys(parts.storage, self.settings.signing_algorithm).establish()
            await parts.key_ring.reload()
            await parts.follow.poll()
            background = Background(
                [
                    Chore("reading revocations", REVOCATION_POLL, parts.follow.poll),
                    Chore("reading signing keys", KEY_POLL, parts.key_ring.reload),
                ]
            )
            background.start()
            self._exit.push_async_callback(background.stop)
            self._http = http.build(
                self._endpoints(parts.services.cookies),
                parts.services,
                allowed_origins=self.settings.allowed_origins,
                log=observability.log_request,
            )
        except BaseException:
            await self.close()
            raise

    async def open_for_commands(self) -> None:
        """Connect to what a server has made, beside it: no schema, key or secret is made, and no lock is taken.

        Raises:
            DataDirectoryError, SettingsError, SchemaMismatch, StorageUnavailable: it cannot, and why.
        """
        try:
            if _embedded(self.settings):
                self._directory.require()
            parts = await self._connect(create_secret=False)
            await check_current(parts.database)
        except BaseException:
            await self.close()
            raise

    async def migrate(self) -> list[Migration]:
        """Bring the database to this version's schema and disconnect; returns what was applied.

        Raises:
            DataDirectoryError, SettingsError, SchemaMismatch, StorageUnavailable: it cannot, and why.
        """
        try:
            if _embedded(self.settings):
                self._directory.require()
            return await migrate((await self._connect(create_secret=False)).database)
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop the chores, finish what is under way, disconnect, and let another process serve."""
        self._http = None
        self._parts = None
        await self._exit.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application; its life span opens and closes the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._http is None:
            raise RuntimeError("the server is not open: run the application's life span, or mount it with mount()")
        else:
            await self._http(scope, receive, send)

    def mount(self, parent: Starlette, prefix: str) -> None:
        """Serve under `prefix` of a Starlette or FastAPI application, opened and closed with its life span.

        Raises:
            SettingsError: the issuer's path is not the prefix, so that clients would look in the wrong place.
        """
        if urlsplit(self.settings.issuer).path != prefix:
            raise SettingsError(f"issuer must end with the prefix {prefix} under which the server is mounted")
        parent.mount(prefix, self.app)
        inner = parent.router.lifespan_context

        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[Any]:
            async with self, inner(app) as state:
                yield state

        parent.router.lifespan_context = lifespan

    async def _connect(self, *, create_secret: bool) -> _Parts:
        secret_ring = self._secret_ring(create=create_secret)
        database = self._database()
        self._exit.push_async_callback(database.close)
        await database.open()
        parts = self._assemble(database, secret_ring)
        self._exit.callback(parts.hasher.close)
        self._parts = parts
        return parts

    def _assemble(self, database: Database, secret_ring: SecretRing) -> _Parts:
        settings = self.settings
        storage = SqlStorage(database, Sealer(secret_ring))
        hasher = HashingPool(Argon2Parameters(), concurrency=settings.hash_concurrency, longest_wait=HASHING_WAIT)
        key_ring = KeyRing(storage)
        revoker = Revoker(settings.issuer, self._revoked)
        tokens = TokenIssuer(key_ring, secret_ring, _token_policy(settings), self._claims)
        sessions = _session_policy(settings)
        return _Parts(
            database=database,
            storage=storage,
            hasher=hasher,
            accounts=AdministerAccounts(storage, hasher, revoker, PasswordPolicy(settings.password_min_length)),
            key_ring=key_ring,
            follow=FollowRevocations(
                storage,
                self._revoked,
                self._clock,
                issuer=settings.issuer,
                max_staleness=settings.revocation_max_staleness.total_seconds(),
            ),
            services=Services(
                login=Login(storage, hasher, tokens, revoker, secret_ring, sessions),
                refresh=Refresh(storage, tokens, revoker, secret_ring, sessions),
                logout=Logout(storage, revoker, secret_ring),
                overview=ViewOverview(storage),
                key_ring=key_ring,
                verifier=self.verifier,
                storage=storage,
                cookies=CookiePolicy.of(settings.issuer, settings.allowed_origins),
                ready=lambda: self._revoked.fresh(self._clock.monotonic()),
            ),
        )

    def _secret_ring(self, *, create: bool) -> SecretRing:
        if self.settings.secret is not None:
            text: str | None = self.settings.secret.reveal()
        else:
            text = self._directory.read_secret() or (self._directory.create_secret() if create else None)
        if text is None:
            raise SettingsError("no server secret: set TOKENKEEP_SECRET (make one with: tokenkeep secret generate)")
        try:
            return SecretRing(text.encode(), [_bytes(previous) for previous in self.settings.previous_secrets])
        except ValueError as error:
            raise SettingsError(f"secret: {error}; make one with: tokenkeep secret generate") from None

    def _database(self) -> Database:
        url = self.settings.database_url.reveal() if self.settings.database_url else None
        if url is None:
            return SqliteDatabase(self._directory.database, self._clock)
        if url.startswith("sqlite:///"):
            return SqliteDatabase(Path(url.removeprefix("sqlite:///")), self._clock)
        # Imported when configured only: the driver costs memory that the embedded default need not spend.
        from tokenkeep.storage.sql.postgres import PostgresDatabase  # noqa: PLC0415

        return PostgresDatabase(url)

    def _endpoints(self, cookies: CookiePolicy) -> list[Endpoint]:
        if not self.settings.api_docs and not is_loopback(urlsplit(self.settings.issuer).hostname or ""):
            return list(ROUTES)
        return [*ROUTES, description_endpoint(describe_api(self.settings, cookies))]

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.open()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _verification_keys(self) -> KeySet:
        return self._open_parts().key_ring.verification_keys()

    def _open_parts(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("the server is not open")
        return self._parts


def create_app() -> ASGIApp:
    """Return the application for an ASGI server: settings from `tokenkeep.toml` and the environment."""
    return AuthServer().app


def describe_api(settings: Settings, cookies: CookiePolicy | None = None) -> dict[str, Any]:
    """Return the OpenAPI document of a server with these settings."""
    policy = cookies or CookiePolicy.of(settings.issuer, settings.allowed_origins)
    return describe(ROUTES, issuer=settings.issuer, cookie=policy.name, version=metadata.version("tokenkeep"))


def _token_policy(settings: Settings) -> TokenPolicy:
    return TokenPolicy(
        issuer=settings.issuer,
        client_id=settings.client_id,
        audiences=(settings.issuer, *settings.audiences),
        access_life=settings.access_ttl // timedelta(seconds=1),
    )


def _session_policy(settings: Settings) -> SessionPolicy:
    return SessionPolicy(
        idle=settings.refresh_idle_ttl // _MILLISECOND,
        absolute=settings.session_ttl // _MILLISECOND,
        grace=settings.refresh_grace // _MILLISECOND,
    )


def _embedded(settings: Settings) -> bool:
    """Tell whether the database is a file of this machine, for one server process."""
    return settings.database_url is None or settings.database_url.reveal().startswith("sqlite:")


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode()


async def _register_access_life(tx: Transaction, life: int) -> None:
    await tx.revocations.register_access_life(life)
