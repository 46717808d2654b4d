"""End sessions from elsewhere: one of one's own, all of them, or those too many, with every access token.

Not here: other people's sessions (`flows.expel`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tokenkeep.domain import revocations
from tokenkeep.domain.audit import Event, EventKind
from tokenkeep.domain.errors import NotFound
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import Client, EndReason, Session
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.revoke import Revoker

BATCH: Final = 100
"""Sessions ended in one transaction when there are many too many."""


class EndSessions:
    """Ends sessions of an account."""

    def __init__(self, storage: Storage, revoker: Revoker) -> None:
        self._storage = storage
        self._revoker = revoker

    async def end_one(self, owner: AccountId, session: SessionId, client: Client) -> None:
        """End one of the owner's sessions and its access tokens.

        Raises:
            NotFound: the owner has no such live session.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        revocation = await self._storage.transact(self._end_one, session, Authority(owner, client))
        if revocation is None:
            raise NotFound
        self._revoker.apply(revocation)

    async def end_all(self, owner: AccountId, client: Client) -> int:
        """End all of the owner's sessions and access tokens, this one too; returns how many sessions there were.

        Raises:
            NotFound: there is no such enabled account.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        ended = await self._storage.transact(end_all_of, owner, Authority(owner, client), self._revoker)
        if ended is None:
            raise NotFound
        count, revocation = ended
        self._revoker.apply(revocation)
        return count

    async def _end_one(self, tx: Transaction, session_id: SessionId, by: Authority) -> Revocation | None:
        found = await tx.sessions.find_with_account(session_id)
        if found is None or found[1].id != by.actor or not found[0].live(tx.now):
            return None
        return await end_one_of(tx, found[0], by, self._revoker)


async def end_one_of(
    tx: Transaction, session: Session, by: Authority, revoker: Revoker, *, reason: EndReason | None = None
) -> Revocation | None:
    """End a session and its access tokens; None if it had ended before.

    Args:
        reason: by default that its owner wished it, or whoever else `by` is.
    """
    revocation = await end_refreshes_of(tx, session, by, reason=reason or _reason(session.account_id, by))
    return None if revocation is None else await revoker.append(tx, revocation)


async def end_refreshes_of(tx: Transaction, session: Session, by: Authority, *, reason: EndReason) -> Revocation | None:
    """End a session and return the revocation of its access tokens, yet to be appended; None if it had ended before."""
    if not await tx.sessions.end(session.id, reason, now=tx.now):
        return None
    await tx.audit.record(_told(tx, session, by, reason))
    return revocations.of_session(session.id, at=tx.now, reason=reason, actor=by.actor)


async def end_surplus_of(tx: Transaction, opened: Session, by: Authority, *, most: int) -> list[Revocation]:
    """End what an account, whose row this transaction has taken, has too many of, the least recently used first.

    Normally that is one session. When `most` was lowered it may be thousands: then no more than `BATCH` end here, and
    the rest when other sessions are opened. Returns the revocations of their access tokens, yet to be appended.

    Args:
        opened: the session just opened, which is kept.
        most: how many of the account may live.
    """
    reason = EndReason.TOO_MANY
    ended = await tx.sessions.end_surplus(opened, reason, most=most, limit=BATCH, now=tx.now)
    for session in ended:
        await tx.audit.record(_told(tx, session, by, reason))
    return await revocations_of(tx, ended, by, reason=reason) if ended else []


async def revocations_of(
    tx: Transaction, ended: list[Session], by: Authority, *, reason: EndReason
) -> list[Revocation]:
    """Return the revocations of those sessions that can have an access token which still lives."""
    life = await tx.revocations.longest_access_life()
    return [
        revocations.of_session(each.id, at=tx.now, reason=reason, actor=by.actor)
        for each in ended
        if revocations.kept_until(each.last_used_at, life) > tx.now
    ]


async def end_all_of(
    tx: Transaction, owner: AccountId, by: Authority, revoker: Revoker
) -> tuple[int, Revocation] | None:
    """End all sessions and access tokens of an enabled account, and return how many sessions; None if it is none."""
    reason = _reason(owner, by)
    account = await tx.accounts.end_tokens(owner)
    if account is None:
        return None
    count = await tx.sessions.end_all(account.id, reason, now=tx.now)
    await tx.audit.record(by.event(EventKind.LOGGED_OUT_EVERYWHERE, tx.now, account_id=owner, detail=reason))
    ended = replace(account, token_version=account.token_version - 1)
    revocation = revocations.of_account_version(ended, at=tx.now, reason=reason, actor=by.actor)
    return count, await revoker.append(tx, revocation)


def _told(tx: Transaction, session: Session, by: Authority, reason: EndReason) -> Event:
    kind, owner = EventKind.SESSION_ENDED, session.account_id
    return by.event(kind, tx.now, account_id=owner, session_id=session.id, detail=reason)


def _reason(owner: AccountId, by: Authority) -> EndReason:
    return EndReason.ENDED_BY_OWNER if by.actor == owner else EndReason.ENDED_BY_ADMIN
