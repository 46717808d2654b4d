"""Check a password: limits first, then one hash whatever is wrong, and a refusal that is remembered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.errors import HashingBusy, InvalidCredentials, InvalidField, PasswordChangeRequired, Refusal
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.sessions import Client
from tokenkeep.flows.admission import Admission
from tokenkeep.flows.ports import PasswordHasher

_WHY_NOT_REPLACED: Final[Mapping[type[Refusal], str]] = {
    PasswordChangeRequired: "temporary password, and no new one",
    InvalidField: "right password, but the new one is refused",
    HashingBusy: "right password, but too many wait to be hashed",
}


@dataclass(frozen=True, slots=True)
class Guess:
    """A password that was presented for an account, by somebody who may not be its owner.

    Attributes:
        at: when the account was read, in milliseconds since the epoch, UTC.
    """

    account: Account | None
    password: str = field(repr=False)
    client: Client
    at: int


class CheckPassword:
    """Tells who knows the password of an account; a refusal costs the same whatever was wrong."""

    def __init__(self, hasher: PasswordHasher, admission: Admission) -> None:
        self._hasher = hasher
        self._admission = admission

    async def admit(self, client: Client) -> None:
        """Count an attempt against its address, before anything is looked up.

        Raises:
            Throttled: there is no room.
        """
        await self._admission.limits.admit_login(client)

    async def of_name(self, name_key: str, guess: Guess, *, familiar: Sequence[str]) -> tuple[Account, str]:
        """Return the account of a name and its stored hash, if the guess is right.

        Args:
            familiar: addresses from which the account logged in lately.

        Raises:
            InvalidCredentials: unknown name, wrong or expired password, or disabled account.
            Throttled: too many attempts on this name, or in all.
            HashingBusy: too many passwords are waiting to be checked.
        """
        bucket = await self._admission.limits.admit_password(name_key, guess.client, familiar)
        matched = await self._match(guess, bucket)
        if matched is None:
            self._note_name(name_key, guess)
            raise InvalidCredentials
        await self._admission.limits.forgive(bucket)
        return matched

    async def of_bearer(self, subject: AccountId, guess: Guess) -> tuple[Account, str]:
        """Return the account of an access token's bearer and its stored hash, if the guess is right.

        The bearer is known, so that guesses count against the account and not against its name.

        Raises:
            InvalidCredentials: wrong or expired password, or an account that is disabled or gone.
            Throttled: too many attempts by this bearer, or in all.
            HashingBusy: too many passwords are waiting to be checked.
        """
        bucket = await self._admission.limits.admit_password(f"\0bearer {subject}", guess.client, ())
        matched = await self._match(guess, bucket)
        if matched is None:
            detail = "wrong current password"
            self._admission.refusals.note(EventKind.LOGIN_REFUSED, guess.client, account_id=subject, detail=detail)
            raise InvalidCredentials
        await self._admission.limits.forgive(bucket)
        return matched

    async def renewed(self, stored: str, password: str) -> str:
        """Return the hash to keep of a password that was found right: the stored one, or one as new ones are made.

        When too much is going on the stored one stays, and nobody need wait for a better.
        """
        if not self._hasher.outdated(stored):
            return stored
        try:
            return await self._hasher.hash(password)
        except HashingBusy:
            return stored

    @contextmanager
    def replacing(self, account: Account, client: Client) -> Iterator[None]:
        """Remember whom a replacement of a password that was found right is refused.

        Whoever knows the password leaves a trace, refused or not: else it could be tried out unseen.
        """
        try:
            yield
        except Refusal as refusal:
            detail = _WHY_NOT_REPLACED.get(type(refusal))
            if detail is not None:
                self._note_refused(account, client, detail=detail)
            raise

    def _note_refused(self, account: Account, client: Client, *, detail: str) -> None:
        self._admission.refusals.note(EventKind.LOGIN_REFUSED, client, account_id=account.id, detail=detail)

    async def _match(self, guess: Guess, bucket: str) -> tuple[Account, str] | None:
        account = guess.account
        stored = account.hash_to_check(guess.at) if account is not None else None
        try:
            right = await self._hasher.verify(stored, guess.password)
        except HashingBusy:
            await self._admission.limits.take_back(bucket)
            raise
        if not right or account is None or stored is None:
            return None
        return account, stored

    def _note_name(self, name_key: str, guess: Guess) -> None:
        if guess.account is None:
            detail = f"unknown name {self._admission.refusals.pseudonym(name_key)}"
            self._admission.refusals.note(EventKind.LOGIN_REFUSED, guess.client, detail=detail)
        else:
            expired = "temporary password expired" if guess.account.password_expired(guess.at) else "wrong password"
            detail = "disabled" if guess.account.disabled else expired
            self._note_refused(guess.account, guess.client, detail=detail)
