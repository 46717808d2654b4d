"""Log in: check a name and password, open a session, hand out its first pair of tokens."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import Account, normalise_password, parse_name
from tokenkeep.domain.audit import Event, EventKind
from tokenkeep.domain.errors import InvalidCredentials
from tokenkeep.domain.identifiers import ID_SIZE, session_id
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.secrets import SecretRing
from tokenkeep.domain.sessions import SECRET_SIZE, Client, Delivery, EndReason, RefreshToken, Session, SessionPolicy
from tokenkeep.flows.issue_tokens import TokenIssuer, TokenPair
from tokenkeep.flows.ports import PasswordHasher, Storage, Transaction
from tokenkeep.flows.refresh import find_authentic
from tokenkeep.flows.revoke import Revoker


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and password as they were presented."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Opening:
    """What a new session is made of, drawn before its transaction."""

    account: Account
    password_hash: str = field(repr=False)
    client: Client
    delivery: Delivery
    raw_id: bytes
    secret: bytes = field(repr=False)
    replaces: RefreshToken | None


class Login:
    """Opens sessions for those who know the password."""

    def __init__(
        self,
        storage: Storage,
        hasher: PasswordHasher,
        issuer: TokenIssuer,
        revoker: Revoker,
        *,
        secret_ring: SecretRing,
        policy: SessionPolicy,
    ) -> None:
        self._storage = storage
        self._hasher = hasher
        self._issuer = issuer
        self._revoker = revoker
        self._secrets = secret_ring
        self._policy = policy

    async def login(
        self,
        credentials: Credentials,
        client: Client,
        *,
        delivery: Delivery,
        audience: str | None = None,
        replaces: RefreshToken | None = None,
    ) -> TokenPair:
        """Check the credentials and open a session; a refused login costs the same whatever was wrong.

        Args:
            delivery: how the session's refresh tokens will travel.
            audience: whom the access token is for; the issuer itself when None.
            replaces: the refresh token that the request carried; its session ends when this one begins.

        Raises:
            InvalidCredentials: unknown name, wrong password, or disabled account.
            InvalidField: the name, password or audience is of no acceptable form.
            HashingBusy: too many logins are waiting.
            StorageUnavailable: the database did not answer.
        """
        served = self._issuer.policy.audience(audience)
        name = parse_name(credentials.name)
        password = normalise_password(credentials.password)
        account = await self._storage.read(_find_by_name, name.key)
        usable = account is not None and not account.disabled
        stored = account.password_hash if account is not None and usable else None
        if not await self._hasher.verify(stored, password) or account is None or stored is None:
            raise InvalidCredentials
        opening = _Opening(
            account=account,
            password_hash=await self._hasher.hash(password) if self._hasher.outdated(stored) else stored,
            client=client,
            delivery=delivery,
            raw_id=secrets.token_bytes(ID_SIZE),
            secret=secrets.token_bytes(SECRET_SIZE),
            replaces=replaces,
        )
        opened = await self._storage.transact(self._open_session, opening)
        if opened is None:
            raise InvalidCredentials("the account changed while its password was being checked")
        session, ended = opened
        self._revoker.apply(ended)
        return self._issuer.issue(session, account, served, session.created_at)

    async def _open_session(self, tx: Transaction, opening: _Opening) -> tuple[Session, Revocation | None] | None:
        account = opening.account
        if not await tx.accounts.claim_for_login(account, password_hash=opening.password_hash, now=tx.now):
            return None
        session = self._new_session(opening, tx.now)
        await tx.sessions.add(session)
        await tx.audit.record(_event(EventKind.SESSION_STARTED, session))
        if opening.replaces is None:
            return session, None
        return session, await self._end_replaced(tx, opening.replaces, account)

    async def _end_replaced(self, tx: Transaction, token: RefreshToken, account: Account) -> Revocation | None:
        found = await find_authentic(tx, token, self._secrets)
        if found is None or not await tx.sessions.end(token.session_id, EndReason.REPLACED, now=tx.now):
            return None
        revocation = revocations.of_session(token.session_id, at=tx.now, reason=EndReason.REPLACED, actor=account.id)
        return await self._revoker.append(tx, revocation)

    def _new_session(self, opening: _Opening, now: int) -> Session:
        return Session(
            id=session_id(opening.raw_id),
            account_id=opening.account.id,
            secret=opening.secret,
            secret_version=self._secrets.current,
            generation=0,
            rotated_at=now,
            previous_rotated_at=now,
            created_at=now,
            last_used_at=now,
            idle_expires_at=now + self._policy.idle,
            expires_at=now + self._policy.absolute,
            delivery=opening.delivery,
            methods=("pwd",),
            user_agent=opening.client.user_agent,
            fingerprint=opening.client.fingerprint(),
            address=opening.client.address,
        )


def _event(kind: EventKind, session: Session) -> Event:
    return Event(
        kind,
        session.created_at,
        session.account_id,
        account_id=session.account_id,
        session_id=session.id,
        address=session.address,
        user_agent=session.user_agent,
    )


async def _find_by_name(tx: Transaction, name_key: str) -> Account | None:
    return await tx.accounts.find_by_name(name_key)
