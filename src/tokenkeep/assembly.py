"""The object graph: which implementation each flow is given, built from settings. The only module that knows them all.

Not here: opening, closing and serving (`server`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from tokenkeep.api.endpoint import Feed, Services
from tokenkeep.contract.loopback import leads_to_loopback
from tokenkeep.contract.revocation import RevocationKind, RevocationSet, digest
from tokenkeep.domain.audit import Event
from tokenkeep.domain.readiness import Need
from tokenkeep.domain.secrets import SecretRing
from tokenkeep.domain.server_processes import NO_REDIS, Accord
from tokenkeep.flows.added_claims import AddedClaims, ClaimsHook
from tokenkeep.flows.administer_accounts import AdministerAccounts
from tokenkeep.flows.administer_remotely import AdministerRemotely
from tokenkeep.flows.admission import Admission
from tokenkeep.flows.background import EXPLAINED
from tokenkeep.flows.bell import Bell
from tokenkeep.flows.change_account import ChangeAccount
from tokenkeep.flows.change_password import ChangePassword
from tokenkeep.flows.check_password import CheckPassword
from tokenkeep.flows.check_readiness import CheckReadiness
from tokenkeep.flows.create_account import CreateAccount
from tokenkeep.flows.end_sessions import EndSessions
from tokenkeep.flows.establish_keys import EstablishKeys
from tokenkeep.flows.expel import Expel
from tokenkeep.flows.follow_password_kinds import FollowPasswordKinds
from tokenkeep.flows.follow_revocations import FollowRevocations
from tokenkeep.flows.import_accounts import ImportAccounts
from tokenkeep.flows.issue_tokens import TokenIssuer
from tokenkeep.flows.keep_history import KeepHistory
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.limit_attempts import LimitAttempts
from tokenkeep.flows.list_keys import ListKeys
from tokenkeep.flows.list_sessions import ListSessions
from tokenkeep.flows.login import Login
from tokenkeep.flows.logout import Logout
from tokenkeep.flows.new_passwords import NewPasswords
from tokenkeep.flows.note_refusals import NoteRefusals
from tokenkeep.flows.open_session import OpenSession
from tokenkeep.flows.overview import ViewOverview
from tokenkeep.flows.ports import Clock, HighWaterMark, Storage
from tokenkeep.flows.publish_revocations import PublishRevocations
from tokenkeep.flows.purge import Purge
from tokenkeep.flows.read_audit import ReadAudit
from tokenkeep.flows.read_now import ReadNow
from tokenkeep.flows.recover import Recover
from tokenkeep.flows.refresh import Refresh
from tokenkeep.flows.register import Register
from tokenkeep.flows.replace_password import ReplacePassword
from tokenkeep.flows.revoke import Revoker
from tokenkeep.flows.revoke_key import RevokeKey
from tokenkeep.flows.revoke_token import RevokeToken
from tokenkeep.flows.rotate_keys import RotateKeys
from tokenkeep.flows.serve_together import ServeTogether
from tokenkeep.flows.token_families import TokenFamilies
from tokenkeep.flows.trusted_storage import TrustedStorage
from tokenkeep.flows.watch_clock import WatchClock
from tokenkeep.passwords import Argon2Parameters, HashingPool
from tokenkeep.policies import (
    accord_of,
    cookie_policy,
    has_feed,
    limit_policy,
    password_policy,
    rotation_policy,
    session_policy,
    token_policy,
)
from tokenkeep.settings import Settings, SettingsError
from tokenkeep.storage.data_directory import DataDirectoryError
from tokenkeep.storage.memory import MemoryLimiter
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.migrate import SchemaMismatch
from tokenkeep.storage.sql.stores import SqlStorage
from tokenkeep.verifier import TokenVerifier

if TYPE_CHECKING:
    from tokenkeep.storage.redis_shared import RedisShared

HASHING_WAIT: Final = 5.0
"""Seconds that a login may wait for its turn to be checked."""

KEY_POLLS: Final = 4
"""Looks at the signing keys in the time in which a change of them must have been taken up: some may fail."""
CANNOT_SERVE: Final = (*EXPLAINED, SettingsError, DataDirectoryError, SchemaMismatch)
"""Errors that say in a line what is wrong with the surroundings, and what to do; all others are defects."""

_MILLISECOND: Final = timedelta(milliseconds=1)


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
    shared: RedisShared | None
    node: str | None
    """What names the node of this process; None where it serves alone for certain."""
    secret_ring: SecretRing
    clock: Clock
    revoked: RevocationSet
    verifiers: Mapping[str, TokenVerifier]
    observe_event: Callable[[Event], None]
    exposition: Callable[[], bytes]
    mark: HighWaterMark
    unmarked: bool
    claims: ClaimsHook | None


@dataclass(frozen=True, slots=True)
class ObjectGraph:
    """Everything that an open server consists of."""

    storage: Storage
    """Not guarded against a database that was put back."""
    doubted: Callable[[], bool]
    """Tells whether the database was put back to an older state under the open server."""
    hasher: HashingPool
    password_kinds: FollowPasswordKinds
    accounts: AdministerAccounts
    import_accounts: ImportAccounts
    key_ring: KeyRing
    key_bell: Bell
    key_poll: float
    """Seconds between two looks at the signing keys."""
    establish_keys: EstablishKeys
    rotate_keys: RotateKeys
    follow_revocations: FollowRevocations
    publish_revocations: PublishRevocations
    revocation_bell: Bell
    shared: RedisShared | None
    read_now: ReadNow | None
    together: ServeTogether | None
    history: KeepHistory
    purge: Purge
    refusals: NoteRefusals
    audit: ReadAudit
    recover: Recover
    revoke_token: RevokeToken
    watch_clock: WatchClock
    services: Services
    access_life: int
    """Milliseconds of an access token's life."""


