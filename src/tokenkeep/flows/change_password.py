"""Change one's own password: all sessions and access tokens end, and a new session begins."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tokenkeep.contract.access_token import AccessToken
from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import Account, AccountName, normalise_password
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.errors import InvalidCredentials
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import Client, Delivery, EndReason
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.check_password import CheckPassword, Guess
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


class ChangePassword:
    """Lets the bearer of an access token replace the password, who must know the old one."""

    def __init__(
        self,
        storage: Storage,
        passwords: CheckPassword,
        new_passwords: NewPasswords,
        opener: OpenSession,
        revoker: Revoker,
    ) -> None:
        self._storage = storage
        self._passwords = passwords
        self._new_passwords = new_passwords
        self._opener = opener
        self._revoker = revoker

    async def change(
        self, token: AccessToken, passwords: Passwords, client: Client, *, delivery: Delivery | None = None
    ) -> tuple[TokenPair, Delivery]:
        """Replace the password and return the first pair of a new session, and how it is to be delivered.

        Args:
            delivery: how the new session's refresh tokens travel; as the old one's did when None.

        Raises:
            InvalidCredentials: the current password is wrong, or the account changed meanwhile.
            InvalidField: the new password breaks a rule.
            Throttled: too many attempts by this bearer, from this address, or in all.
            HashingBusy: too many passwords are waiting to be checked.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        await self._passwords.admit(client)
        current = normalise_password(passwords.current, field="currentPassword")
        found, before = await self._storage.read(_find_bearer, token)
        wish = Wish(client, delivery or before, self._opener.audience(None))
        account, _ = await self._passwords.of_bearer(AccountId(token.subject), Guess(found, current, client))
        name = AccountName(account.name, account.name_key)
        new_hash = await self._new_passwords.hash(passwords.new, name, field="newPassword")
        opening = self._opener.prepare(account, wish)
        replaced = await self._storage.transact(self._replace, account, new_hash, opening)
        if replaced is None:
            raise InvalidCredentials("the account changed while its password was being checked")
        opened, revocation = replaced
        self._revoker.apply(revocation)
        return self._opener.hand_out(opened), wish.delivery

    async def _replace(
        self, tx: Transaction, before: Account, new_hash: str, opening: Opening
    ) -> tuple[Opened, Revocation] | None:
        changed = await tx.accounts.change_password(before, password_hash=new_hash)
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


async def _find_bearer(tx: Transaction, token: AccessToken) -> tuple[Account | None, Delivery]:
    account = await tx.accounts.find(AccountId(token.subject))
    found = await tx.sessions.find_with_account(SessionId(token.session_id or ""))
    return account, found[0].delivery if found else Delivery.COOKIE
