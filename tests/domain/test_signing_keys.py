"""Signing keys: their states, and which are missing."""

import pytest

from tokenkeep.domain.signing_keys import KeyState, SigningKey, missing_states
from tokenkeep.jose import Key

UPCOMING, ACTIVE, RETIRING, RETIRED, REVOKED = KeyState


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ([], (ACTIVE, UPCOMING)),
        ([ACTIVE], (UPCOMING,)),
        ([UPCOMING], (ACTIVE,)),
        ([ACTIVE, UPCOMING], ()),
        ([UPCOMING, RETIRING, ACTIVE, RETIRED, REVOKED], ()),
        ([RETIRING], (ACTIVE, UPCOMING)),
        ([RETIRED, REVOKED], (ACTIVE, UPCOMING)),
    ],
)
def test_one_key_signs_and_one_follows(present: list[KeyState], missing: tuple[KeyState, ...]):
    """Missing is whatever lacks of an active and an upcoming key, the active one first."""
    assert missing_states(present) == missing


@pytest.mark.parametrize(
    ("state", "published"),
    [(UPCOMING, True), (ACTIVE, True), (RETIRING, True), (RETIRED, False), (REVOKED, False)],
)
def test_keys_are_published_before_and_after_they_sign(state: KeyState, published: bool):
    """Verifiers are given upcoming, active and retiring keys, and neither retired nor revoked ones."""
    assert state.published is published


def test_id_is_the_key_id():
    """A signing key is known by its kid."""
    key = Key.generate("ES256")
    assert SigningKey(key, ACTIVE, 0).id == key.kid == key.thumbprint()


def test_pair_verifies_with_its_public_part():
    """The private part of a key pair is for signing only."""
    signing_key = SigningKey(Key.generate("ES256"), ACTIVE, 0)
    assert not signing_key.symmetric
    assert not signing_key.verification_key().is_private


def test_shared_secret_verifies_with_itself():
    """A shared secret has no public part, and is known to be one that must not be published."""
    key = Key.generate("HS256")
    signing_key = SigningKey(key, ACTIVE, 0)
    assert signing_key.symmetric
    assert signing_key.verification_key() is key


def test_repr_shows_no_private_key():
    """Nothing private is in the repr of a signing key."""
    key = Key.generate("ES256")
    assert str(key.to_jwk(private=True)["d"]) not in repr(SigningKey(key, ACTIVE, 0))
