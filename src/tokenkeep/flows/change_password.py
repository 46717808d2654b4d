"""Change one's own password: all sessions and access tokens end, and a new session begins."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tokenkeep.contract.access_token import AccessToken
from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import Account, AccountName, PasswordPolicy, check_new_password, normalise_password
from tokenkeep.domain.audit import Event, EventKind
from tokenkeep.domain.errors import InvalidCredentials
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import Client, Delivery, EndReason, Session
from tokenkeep.flows.issue_tokens import TokenIssuer, TokenPair
from tokenkeep.flows.limit_attempts import LimitAttempts
from tokenkeep.flows.note_refusals import NoteRefusals
from tokenkeep.flows.open_session import OpenSession, SessionDraft
from tokenkeep.flows.ports import PasswordHasher, Storage, Transaction
from tokenkeep.flows.revoke import Revoker


@dataclass(frozen=True, slots=True)
class Passwords:
    """The password somebody has, and the one that is to replace it."""

    current: str = field(repr=False)
    new: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Replacement:
    account: Account
    password_hash: str = field(repr=False)
    draft: SessionDraft


class ChangePassword:
    """Lets the bearer of an access token replace the password, who must know the old one."""

    def __init__(
        self,
        storage: Storage,
        hasher: PasswordHasher,
        issuer: TokenIssuer,
        revoker: Revoker,
        opener: OpenSession,
        *,
        policy: PasswordPolicy,
        limits: LimitAttempts,
        refusals: NoteRefusals,
    ) -> None:
        self._storage = storage
        self._hasher = hasher
        self._issuer = issuer
        self._revoker = revoker
        self._opener = opener
        self._policy = policy
        self._limits = limits
        self._refusals = refusals

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
        await self._limits.admit_login(client)
        current = normalise_password(passwords.current, field="currentPassword")
        account, before = await self._storage.read(_find_bearer, token)
        chosen = delivery or before
        # The bearer is known here, so that guesses count against the account and not against its name.
        bucket = await self._limits.admit_name(f"\0bearer {token.subject}", client, ())
        stored = account.password_hash if account is not None and not account.disabled else None
        async with self._limits.checking(bucket):
            right = await self._hasher.verify(stored, current)
        if not right or account is None or stored is None:
            self._refusals.note(
                EventKind.LOGIN_REFUSED, client, account_id=AccountId(token.subject), detail="wrong current password"
            )
            raise InvalidCredentials
        await self._limits.forgive(bucket)
        name = AccountName(account.name, account.name_key)
        new = check_new_password(passwords.new, name, self._policy, field="newPassword")
        extra = self._issuer.extra_claims(account)
        replacement = _Replacement(account, await self._hasher.hash(new), SessionDraft.draw(client, chosen))
        replaced = await self._storage.transact(self._replace, replacement)
        if replaced is None:
            raise InvalidCredentials("the account changed while its password was being checked")
        changed, session, revocation = replaced
        self._revoker.apply(revocation)
        audience = self._issuer.policy.audience(None)
        return self._issuer.issue(session, changed, audience, session.created_at, extra), chosen

    async def _replace(self, tx: Transaction, replacement: _Replacement) -> tuple[Account, Session, Revocation] | None:
        before = replacement.account
        changed = await tx.accounts.change_password(before, password_hash=replacement.password_hash)
        if changed is None:
            return None
        await tx.sessions.end_all(changed.id, EndReason.PASSWORD_CHANGED, now=tx.now)
        session = await self._opener.open(tx, changed, replacement.draft)
        await tx.audit.record(
            Event(
                EventKind.PASSWORD_CHANGED,
                tx.now,
                changed.id,
                account_id=changed.id,
                session_id=session.id,
                address=session.address,
                user_agent=session.user_agent,
            )
        )
        ended = replace(changed, token_version=before.token_version)
        revocation = revocations.of_account_version(
            ended, at=tx.now, reason=EndReason.PASSWORD_CHANGED, actor=changed.id
        )
        return changed, session, await self._revoker.append(tx, revocation)


async def _find_bearer(tx: Transaction, token: AccessToken) -> tuple[Account | None, Delivery]:
    account = await tx.accounts.find(AccountId(token.subject))
    found = await tx.sessions.find_with_account(SessionId(token.session_id or ""))
    return account, found[0].delivery if found else Delivery.COOKIE
