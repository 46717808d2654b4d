"""Revocations: what ends what, and how long an entry must be kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from tokenkeep.contract.revocation import RevocationKind, digest
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.identifiers import SessionId

GREATEST_LEEWAY: Final = 60_000
"""Milliseconds of the greatest leeway that a verifier may be given."""
KEY_SETS_HELD: Final = 2 * 86_400_000
"""Milliseconds for which a verifier may use a key set that it fetched, if it can fetch no other: its age, at most a
day, and at most a day more. Whoever has stolen a key can sign new tokens with it for as long."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One thing that ended. Instants are milliseconds since the epoch, UTC.

    `version` is the token version that ended, for accounts; `actor` is who did it, an account id or `operator`.
    """

    kind: RevocationKind
    value: str
    version: int | None
    revoked_at: int
    reason: str
    actor: str

    def entry(self, issuer: str) -> bytes:
        """Return the digest under which verifiers know it."""
        if self.version is None:
            return digest(self.kind, issuer, self.value)
        return digest(self.kind, issuer, self.value, self.version)

    def fingerprint(self) -> str:
        """Return what tells it from every other one, also from one that ends the same at another time."""
        told = "\n".join([self.kind.value, self.value, str(self.version), str(self.revoked_at)])
        return hashlib.sha256(told.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class NumberedRevocation:
    """A revocation with its place in the order of commits, and until when it is kept (milliseconds, UTC)."""

    number: int
    expires_at: int
    revocation: Revocation


def of_session(session: SessionId, *, at: int, reason: str, actor: str) -> Revocation:
    """Return the revocation of every access token of one session."""
    return Revocation(RevocationKind.SESSION, session, None, at, reason, actor)


def of_token(token_id: str, *, at: int, reason: str, actor: str) -> Revocation:
    """Return the revocation of exactly one access token."""
    return Revocation(RevocationKind.TOKEN, token_id, None, at, reason, actor)


def of_account_version(account: Account, *, at: int, reason: str, actor: str) -> Revocation:
    """Return the revocation of every access token issued under the account's token version as given."""
    return Revocation(RevocationKind.ACCOUNT, account.id, account.token_version, at, reason, actor)


def of_key(key_id: str, *, at: int, reason: str, actor: str) -> Revocation:
    """Return the revocation of every access token that a signing key has signed, and will be made to sign."""
    return Revocation(RevocationKind.KEY, key_id, None, at, reason, actor)


def expiry_of(revocation: Revocation, longest_access_life: int) -> int:
    """Return until when, in milliseconds, a revocation must be kept.

    Args:
        longest_access_life: as for `kept_until`.
    """
    until = kept_until(revocation.revoked_at, longest_access_life)
    if revocation.kind is RevocationKind.KEY:
        return max(until, revocation.revoked_at + KEY_SETS_HELD)
    return until


def kept_until(revoked_at: int, longest_access_life: int) -> int:
    """Return until when, in milliseconds, an entry can matter to any verifier.

    Args:
        longest_access_life: milliseconds of the longest access-token life ever configured on this database, since
            tokens issued before the setting was lowered are still about.
    """
    return revoked_at + longest_access_life + GREATEST_LEEWAY
