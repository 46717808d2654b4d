"""Log in: check a name and password, open a session, hand out its first pair of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import Account, normalise_password, parse_name
from tokenkeep.domain.audit import Event, EventKind
from tokenkeep.domain.errors import InvalidCredentials
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.limits import FAMILIAR_FOR
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import Client, Delivery, EndReason, RefreshToken, Session
from tokenkeep.flows.issue_tokens import TokenIssuer, TokenPair
from tokenkeep.flows.limit_attempts import LimitAttempts
from tokenkeep.flows.note_refusals import NoteRefusals
from tokenkeep.flows.open_session import OpenSession, SessionDraft
from tokenkeep.flows.ports import PasswordHasher, Storage, Transaction
from tokenkeep.flows.refresh import find_authentic
from tokenkeep.flows.revoke import Revoker


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and password as they were presented; people type passwords in the place of names."""

    name: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A login whose form is good, and that has not been judged yet."""

    name_key: str = field(repr=False)
    password: str = field(repr=False)
    client: Client
    delivery: Delivery
    replaces: RefreshToken | None


@dataclass(frozen=True, slots=True)
class _Opening:
    """What a new session is made of, drawn before its transaction."""

    account: Account
    password_hash: str = field(repr=False)
    draft: SessionDraft
    replaces: RefreshToken | None
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A session that was stored, and what ended with its beginning."""

    session: Session
    account: Account
    extra: Mapping[str, Any]
    replaced: Revocation | None = None


class Login:
    """Opens sessions for those who know the password."""

    def __init__(
        self,
        storage: Storage,
        hasher: PasswordHasher,
        issuer: TokenIssuer,
        revoker: Revoker,
        opener: OpenSession,
        *,
        refusals: NoteRefusals,
        limits: LimitAttempts,
    ) -> None:
        self._storage = storage
        self._hasher = hasher
        self._issuer = issuer
        self._revoker = revoker
        self._opener = opener
        self._refusals = refusals
        self._limits = limits

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
            Throttled: too many attempts on this name, from this address, or in all.
            HashingBusy: too many logins are waiting.
            StorageUnavailable: the database did not answer.
        """
        await self._limits.admit_login(client)
        served = self._issuer.policy.audience(audience)
        name = parse_name(credentials.name)
        password = normalise_password(credentials.password)
        attempt = _Attempt(name.key, password, client, delivery, replaces)
        # A second look at an account that changed while its password was being checked: another login may just have
        # stored the same password's hash anew.
        opened = await self._try(attempt) or await self._try(attempt)
        if opened is None:
            raise InvalidCredentials("the account changed while its password was being checked")
        self._revoker.apply(opened.replaced)
        return self._issuer.issue(opened.session, opened.account, served, opened.session.created_at, opened.extra)

    async def _try(self, attempt: _Attempt) -> _Opened | None:
        account, familiar = await self._storage.read(_find_by_name, attempt.name_key)
        bucket = await self._limits.admit_name(attempt.name_key, attempt.client, familiar)
        usable = account is not None and not account.disabled
        stored = account.password_hash if account is not None and usable else None
        async with self._limits.checking(bucket):
            right = await self._hasher.verify(stored, attempt.password)
        if not right or account is None or stored is None:
            self._note(account, attempt.name_key, attempt.client)
            raise InvalidCredentials
        await self._limits.forgive(bucket)
        opening = _Opening(
            account=account,
            password_hash=await self._hasher.hash(attempt.password) if self._hasher.outdated(stored) else stored,
            draft=SessionDraft.draw(attempt.client, attempt.delivery),
            replaces=attempt.replaces,
            extra=self._issuer.extra_claims(account),
        )
        return await self._storage.transact(self._open_session, opening)

    def _note(self, account: Account | None, name_key: str, client: Client) -> None:
        if account is None:
            detail = f"unknown name {self._refusals.pseudonym(name_key)}"
            self._refusals.note(EventKind.LOGIN_REFUSED, client, detail=detail)
        else:
            detail = "disabled" if account.disabled else "wrong password"
            self._refusals.note(EventKind.LOGIN_REFUSED, client, account_id=account.id, detail=detail)

    async def _open_session(self, tx: Transaction, opening: _Opening) -> _Opened | None:
        account = opening.account
        if not await tx.accounts.claim_for_login(account, password_hash=opening.password_hash, now=tx.now):
            return None
        session = await self._opener.open(tx, account, opening.draft)
        opened = _Opened(session, account, opening.extra)
        if opening.replaces is None:
            return opened
        return replace(opened, replaced=await self._end_replaced(tx, opening.replaces, session))

    async def _end_replaced(self, tx: Transaction, token: RefreshToken, successor: Session) -> Revocation | None:
        found = await find_authentic(tx, token, self._opener.secret_ring)
        if found is None or not await tx.sessions.end(token.session_id, EndReason.REPLACED, now=tx.now):
            return None
        await tx.audit.record(
            Event(
                EventKind.SESSION_ENDED,
                tx.now,
                successor.account_id,
                account_id=found[1].id,
                session_id=token.session_id,
                address=successor.address,
                user_agent=successor.user_agent,
                detail=EndReason.REPLACED,
            )
        )
        revocation = revocations.of_session(
            token.session_id, at=tx.now, reason=EndReason.REPLACED, actor=successor.account_id
        )
        return await self._revoker.append(tx, revocation)


async def _find_by_name(tx: Transaction, name_key: str) -> tuple[Account | None, list[str]]:
    """Return the account, and the addresses from which it was used lately; as much is asked about nobody."""
    account = await tx.accounts.find_by_name(name_key)
    known_as = account.id if account else AccountId("")
    return account, await tx.sessions.addresses_of(known_as, since=tx.now - FAMILIAR_FOR)
