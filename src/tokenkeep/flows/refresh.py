"""Refresh: exchange a refresh token for the next pair, repeat a lost answer, and end a session whose token leaked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import SYSTEM, Event, EventKind
from tokenkeep.domain.errors import InvalidRefreshToken, NoValidRefreshToken, StorageUnavailable
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.secrets import Purpose, SecretRing, UnknownSecretVersion
from tokenkeep.domain.sessions import (
    Client,
    Delivery,
    EndReason,
    Presented,
    RefreshToken,
    Session,
    SessionPolicy,
    Verdict,
    advanced,
    judge_refresh,
)
from tokenkeep.flows.issue_tokens import TokenIssuer, TokenPair
from tokenkeep.flows.limit_attempts import LimitAttempts
from tokenkeep.flows.note_refusals import NoteRefusals
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.revoke import Revoker

MOST_ROUNDS: Final = 10
"""How often one refresh may lose its row to another before it gives up; each loss means that somebody else won."""

_ALARMS: Final = {
    Verdict.REUSE: (EndReason.REUSE, EventKind.REFRESH_REUSED),
    Verdict.ROLLED_BACK: (EndReason.ROLLED_BACK, EventKind.REFRESH_ROLLED_BACK),
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the transaction came to: a verdict, and what follows from it."""

    verdict: Verdict
    session: Session | None = None
    account: Account | None = None
    now: int = 0
    revocation: Revocation | None = None


class Refresh:
    """Exchanges refresh tokens."""

    def __init__(
        self,
        storage: Storage,
        issuer: TokenIssuer,
        revoker: Revoker,
        *,
        secret_ring: SecretRing,
        policy: SessionPolicy,
        refusals: NoteRefusals,
        limits: LimitAttempts,
    ) -> None:
        self._storage = storage
        self._issuer = issuer
        self._revoker = revoker
        self._secrets = secret_ring
        self._policy = policy
        self._refusals = refusals
        self._limits = limits

    async def refresh(
        self, presented: str, client: Client, *, delivery: Delivery, audience: str | None = None
    ) -> TokenPair:
        """Exchange a refresh token for the next pair; a reused one ends its session.

        Args:
            presented: the token's text.
            client: who asks; only the same program gets a lost answer repeated.
            delivery: how the token came.
            audience: whom the access token is for; the issuer itself when None.

        Raises:
            InvalidRefreshToken: malformed, forged, sent the wrong way, or overtaken by a newer one.
            NoValidRefreshToken: its session is over, or is over from now on because the token was used before.
            InvalidField: the audience is not served here.
            Throttled: too many refreshes from this address.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        await self._limits.admit_refresh(client)
        served = self._issuer.policy.audience(audience)
        token = self._parse(presented, client)
        arrival = Presented(token.generation, delivery, client.fingerprint())
        extra = await self._extra_claims(token)
        outcome = await self._storage.transact(self._judge_and_advance, token, arrival, client)
        self._revoker.apply(outcome.revocation)
        match outcome.verdict:
            case Verdict.ROTATE | Verdict.REPLAY if outcome.session is not None and outcome.account is not None:
                return self._issuer.issue(outcome.session, outcome.account, served, outcome.now, extra)
            case Verdict.INVALID | Verdict.OVERTAKEN:
                self._note(outcome, client)
                raise InvalidRefreshToken(outcome.verdict.value)
            case _:
                self._note(outcome, client)
                raise NoValidRefreshToken(outcome.verdict.value)

    def _parse(self, presented: str, client: Client) -> RefreshToken:
        try:
            return RefreshToken.parse(presented)
        except InvalidRefreshToken as refusal:
            self._refusals.note(EventKind.REFRESH_REFUSED, client, detail=refusal.detail)
            raise

    async def _extra_claims(self, token: RefreshToken) -> Mapping[str, Any]:
        if not self._issuer.hooked:
            return {}
        found = await self._storage.read(find_authentic, token, self._secrets)
        return self._issuer.extra_claims(found[1]) if found else {}

    def _note(self, outcome: _Outcome, client: Client) -> None:
        if outcome.verdict in _ALARMS and outcome.revocation is not None:
            return  # its event was stored with the end of the session
        session = outcome.session
        self._refusals.note(
            EventKind.REFRESH_REFUSED,
            client,
            account_id=session.account_id if session else None,
            session_id=session.id if session else None,
            detail=outcome.verdict.value,
        )

    async def _judge_and_advance(
        self, tx: Transaction, token: RefreshToken, arrival: Presented, client: Client
    ) -> _Outcome:
        for _ in range(MOST_ROUNDS):
            found = await find_authentic(tx, token, self._secrets)
            if found is None:
                return _Outcome(Verdict.INVALID)
            session, account = found
            verdict = judge_refresh(session, arrival, tx.now, self._policy, account_disabled=account.disabled)
            match verdict:
                case Verdict.ROTATE:
                    successor = advanced(session, client, tx.now, self._policy)
                    if await tx.sessions.advance(session, successor):
                        await tx.audit.record(_event(EventKind.REFRESH_ROTATED, tx, session, client))
                        return _Outcome(verdict, successor, account, tx.now)
                case Verdict.REPLAY:
                    if await tx.sessions.touch(session, now=tx.now):
                        await tx.audit.record(_event(EventKind.REFRESH_REPLAYED, tx, session, client))
                        return _Outcome(verdict, session, account, tx.now)
                case Verdict.REUSE | Verdict.ROLLED_BACK:
                    alarm = await self._raise_alarm(tx, session, verdict, client)
                    return _Outcome(verdict, session, revocation=alarm)
                case _:
                    return _Outcome(verdict, session)
        raise StorageUnavailable("a refresh lost its row too often")

    async def _raise_alarm(
        self, tx: Transaction, session: Session, verdict: Verdict, client: Client
    ) -> Revocation | None:
        reason, kind = _ALARMS[verdict]
        if not await tx.sessions.end(session.id, reason, now=tx.now):
            return None
        await tx.audit.record(replace(_event(kind, tx, session, client), actor=SYSTEM))
        revocation = revocations.of_session(session.id, at=tx.now, reason=reason, actor=SYSTEM)
        return await self._revoker.append(tx, revocation)


def _event(kind: EventKind, tx: Transaction, session: Session, client: Client) -> Event:
    return Event(
        kind,
        tx.now,
        session.account_id,
        account_id=session.account_id,
        session_id=session.id,
        address=client.address,
        user_agent=client.user_agent,
    )


async def find_authentic(
    tx: Transaction, token: RefreshToken, secret_ring: SecretRing
) -> tuple[Session, Account] | None:
    """Return the session that a token names, and its account, if the token's tag is the session's own."""
    found = await tx.sessions.find_with_account(token.session_id)
    if found is None:
        return None
    try:
        refresh_secret = secret_ring.key(found[0].secret_version, Purpose.REFRESH)
    except UnknownSecretVersion:
        return None
    return found if token.authentic(found[0], refresh_secret) else None
