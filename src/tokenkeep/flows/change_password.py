"""Change one's own password: all sessions and access tokens end, and a new session begins."""

from __future__ import annotations

from tokenkeep.contract.access_token import AccessToken
from tokenkeep.domain.accounts import Account, normalise_password
from tokenkeep.domain.errors import InvalidCredentials
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.sessions import Client, Delivery
from tokenkeep.flows.check_password import CheckPassword, Guess
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.open_session import OpenSession, Wish
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.replace_password import Passwords, ReplacePassword


class ChangePassword:
    """Lets the bearer of an access token replace the password, who must know the old one."""

    def __init__(
        self, storage: Storage, passwords: CheckPassword, opener: OpenSession, replacer: ReplacePassword
    ) -> None:
        self._storage = storage
        self._passwords = passwords
        self._opener = opener
        self._replacer = replacer

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
            Unavailable: there is no key to sign with now; nothing changed.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        await self._passwords.admit(client)
        self._opener.require_key()
        current = normalise_password(passwords.current, field="currentPassword")
        found, before, at = await self._storage.read(_find_bearer, token)
        wish = Wish(client, delivery or before, self._opener.audience(None))
        account, _ = await self._passwords.of_bearer(AccountId(token.subject), Guess(found, current, client, at))
        with self._passwords.replacing(account, client):
            pair = await self._replacer.replace(account, Passwords(current, passwords.new), wish)
        if pair is None:
            raise InvalidCredentials("the account changed while its password was being checked")
        return pair, wish.delivery


async def _find_bearer(tx: Transaction, token: AccessToken) -> tuple[Account | None, Delivery, int]:
    account = await tx.accounts.find(AccountId(token.subject))
    found = await tx.sessions.find_with_account(SessionId(token.session_id or ""))
    return account, found[0].delivery if found else Delivery.COOKIE, tx.now
