"""End sessions from elsewhere: one of one's own, or all of them, with every access token."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenkeep.domain import revocations
from tokenkeep.domain.audit import Event, EventKind
from tokenkeep.domain.errors import NotFound
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import Client, EndReason
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.revoke import Revoker


@dataclass(frozen=True, slots=True)
class _Order:
    """Whose sessions end, and who wants it from where."""

    owner: AccountId
    actor: str
    client: Client
    reason: EndReason


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
        order = _Order(owner, owner, client, EndReason.ENDED_BY_OWNER)
        revocation = await self._storage.transact(self._end_one, order, session)
        if revocation is None:
            raise NotFound
        self._revoker.apply(revocation)

    async def end_all(self, owner: AccountId, client: Client, *, actor: str) -> int:
        """End all of the owner's sessions and access tokens, this one too; returns how many sessions there were.

        Raises:
            NotFound: there is no such enabled account.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        reason = EndReason.ENDED_BY_OWNER if actor == owner else EndReason.ENDED_BY_ADMIN
        ended = await self._storage.transact(self._end_all, _Order(owner, actor, client, reason))
        if ended is None:
            raise NotFound
        count, revocation = ended
        self._revoker.apply(revocation)
        return count

    async def _end_one(self, tx: Transaction, order: _Order, session_id: SessionId) -> Revocation | None:
        found = await tx.sessions.find_with_account(session_id)
        if found is None or found[1].id != order.owner or not found[0].live(tx.now):
            return None
        if not await tx.sessions.end(session_id, order.reason, now=tx.now):
            return None
        await tx.audit.record(_event(EventKind.SESSION_ENDED, tx, order, session_id))
        revocation = revocations.of_session(session_id, at=tx.now, reason=order.reason, actor=order.actor)
        return await self._revoker.append(tx, revocation)

    async def _end_all(self, tx: Transaction, order: _Order) -> tuple[int, Revocation] | None:
        account = await tx.accounts.end_tokens(order.owner)
        if account is None:
            return None
        count = await tx.sessions.end_all(account.id, order.reason, now=tx.now)
        await tx.audit.record(_event(EventKind.LOGGED_OUT_EVERYWHERE, tx, order))
        ended = replace(account, token_version=account.token_version - 1)
        revocation = revocations.of_account_version(ended, at=tx.now, reason=order.reason, actor=order.actor)
        return count, await self._revoker.append(tx, revocation)


def _event(kind: EventKind, tx: Transaction, order: _Order, session_id: SessionId | None = None) -> Event:
    return Event(
        kind,
        tx.now,
        order.actor,
        account_id=order.owner,
        session_id=session_id,
        address=order.client.address,
        user_agent=order.client.user_agent,
        detail=order.reason,
    )
