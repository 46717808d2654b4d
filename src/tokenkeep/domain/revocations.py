"""Revocations: what ends what, and how long an entry must be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tokenkeep.contract.revocation import RevocationKind, digest
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.identifiers import SessionId

GREATEST_LEEWAY: Final = 60_000
"""Milliseconds of the greatest leeway that a verifier may be given."""


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


def of_session(session: SessionId, *, at: int, reason: str, actor: str) -> Revocation:
    """Return the revocation of every access token of one session."""
    return Revocation(RevocationKind.SESSION, session, None, at, reason, actor)


def of_token(token_id: str, *, at: int, reason: str, actor: str) -> Revocation:
    """Return the revocation of exactly one access token."""
    return Revocation(RevocationKind.TOKEN, token_id, None, at, reason, actor)


def of_account_version(account: Account, *, at: int, reason: str, actor: str) -> Revocation:
    """Return the revocation of every access token issued under the account's token version as given."""
    return Revocation(RevocationKind.ACCOUNT, account.id, account.token_version, at, reason, actor)


def kept_until(revoked_at: int, longest_access_life: int) -> int:
    """Return until when, in milliseconds, an entry can matter to any verifier.

    Args:
        longest_access_life: milliseconds of the longest access-token life ever configured on this database, since
            tokens issued before the setting was lowered are still about.
    """
    return revoked_at + longest_access_life + GREATEST_LEEWAY
