"""What ends what, under which digest, and how long that is remembered."""

import pytest

from tokenkeep.contract.revocation import RevocationKind, digest
from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.identifiers import account_id, session_id

ISSUER = "https://auth.example"
ACCOUNT = Account(
    id=account_id(bytes(16)),
    name="Ada",
    name_key="ada",
    role="user",
    token_version=4,
    created_at=0,
)


@pytest.mark.parametrize(
    ("revoked_at", "longest_life", "until"),
    [(0, 0, 60_000), (1_000, 900_000, 961_000), (5_000, 3_600_000, 3_665_000)],
)
def test_entry_outlives_every_token(revoked_at: int, longest_life: int, until: int):
    """An entry is kept for the longest access life ever configured and the greatest leeway of any verifier."""
    assert revocations.kept_until(revoked_at, longest_life) == until


def test_session_entry_names_the_session():
    """The end of a session is an entry under its `sid`."""
    session = session_id(b"\x05" * 16)
    entry = revocations.of_session(session, at=7, reason="logout", actor="operator")
    assert (entry.kind, entry.value, entry.version) == (RevocationKind.SESSION, session, None)
    assert entry.entry(ISSUER) == digest(RevocationKind.SESSION, ISSUER, session)


def test_account_entry_names_the_version_that_ended():
    """The end of an account's tokens is an entry under `sub` and the version given."""
    entry = revocations.of_account_version(ACCOUNT, at=7, reason="role_changed", actor="operator")
    assert (entry.kind, entry.value, entry.version) == (RevocationKind.ACCOUNT, ACCOUNT.id, 4)
    assert entry.entry(ISSUER) == digest(RevocationKind.ACCOUNT, ISSUER, ACCOUNT.id, 4)


def test_entry_belongs_to_one_issuer():
    """The same session id of two issuers makes two entries."""
    entry = revocations.of_session(session_id(bytes(16)), at=0, reason="logout", actor="operator")
    assert entry.entry(ISSUER) != entry.entry("https://other.example")
