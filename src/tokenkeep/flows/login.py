"""Log in: check a name and password, open a session, hand out its first pair of tokens.

A temporary password opens nothing by itself: it is replaced by the login, or the login is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenkeep.domain.accounts import Account, normalise_password, parse_name, require_successor
from tokenkeep.domain.errors import InvalidCredentials
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.limits import FAMILIAR_FOR
from tokenkeep.domain.sessions import Client, Delivery, RefreshToken
from tokenkeep.flows.check_password import CheckPassword, Guess
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.open_session import Opened, Opening, OpenSession, Wish
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.replace_password import Passwords, ReplacePassword


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and password as they were presented; people type passwords in the place of names.

    Attributes:
        new_password: what is to replace the password, if that is a temporary one.
    """

    name: str = field(repr=False)
    password: str = field(repr=False)
    new_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A login whose form is good, and that has not been judged yet."""

    name_key: str = field(repr=False)
    password: str = field(repr=False)
    new_password: str | None = field(repr=False)
    wish: Wish


class Login:
    """Opens sessions for those who know the password."""

    def __init__(
        self, storage: Storage, passwords: CheckPassword, opener: OpenSession, replacer: ReplacePassword
    ) -> None:
        self._storage = storage
        self._passwords = passwords
        self._opener = opener
        self._replacer = replacer

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
            InvalidCredentials: unknown name, wrong or expired password, or disabled account.
            PasswordChangeRequired: the password is right, but a temporary one, and no new one came with it.
            InvalidField: the name, password or audience is of no acceptable form; or the password is right, and the new
                one breaks a rule or was not to come.
            Throttled: too many attempts on this name, from this address, or in all.
            HashingBusy: too many logins are waiting.
            Unavailable: there is no key to sign with now; nothing changed.
            StorageUnavailable: the database did not answer.
        """
        await self._passwords.admit(client)
        self._opener.require_key()
        wish = Wish(client, delivery, self._opener.audience(audience), replaces)
        name = parse_name(credentials.name)
        attempt = _Attempt(name.key, normalise_password(credentials.password), credentials.new_password, wish)
        # A second look at an account that changed while its password was being checked: another login may just have
        # stored the same password's hash anew.
        pair = await self._try(attempt) or await self._try(attempt)
        if pair is None:
            raise InvalidCredentials("the account changed while its password was being checked")
        return pair

    async def _try(self, attempt: _Attempt) -> TokenPair | None:
        found, familiar, at = await self._storage.read(_find_by_name, attempt.name_key)
        guess = Guess(found, attempt.password, attempt.wish.client, at)
        account, stored = await self._passwords.of_name(attempt.name_key, guess, familiar=familiar)
        if account.has_temporary_password or attempt.new_password is not None:
            return await self._replace(account, attempt)
        password_hash = await self._passwords.renewed(stored, attempt.password)
        opening = self._opener.prepare(account, attempt.wish)
        opened = await self._storage.transact(self._claim_and_open, account, password_hash, opening)
        return None if opened is None else self._opener.hand_out(opened)

    async def _replace(self, account: Account, attempt: _Attempt) -> TokenPair | None:
        """Set the new password that came with the right one, which it may only if that one is temporary."""
        with self._passwords.replacing(account, attempt.wish.client):
            new = require_successor(account, attempt.new_password)
            return await self._replacer.replace(account, Passwords(attempt.password, new), attempt.wish)

    async def _claim_and_open(
        self, tx: Transaction, account: Account, password_hash: str, opening: Opening
    ) -> Opened | None:
        if not await tx.accounts.claim_for_login(account, password_hash=password_hash, now=tx.now):
            return None
        return await self._opener.open(tx, account, opening)


async def _find_by_name(tx: Transaction, name_key: str) -> tuple[Account | None, list[str], int]:
    """Return the account, the addresses from which it logged in lately, and when; as much is asked about nobody."""
    account = await tx.accounts.find_by_name(name_key)
    known_as = account.id if account else AccountId("")
    return account, await tx.sessions.login_addresses(known_as, since=tx.now - FAMILIAR_FOR), tx.now
