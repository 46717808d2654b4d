"""Expel: end other people's sessions, one, all of an account, or everyone's, with their access tokens."""

from __future__ import annotations

from typing import Final

from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.errors import NotFound
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import EndReason, Session
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.end_sessions import end_all_of, end_one_of, revocations_of
from tokenkeep.flows.find_account import Find
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.revoke import Revoker

BATCH: Final = 100
"""Sessions ended in one transaction when everyone's end."""


class Expel:
    """Ends sessions of others. `by` is an operator, or an administrator who is held to be one still."""

    def __init__(self, storage: Storage, revoker: Revoker) -> None:
        self._storage = storage
        self._revoker = revoker

    async def from_account(self, find: Find, *, by: Authority) -> int:
        """End all sessions and access tokens of an account; returns how many sessions.

        A disabled account has neither, and stays as it is.

        Raises:
            NotFound: there is no such account.
            Forbidden: an administrator is none any more.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        count, revocation = await self._storage.transact(self._from_account, find, by)
        self._revoker.apply(revocation)
        return count

    async def from_session(self, session_id: SessionId, *, by: Authority) -> AccountId:
        """End one session and its access tokens; returns whose it was.

        Raises:
            NotFound: there is no such live session.
            Forbidden: an administrator is none any more.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        owner, revocation = await self._storage.transact(self._from_session, session_id, by)
        self._revoker.apply(revocation)
        return owner

    async def everyone(self, *, by: Authority) -> int:
        """End every session that has begun by now, and its access tokens, in small batches; returns how many.

        Raises:
            StorageUnavailable: the database did not answer; those ended before stay ended.
        """
        begun_by = await self._storage.read(_now)
        count, after = 0, ""
        while True:
            ended, last, appended = await self._storage.transact(self._some, after, begun_by, by)
            for revocation in appended:
                self._revoker.apply(revocation)
            count += ended
            if last is None:
                return count
            after = last

    async def _from_account(self, tx: Transaction, find: Find, by: Authority) -> tuple[int, Revocation | None]:
        await by.hold(tx)
        account = await find(tx)
        return await end_all_of(tx, account.id, by, self._revoker) or (0, None)

    async def _from_session(
        self, tx: Transaction, session_id: SessionId, by: Authority
    ) -> tuple[AccountId, Revocation]:
        await by.hold(tx)
        found = await tx.sessions.find_with_account(session_id)
        revocation = None
        if found is not None and found[0].live(tx.now):
            revocation = await end_one_of(tx, found[0], by, self._revoker)
        if found is None or revocation is None:
            raise NotFound(f"there is no live session {session_id}; tokenkeep sessions list shows them")
        return found[0].account_id, revocation

    async def _some(
        self, tx: Transaction, after: str, begun_by: int, by: Authority
    ) -> tuple[int, str | None, list[Revocation]]:
        """End a batch of sessions.

        Returns how many, the last id looked at if there may be more, and the revocations to apply.
        """
        await by.hold(tx)
        sessions = await tx.sessions.unended(after, begun_by=begun_by, limit=BATCH)
        ended = [each for each in sessions if await tx.sessions.end(each.id, EndReason.ENDED_BY_ADMIN, now=tx.now)]
        if ended:
            event = by.event(EventKind.EVERYONE_LOGGED_OUT, tx.now, detail=f"{len(ended)} sessions")
            await tx.audit.record(event)
        appended = await self._revoke(tx, ended, by)
        return len(ended), sessions[-1].id if len(sessions) == BATCH else None, appended

    async def _revoke(self, tx: Transaction, ended: list[Session], by: Authority) -> list[Revocation]:
        due = await revocations_of(tx, ended, by, reason=EndReason.ENDED_BY_ADMIN)
        return [await self._revoker.append(tx, each) for each in due]


async def _now(tx: Transaction) -> int:
    return tx.now
