"""Log in: check a name and password, open a session, hand out its first pair of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenkeep.domain.accounts import Account, normalise_password, parse_name
from tokenkeep.domain.errors import InvalidCredentials
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.limits import FAMILIAR_FOR
from tokenkeep.domain.sessions import Client, Delivery, RefreshToken
from tokenkeep.flows.check_password import CheckPassword, Guess
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.open_session import Opened, Opening, OpenSession, Wish
from tokenkeep.flows.ports import Storage, Transaction


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and password as they were presented; people type passwords in the place of names."""

    name: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A login whose form is good, and that has not been judged yet."""

    name_key: str = field(repr=False)
    password: str = field(repr=False)
    wish: Wish


class Login:
    """Opens sessions for those who know the password."""

    def __init__(self, storage: Storage, passwords: CheckPassword, opener: OpenSession) -> None:
        self._storage = storage
        self._passwords = passwords
        self._opener = opener

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
            InvalidCredentials: unknown name, wrong password, or disabled account.
            InvalidField: the name, password or audience is of no acceptable form.
            Throttled: too many attempts on this name, from this address, or in all.
            HashingBusy: too many logins are waiting.
            StorageUnavailable: the database did not answer.
        """
        await self._passwords.admit(client)
        wish = Wish(client, delivery, self._opener.audience(audience), replaces)
        name = parse_name(credentials.name)
        attempt = _Attempt(name.key, normalise_password(credentials.password), wish)
        # A second look at an account that changed while its password was being checked: another login may just have
        # stored the same password's hash anew.
        opened = await self._try(attempt) or await self._try(attempt)
        if opened is None:
            raise InvalidCredentials("the account changed while its password was being checked")
        return self._opener.hand_out(opened)

    async def _try(self, attempt: _Attempt) -> Opened | None:
        found, familiar = await self._storage.read(_find_by_name, attempt.name_key)
        guess = Guess(found, attempt.password, attempt.wish.client)
        account, stored = await self._passwords.of_name(attempt.name_key, guess, familiar=familiar)
        password_hash = await self._passwords.renewed(stored, attempt.password)
        opening = self._opener.prepare(account, attempt.wish)
        return await self._storage.transact(self._claim_and_open, account, password_hash, opening)

    async def _claim_and_open(
        self, tx: Transaction, account: Account, password_hash: str, opening: Opening
    ) -> Opened | None:
        if not await tx.accounts.claim_for_login(account, password_hash=password_hash, now=tx.now):
            return None
        return await self._opener.open(tx, account, opening)


async def _find_by_name(tx: Transaction, name_key: str) -> tuple[Account | None, list[str]]:
    """Return the account, and the addresses from which it logged in lately; as much is asked about nobody."""
    account = await tx.accounts.find_by_name(name_key)
    known_as = account.id if account else AccountId("")
    return account, await tx.sessions.login_addresses(known_as, since=tx.now - FAMILIAR_FOR)
