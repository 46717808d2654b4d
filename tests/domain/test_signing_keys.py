"""Signing keys: their states, and which are missing."""

import pytest

from tokenkeep.domain.errors import NotFound
from tokenkeep.domain.signing_keys import KeyState, SigningKey, missing_states, parse_key_id
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


def test_what_could_be_a_key_id_is_taken():
    """A thumbprint passes as it is; whatever is none is nobody's."""
    kid = Key.generate("ES256").kid
    assert parse_key_id(kid) == kid
    for text in ("", kid[:-1], kid + "A", kid[:-1] + "=", kid[:-1] + "\n", kid + "\n", kid[:-1] + "é"):
        with pytest.raises(NotFound):
            parse_key_id(text)
