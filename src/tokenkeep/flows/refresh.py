"""Refresh: exchange a refresh token for the next pair, repeat a lost answer, and end a session whose token leaked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import SYSTEM, Event, EventKind
from tokenkeep.domain.errors import InvalidRefreshToken, NoValidRefreshToken, Refusal, StorageUnavailable
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import Client, Delivery, EndReason, Presented, RefreshToken, Session, Verdict
from tokenkeep.flows.added_claims import AddedClaims
from tokenkeep.flows.admission import Admission
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.issue_tokens import TokenIssuer, TokenPair
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.revoke import Revoker
from tokenkeep.flows.token_families import TokenFamilies

MOST_ROUNDS: Final = 10
"""How often one refresh may lose its row to another before it gives up; each loss means that somebody else won."""
MOST_QUESTIONS: Final = 3
"""How often the embedding application is asked what it adds, when the account changes between question and answer."""

_ALARMS: Final = {
    Verdict.REUSE: (EndReason.REUSE, EventKind.REFRESH_REUSED),
    Verdict.ROLLED_BACK: (EndReason.ROLLED_BACK, EventKind.REFRESH_ROLLED_BACK),
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the embedding application adds for an account of this token version; for any, if nobody was asked."""

    added: Mapping[str, Any]
    version: int | None = None

    def fits(self, account: Account) -> bool:
        """Tell whether the account has kept its role, and whatever else raises the version, since the question."""
        return self.version in {None, account.token_version}