def assemble(settings: Settings, outside: Outside) -> ObjectGraph:
    """Return the object graph of a server with these settings."""
    # For those who look whether the database is to be trusted, and what goes on meanwhile; all others get `storage`.
    unguarded = SqlStorage(outside.database, Sealer(outside.secret_ring), outside.observe_event)
    key_bell, revocation_bell = Bell(), Bell()
    history = KeepHistory(unguarded, outside.mark, unmarked=outside.unmarked)
    follow_revocations = FollowRevocations(
        unguarded,
        outside.revoked,
        outside.clock,
        issuer=settings.issuer,
        max_staleness=settings.revocation_max_staleness.total_seconds(),
        key_revoked=key_bell.ring,
    )

    def doubted() -> bool:
        return follow_revocations.doubted or history.doubted

    storage = TrustedStorage(unguarded, doubted)
    cost = Argon2Parameters(settings.argon2_memory, settings.argon2_passes)
    hasher = HashingPool(cost, concurrency=settings.hash_concurrency, longest_wait=HASHING_WAIT)
    rotation = rotation_policy(settings)
    # Asked for each token that is signed, and always of the same few keys.
    key_entry = lru_cache(maxsize=8)(partial(digest, RevocationKind.KEY, settings.issuer))
    key_ring = KeyRing(
        unguarded,
        outside.clock,
        trusted_for=rotation.propagation / 1000,
        is_revoked=lambda key_id: outside.revoked.holds(key_entry(key_id)),
    )
    read_now = ReadNow(outside.shared.messenger, revocation_bell.ring) if outside.shared else None
    revoker = Revoker(settings.issuer, outside.revoked, _ring(revocation_bell, read_now.bell if read_now else None))
    families = TokenFamilies(outside.secret_ring, session_policy(settings))
    claims = AddedClaims(outside.claims)
    tokens = TokenIssuer(key_ring, families, token_policy(settings))
    opener = OpenSession(families, claims, tokens, revoker, most=settings.max_sessions)
    new_passwords = NewPasswords(hasher, hasher, password_policy(settings))
    replacer = ReplacePassword(storage, new_passwords, opener, revoker)
    refusals = NoteRefusals(unguarded, outside.clock, outside.secret_ring)
    limiter = outside.shared.limiter if outside.shared else MemoryLimiter(outside.clock)
    admission = Admission(LimitAttempts(limiter, limit_policy(settings)), refusals)
    check_password = CheckPassword(hasher, admission)
    establish_keys = EstablishKeys(unguarded, settings.signing_algorithm)
    rotate_keys = RotateKeys(storage, key_ring, rotation, changed=key_bell.ring)
    creator = CreateAccount(storage, new_passwords)
    changer = ChangeAccount(storage, revoker)
    watch_clock = WatchClock(unguarded, outside.clock)
    publish_revocations = PublishRevocations(follow_revocations, key_ring, issuer=settings.issuer)
    return ObjectGraph(
        storage=unguarded,
        doubted=doubted,
        hasher=hasher,
        password_kinds=FollowPasswordKinds(unguarded, hasher),
        accounts=AdministerAccounts(storage, new_passwords, creator, changer),
        import_accounts=ImportAccounts(storage),
        key_ring=key_ring,
        key_bell=key_bell,
        key_poll=rotation.propagation / 1000 / KEY_POLLS,
        establish_keys=establish_keys,
        rotate_keys=rotate_keys,
        history=history,
        purge=Purge(storage, audit_retention=settings.audit_retention // _MILLISECOND),
        refusals=refusals,
        audit=ReadAudit(storage),
        recover=Recover(unguarded, outside.mark, establish_keys),
        revoke_token=RevokeToken(storage, key_ring, revoker, clock=outside.clock),
        watch_clock=watch_clock,
        revocation_bell=revocation_bell,
        shared=outside.shared,
        read_now=read_now,
        together=_together(unguarded, outside, accord_of(settings)),
        follow_revocations=follow_revocations,
        publish_revocations=publish_revocations,
        services=Services(
            login=Login(storage, check_password, opener, replacer),
            refresh=Refresh(storage, families, claims, tokens, revoker, admission=admission),
            logout=Logout(storage, revoker, families, admission.limits),
            change_password=ChangePassword(storage, check_password, opener, replacer),
            list_sessions=ListSessions(storage),
            end_sessions=EndSessions(storage, revoker),
            expel=Expel(storage, revoker),
            overview=ViewOverview(storage),
            administer=AdministerRemotely(storage, creator, changer, shortest=settings.password_min_length),
            register=Register(creator, admission),
            key_ring=key_ring,
            key_set_age=rotation.key_set_age // 1000,
            list_keys=ListKeys(storage, rotation),
            rotate_keys=rotate_keys,
            revoke_key=RevokeKey(storage, key_ring, revoker, rotation),
            verifier=outside.verifiers[settings.issuer],
            verifiers=outside.verifiers,
            refusals=refusals,
            cookies=cookie_policy(settings),
            readiness=CheckReadiness(
                unguarded,
                {
                    Need.REVOCATIONS: lambda: follow_revocations.fresh() and not doubted(),
                    Need.KEYS: key_ring.can_sign,
                    Need.CLOCK: lambda: watch_clock.agrees,
                },
            ),
            metrics=outside.exposition,
            ops_token=settings.ops_token.reveal() if settings.ops_token else None,
            feed=_feed(settings, publish_revocations),
            local=leads_to_loopback(settings.issuer),
        ),
        access_life=settings.access_ttl // _MILLISECOND,
    )


def _feed(settings: Settings, publish: PublishRevocations) -> Feed | None:
    if not has_feed(settings):
        return None
    token = None if settings.feed_public or settings.feed_token is None else settings.feed_token.reveal()
    return Feed(publish, token)


def _together(storage: Storage, outside: Outside, accord: Accord) -> ServeTogether | None:
    if outside.node is None:
        return None
    redis = outside.shared.identity if outside.shared else _no_redis
    return ServeTogether(storage, node=outside.node, redis=redis, accord=accord)


async def _no_redis() -> str:
    return NO_REDIS


def _ring(*bells: Bell | None) -> Callable[[], None]:
    """Return what rings all of them."""

    def ring() -> None:
        for bell in bells:
            if bell is not None:
                bell.ring()

    return ring
