"""`AuthServer`: opens, serves and closes an auth server; the command line and embedding applications use it alike."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Self
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from tokenkeep.api import app as http
from tokenkeep.api.lifespan import live, live_within
from tokenkeep.assembly import ObjectGraph, Outside, SystemClock, assemble
from tokenkeep.backends import (
    choose_database,
    choose_shared,
    locks_directory,
    node_of,
    prepare_directory,
    read_secrets,
    require_data,
)
from tokenkeep.chores import at_work
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.flows.added_claims import ClaimsHook
from tokenkeep.flows.administer_accounts import AdministerAccounts
from tokenkeep.flows.ports import Clock
from tokenkeep.flows.recover import Recovered
from tokenkeep.flows.trusted_storage import IN_DOUBT
from tokenkeep.jose import KeySet
from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.observability import Measures, Metrics
from tokenkeep.policies import endpoints_of, frame_policy, token_policy
from tokenkeep.settings import Settings, SettingsError, check_clock, check_safety, load
from tokenkeep.storage.data_directory import DataDirectory
from tokenkeep.storage.high_water_mark import FileMark, MemoryMark
from tokenkeep.storage.kept_marks import KeptMarks
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.migrate import Migration, check_current, migrate
from tokenkeep.verifier import CannotTell, TokenVerifier

_log = logging.getLogger(__name__)


class AuthServer:
    """An auth server: its flows, its ASGI application, and the verifier for its own tokens.

    Open it with `async with`, through the life span of `app`, or by mounting it on an application that has one.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        claims: ClaimsHook | None = None,
        exclusive: bool = True,
    ) -> None:
        """Take the settings; nothing is written or connected before `open`.

        Args:
            settings: by default what `tokenkeep.toml` and the environment say.
            clock: by default this machine's.
            claims: returns what is added to an account's access tokens.
            exclusive: whether `open` takes the lock of the data directory; a worker's parent holds it already.

        Raises:
            SettingsError: the settings are not allowed or not safe.
        """
        self.settings: Final = settings if settings is not None else load(environ=os.environ).settings
        self._unsafe = check_safety(self.settings)
        self._exclusive = exclusive
        self._mounted = False
        self._busy = False
        self._metrics = Metrics(process=os.getpid() if self.settings.workers > 1 else None)
        self._clock = clock or SystemClock()
        self._claims = claims
        self._revoked = RevocationSet()
        self._directory = DataDirectory(self.settings.data_dir)
        self._graph: ObjectGraph | None = None
        self._http: ASGIApp | None = None
        self._exit = AsyncExitStack()
        self._verifiers = {name: self._verifier_for(name) for name in token_policy(self.settings).audiences}
        self.verifier: Final = self._verifiers[self.settings.issuer]
        """Verifies the server's own access tokens; for routes of an application that embeds it."""

    @property
    def graph(self) -> ObjectGraph:
        """Everything the open server consists of.

        Raises:
            RuntimeError: the server is not open.
        """
        if self._graph is None:
            raise RuntimeError("the server is not open")
        return self._graph

    @property
    def accounts(self) -> AdministerAccounts:
        """Creates and changes accounts.

        Raises:
            RuntimeError: the server is not open.
        """
        return self.graph.accounts

    async def open(self) -> None:
        """Make ready to serve: data directory, secret, database, schema, keys, revocations, background chores.

        Raises:
            DataDirectoryError, SettingsError, SchemaMismatch, SecretMismatch, NotShared, RolledBack,
            StorageUnavailable: it cannot, and why.
            RuntimeError: it is open already.
        """
        self._require_closed()
        for finding in self._unsafe:
            _log.warning("UNSAFE, allowed by %s: %s", finding.overridden, finding.found)
        check_clock(self._clock.now())
        async with self._closed_on_error():
            prepare_directory(self.settings, self._directory)
            if self._exclusive and locks_directory(self.settings, self._directory):
                self._lock_directory()
            embedded = self.settings.embedded
            node = None if embedded else node_of(self.settings, self._directory)
            graph, database = await self._connect(create_secret=embedded, node=node)
            await migrate(database)
            await self._exit.enter_async_context(at_work(graph))
            self._http = http.build(
                endpoints_of(self.settings),
                graph.services,
                frame=frame_policy(self.settings, mounted=self._mounted),
                allowed_origins=self.settings.allowed_origins,
                metrics=self._metrics,
            )

    async def open_for_commands(self) -> None:
        """Connect to what a server has made, beside it: no schema, key or secret is made, and no lock is taken.

        Raises:
            DataDirectoryError, SettingsError, SchemaMismatch, StorageUnavailable: it cannot, and why.
        """
        self._require_closed()
        async with self._closed_on_error():
            self._require_data()
            # A machine that runs commands on a shared database need never have served it.
            unmarked = not self.settings.embedded
            _, database = await self._connect(create_secret=False, unmarked=unmarked)
            await check_current(database)

    async def migrate(self) -> list[Migration]:
        """Bring the database to this version's schema and disconnect; returns what was applied.

        Raises:
            DataDirectoryError, SettingsError, SchemaMismatch, StorageUnavailable: it cannot, and why.
        """
        self._require_data()
        database = choose_database(self.settings, self._directory, self._clock)
        try:
            await database.open()
            return await migrate(database)
        finally:
            await database.close()

    async def recover(self) -> Recovered:
        """Make a database that was put back safe to serve: end all sessions and tokens, replace all keys.

        Raises:
            DataDirectoryError, SettingsError, SchemaMismatch, StorageUnavailable: it cannot, and why.
        """
        self._require_closed()
        async with self._closed_on_error():
            self._require_data()
            if self.settings.embedded:
                self._lock_directory()
            graph, database = await self._connect(create_secret=False)
            await migrate(database)
            recovered = await graph.recover.recover()
        await self.close()
        return recovered

    def drain(self) -> None:
        """Keep nobody waiting for news any more: the process is about to end, and first finishes what is under way."""
        if self._graph is not None:
            self._graph.publish_revocations.end_waits()

    async def close(self) -> None:
        """Stop the chores, finish what is under way, disconnect, and let another process serve."""
        self._http = None
        try:
            await self._exit.aclose()
        finally:
            self._graph = None
            self._busy = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application; its life span opens and closes the server."""
        if scope["type"] == "lifespan":
            await live(receive, send, begin=self.open, end=self.close)
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
        self._mounted = True
        parent.mount(prefix, self.app)
        live_within(parent, self)

    @asynccontextmanager
    async def _closed_on_error(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await self.close()
            raise

    def _require_closed(self) -> None:
        if self._busy:
            raise RuntimeError("the server is open already")
        self._busy = True

    def _lock_directory(self) -> None:
        self._directory.lock()
        self._exit.callback(self._directory.unlock)

    def _require_data(self) -> None:
        check_clock(self._clock.now())
        require_data(self.settings, self._directory)

    async def _connect(
        self, *, create_secret: bool, unmarked: bool = False, node: str | None = None
    ) -> tuple[ObjectGraph, Database]:
        secret_ring = read_secrets(self.settings, self._directory, create=create_secret)
        database = choose_database(self.settings, self._directory, self._clock)
        self._exit.push_async_callback(database.close)
        await database.open()
        shared = choose_shared(self.settings, secret_ring, self._clock)
        if shared is not None:
            self._exit.push_async_callback(shared.link.close)
        outside = Outside(
            database=database,
            shared=shared,
            node=node,
            secret_ring=secret_ring,
            clock=self._clock,
            revoked=self._revoked,
            verifiers=self._verifiers,
            observe_event=self._metrics.count_event,
            exposition=lambda: self._metrics.exposition(self._measures()),
            mark=KeptMarks(FileMark(self._directory.mark) if self._directory.exists() else MemoryMark(), shared),
            unmarked=self.settings.allow_unmarked_database or unmarked,
            claims=self._claims,
        )
        graph = assemble(self.settings, outside)
        self._exit.callback(graph.hasher.close)
        self._graph = graph
        return graph, database

    def _measures(self) -> Measures:
        graph = self.graph
        return Measures(
            revocations=len(self._revoked),
            dropped=graph.refusals.dropped,
            clock_offset=graph.watch_clock.offset / 1000,
            revocations_age=graph.follow_revocations.age,
            keys_age=graph.key_ring.age,
            feed_waiting=graph.publish_revocations.waiting,
            feed_signed=graph.publish_revocations.signed,
            redis_up=graph.shared.link.away is None if graph.shared is not None else None,
        )

    def _verifier_for(self, audience: str) -> TokenVerifier:
        return TokenVerifier(
            issuer=self.settings.issuer,
            audience=audience,
            algorithms=list(ALGORITHMS),
            keys=self._verification_keys,
            revocations=self._revoked,
            leeway=self.settings.leeway,
            clock=lambda: self._clock.now() / 1000,
            monotonic=self._clock.monotonic,
        )

    def _verification_keys(self) -> KeySet:
        graph = self.graph
        if graph.doubted():
            raise CannotTell(IN_DOUBT)
        if not graph.key_ring.fresh:
            raise CannotTell("the signing keys were last read too long ago")
        return graph.key_ring.verification_keys()


def create_app() -> ASGIApp:
    """Return the application for an ASGI server: settings from `tokenkeep.toml` and the environment."""
    return AuthServer().app