@dataclass(frozen=True, slots=True)
class _Granted:
    """A session as it stands after its rotation or repetition, for which tokens are to be issued."""

    session: Session
    account: Account
    now: int
    added: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Leaked:
    """A session whose token somebody else must have, so that it has to end."""

    verdict: Verdict
    session: Session


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why there are no tokens, whose session it was if any, and the revocation if it ended with that."""

    verdict: Verdict
    session: Session | None = None
    revocation: Revocation | None = None


async def _stays() -> bool:
    return True


class Refresh:
    """Exchanges refresh tokens."""

    def __init__(
        self,
        storage: Storage,
        families: TokenFamilies,
        claims: AddedClaims,
        issuer: TokenIssuer,
        revoker: Revoker,
        *,
        admission: Admission,
    ) -> None:
        self._storage = storage
        self._families = families
        self._claims = claims
        self._issuer = issuer
        self._revoker = revoker
        self._admission = admission

    async def refresh(
        self,
        presented: str,
        client: Client,
        *,
        delivery: Delivery,
        audience: str | None = None,
        still_waits: Callable[[], Awaitable[bool]] = _stays,
    ) -> TokenPair:
        """Exchange a refresh token for the next pair; a reused one ends its session, if anybody waits for the answer.

        A request that lay in a stopped process or a full queue, and was given up and repeated elsewhere, carries an
        old token when it is read at last. Whoever has left before the verdict gets nothing for a token, so no alarm is
        due. Whoever leaves after it may have waited to see whether tokens come, as a thief would.

        Args:
            presented: the token's text.
            client: who asks; only the same program gets a lost answer repeated.
            delivery: how the token came.
            audience: whom the access token is for; the issuer itself when None.
            still_waits: tells whether the sender still waits for the answer; asked only about a token that was reused.

        Raises:
            InvalidRefreshToken: malformed, forged, sent the wrong way, or overtaken by a newer one.
            NoValidRefreshToken: its session is over, or is over from now on because the token was used before.
            InvalidField: the audience is not served here.
            Throttled: too many refreshes from this address.
            Unavailable: there is no key to sign with now; nothing changed.
            StorageUnavailable: the database did not answer, or the account changed too often; nothing changed.
        """
        await self._admission.limits.admit_refresh(client)
        served = self._issuer.policy.audience(audience)
        token = self._parse(presented, client)
        self._issuer.require_key()
        arrival = Presented(token.generation, delivery, client.fingerprint())
        outcome = await self._settle(token, arrival, client, still_waits)
        match outcome:
            case _Granted():
                return self._issuer.issue(outcome.session, outcome.account, served, outcome.now, outcome.added)
            case _Refused():
                self._revoker.apply(outcome.revocation)
                self._note(outcome, client)
                raise _refusal(outcome.verdict)

    def _parse(self, presented: str, client: Client) -> RefreshToken:
        try:
            return RefreshToken.parse(presented)
        except InvalidRefreshToken:
            self._note(_Refused(Verdict.INVALID), client)
            raise

    async def _settle(
        self, token: RefreshToken, arrival: Presented, client: Client, still_waits: Callable[[], Awaitable[bool]]
    ) -> _Granted | _Refused:
        for _ in range(MOST_QUESTIONS):
            asked = await self._ask(token)
            outcome = await self._storage.change_once(self._judge_and_advance, token, arrival, client, asked)
            match outcome:
                case _Leaked(verdict=Verdict.REUSE) if not await still_waits():
                    return _Refused(Verdict.ABANDONED, outcome.session)
                case _Leaked():
                    return await self._storage.transact(self._raise_alarm, outcome, client)
                case _Granted() | _Refused():
                    return outcome
        raise StorageUnavailable("an account changed each time its added claims were asked for")

    async def _ask(self, token: RefreshToken) -> _Asked:
        if not self._claims.wanted:
            return _Asked({})
        found = await self._storage.read(self._families.find, token)
        if found is None:
            return _Asked({}, version=0)
        account = found[1]
        return _Asked(self._claims.of(account), account.token_version)

    def _note(self, refused: _Refused, client: Client) -> None:
        if refused.revocation is not None:
            return  # its event was stored with the end of the session
        session = refused.session
        self._admission.refusals.note(
            EventKind.REFRESH_REFUSED,
            client,
            account_id=session.account_id if session else None,
            session_id=session.id if session else None,
            detail=refused.verdict.value,
        )

    async def _judge_and_advance(
        self, tx: Transaction, token: RefreshToken, arrival: Presented, client: Client, asked: _Asked
    ) -> _Granted | _Refused | _Leaked | None:
        """Do what the verdict demands of the session; None, and nothing done, if the added claims are outdated."""
        for _ in range(MOST_ROUNDS):
            found = await self._families.find(tx, token)
            if found is None:
                return _Refused(Verdict.INVALID)
            session, account = found
            verdict = self._families.judge(session, arrival, tx.now, account=account)
            match verdict:
                case Verdict.ROTATE | Verdict.REPLAY if not asked.fits(account):
                    return None
                case Verdict.ROTATE:
                    successor = self._families.successor(session, client, tx.now)
                    event = _event(EventKind.REFRESH_ROTATED, tx, session, Authority(account.id, client))
                    if await tx.sessions.advance(session, successor, event=event):
                        return _Granted(successor, account, tx.now, asked.added)
                case Verdict.REPLAY:
                    event = _event(EventKind.REFRESH_REPLAYED, tx, session, Authority(account.id, client))
                    if await tx.sessions.touch(session, event=event):
                        return _Granted(session, account, tx.now, asked.added)
                case Verdict.REUSE | Verdict.ROLLED_BACK:
                    return _Leaked(verdict, session)
                case _:
                    return _Refused(verdict, session)
        raise StorageUnavailable("a refresh lost its row too often")

    async def _raise_alarm(self, tx: Transaction, leaked: _Leaked, client: Client) -> _Refused:
        """End the session, if it has not ended since; no later state of it makes its token a good one again."""
        verdict, session = leaked.verdict, leaked.session
        reason, kind = _ALARMS[verdict]
        if not await tx.sessions.end(session.id, reason, now=tx.now):
            return _Refused(verdict, session)
        await tx.audit.record(_event(kind, tx, session, Authority(SYSTEM, client)))
        revocation = revocations.of_session(session.id, at=tx.now, reason=reason, actor=SYSTEM)
        return _Refused(verdict, session, await self._revoker.append(tx, revocation))


def _event(kind: EventKind, tx: Transaction, session: Session, by: Authority) -> Event:
    return by.event(kind, tx.now, account_id=session.account_id, session_id=session.id)


def _refusal(verdict: Verdict) -> Refusal:
    if verdict in {Verdict.INVALID, Verdict.OVERTAKEN}:
        return InvalidRefreshToken(verdict.value)
    return NoValidRefreshToken(verdict.value)
