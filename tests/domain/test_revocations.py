"""What ends what, under which digest, and how long that is remembered."""

from datetime import timedelta

import pytest

from tokenkeep.contract.revocation import RevocationKind, digest
from tokenkeep.domain import revocations
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.identifiers import account_id, session_id
from tokenkeep.verifier import KeyFetching
from tokenkeep.verifier.key_cache import LONGEST_AGE

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


@pytest.mark.parametrize(
    ("kind", "longest_life", "until"),
    [
        (RevocationKind.SESSION, 60_000, 121_000),
        (RevocationKind.TOKEN, 60_000, 121_000),
        (RevocationKind.ACCOUNT, 60_000, 121_000),
        (RevocationKind.KEY, 60_000, 1_000 + 2 * 86_400_000),
        (RevocationKind.KEY, 3 * 86_400_000, 61_000 + 3 * 86_400_000),
    ],
)
def test_a_key_stays_revoked_as_long_as_anybody_may_hold_it(kind: RevocationKind, longest_life: int, until: int):
    """A thief goes on signing: the entry outlives not only the tokens of before, but every key set with the key."""
    revocation = revocations.Revocation(kind, "x", None, 1_000, "", "operator")
    assert revocations.expiry_of(revocation, longest_life) == until


def test_key_sets_are_not_held_longer_than_keys_stay_revoked():
    """That is the longest age a verifier gives to a key set, and the longest time it may go on without a new one."""
    KeyFetching(stale_limit=timedelta(days=1))
    with pytest.raises(ValueError, match="stale_limit"):
        KeyFetching(stale_limit=timedelta(days=1, seconds=1))
    assert (LONGEST_AGE + timedelta(days=1).total_seconds()) * 1000 == revocations.KEY_SETS_HELD


def test_key_entry_names_the_key():
    """The end of a signing key is an entry under its `kid`."""
    entry = revocations.of_key("k", at=7, reason="signing_key_revoked", actor="operator")
    assert entry.entry(ISSUER) == digest(RevocationKind.KEY, ISSUER, "k")
