"""Change an account, and end in the same transaction what must end with the change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import ADMIN_ROLE, Account, password_end
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import EndReason
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.find_account import Find
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.revoke import Revoker


@dataclass(frozen=True, slots=True)
class Change:
    """How an account is changed, and how that is remembered.

    Attributes:
        make: carries it out, and returns the account as it then is (as it last was, if it is deleted); None if there
            is nothing to change.
        ends: why the account's sessions end with it, if they do.
        deletes: whether the account is gone after it, with all its sessions.
        keeps_role: whether an administrator is one after it, too.
    """

    make: Callable[[Transaction, Account], Awaitable[Account | None]]
    kind: EventKind
    detail: str = ""
    ends: EndReason | None = None
    deletes: bool = False
    keeps_role: bool = True


async def _disable(tx: Transaction, account: Account) -> Account | None:
    return await tx.accounts.disable(account.id, now=tx.now)


async def _enable(tx: Transaction, account: Account) -> Account | None:
    return await tx.accounts.enable(account.id)


async def _delete(tx: Transaction, account: Account) -> Account | None:
    return await tx.accounts.delete(account.id)


DISABLING = Change(_disable, EventKind.ACCOUNT_DISABLED, ends=EndReason.ACCOUNT_DISABLED, keeps_role=False)
"""Access tokens and sessions end, and nobody can log in."""
ENABLING = Change(_enable, EventKind.ACCOUNT_ENABLED)
"""The account can log in again; what has ended stays ended."""
DELETION = Change(_delete, EventKind.ACCOUNT_DELETED, deletes=True, keeps_role=False)
"""Account, sessions and access tokens are gone for good."""


def new_role(role: str) -> Change:
    """Return the change to another role: access tokens end, sessions go on with the new one."""

    async def make(tx: Transaction, account: Account) -> Account | None:
        return None if account.role == role else await tx.accounts.set_role(account.id, role=role)

    return Change(make, EventKind.ROLE_CHANGED, detail=role, keeps_role=role == ADMIN_ROLE)


def new_password(password_hash: str, *, temporary: bool) -> Change:
    """Return the change to another password, which may be a temporary one: sessions and access tokens end."""

    async def make(tx: Transaction, account: Account) -> Account | None:
        end = password_end(tx.now, temporary=temporary)
        return await tx.accounts.set_password(account.id, password_hash=password_hash, expires_at=end)

    detail = "temporary" if temporary else ""
    return Change(make, EventKind.PASSWORD_SET, detail, ends=EndReason.PASSWORD_CHANGED)


class ChangeAccount:
    """Carries out changes."""

    def __init__(self, storage: Storage, revoker: Revoker) -> None:
        self._storage = storage
        self._revoker = revoker

    async def change(self, find: Find, change: Change, by: Authority) -> Account:
        """Change the account that is found, and return it as it now is, or last was.

        Raises:
            Forbidden: an administrator is none any more.
            StorageUnavailable: the database did not answer; nothing changed.
            Refusal: what `find` raised.
        """
        account, revocation = await self._storage.transact(self._apply, find, change, by)
        self._revoker.apply(revocation)
        return account

    async def _apply(
        self, tx: Transaction, find: Find, change: Change, by: Authority
    ) -> tuple[Account, Revocation | None]:
        await by.hold(tx)
        before = await find(tx)
        after = await change.make(tx, before)
        if after is None:
            return before, None
        if change.ends is not None:
            await tx.sessions.end_all(after.id, change.ends, now=tx.now)
        await tx.audit.record(by.event(change.kind, tx.now, account_id=after.id, detail=change.detail))
        ended = _ended(before, after, change)
        if ended is None:
            return after, None
        revocation = revocations.of_account_version(ended, at=tx.now, reason=change.kind, actor=by.actor)
        return after, await self._revoker.append(tx, revocation)


def _ended(before: Account, after: Account, change: Change) -> Account | None:
    """Return the account with the token version that ended with a change, if one did."""
    if change.deletes:
        return after
    if after.token_version == before.token_version:
        return None
    return replace(after, token_version=after.token_version - 1)
