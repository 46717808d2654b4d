"""Replace a password by its owner, who has just shown to know it: everything of before ends, and a session begins.

Not here: how it was shown (`flows.login` with a temporary password, `flows.change_password` with an access token).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import Account, AccountName, require_other
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import EndReason
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.new_passwords import NewPasswords
from tokenkeep.flows.open_session import Opened, Opening, OpenSession, Wish
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.revoke import Revoker


@dataclass(frozen=True, slots=True)
class Passwords:
    """The password somebody has, and the one that is to replace it."""

    current: str = field(repr=False)
    new: str = field(repr=False)


class ReplacePassword:
    """Gives an account the password that its owner chose."""

    def __init__(self, storage: Storage, new_passwords: NewPasswords, opener: OpenSession, revoker: Revoker) -> None:
        self._storage = storage
        self._new_passwords = new_passwords
        self._opener = opener
        self._revoker = revoker

    async def replace(self, account: Account, passwords: Passwords, wish: Wish) -> TokenPair | None:
        """Replace the password and return the first pair of a new session; None if the account changed meanwhile.

        All sessions and access tokens of before end.

        Args:
            account: as it was read when `passwords.current`, normalised, was found right.

        Raises:
            InvalidField: the new password breaks a rule, or is the temporary one again.
            HashingBusy: too many passwords are waiting to be checked.
            Unavailable: there is no key to sign with now.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        name = AccountName(account.name, account.name_key)
        judged = await self._new_passwords.judged(passwords.new, name, field="newPassword")
        if account.has_temporary_password:
            require_other(judged, passwords.current, field="newPassword")
        new_hash = await self._new_passwords.hash_judged(judged)
        opening = self._opener.prepare(account, wish)
        replaced = await self._storage.transact(self._replace, account, new_hash, opening)
        if replaced is None:
            return None
        opened, revocation = replaced
        self._revoker.apply(revocation)
        return self._opener.hand_out(opened)

    async def _replace(
        self, tx: Transaction, before: Account, new_hash: str, opening: Opening
    ) -> tuple[Opened, Revocation] | None:
        login_at = tx.now if before.has_temporary_password else None
        changed = await tx.accounts.change_password(before, password_hash=new_hash, login_at=login_at)
        if changed is None:
            return None
        await tx.sessions.end_all(changed.id, EndReason.PASSWORD_CHANGED, now=tx.now)
        opened = await self._opener.open(tx, changed, opening)
        by = Authority(changed.id, opening.wish.client)
        await tx.audit.record(
            by.event(EventKind.PASSWORD_CHANGED, tx.now, account_id=changed.id, session_id=opened.session.id)
        )
        ended = replace(changed, token_version=before.token_version)
        revocation = revocations.of_account_version(ended, at=tx.now, reason=EndReason.PASSWORD_CHANGED, actor=by.actor)
        return opened, await self._revoker.append(tx, revocation)
