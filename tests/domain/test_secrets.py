"""The server secret: one key per purpose and version, nothing shown, nothing short."""

import copy
import pickle

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tokenkeep.domain.secrets import SMALLEST_SECRET, Purpose, SecretRing, UnknownSecretVersion

CURRENT = b"current secret of the server, thirty-two bytes or more"
PREVIOUS = b"the secret that was there before this one, also long"


def test_purposes_have_different_keys():
    """No key that is derived for one purpose opens anything of another."""
    ring = SecretRing(CURRENT)
    assert ring.key(ring.current, Purpose.REFRESH) != ring.key(ring.current, Purpose.SEALING)


def test_keys_are_derived_as_documented():
    """A key is HKDF-SHA256 of the secret with the label of its purpose (RFC 5869), and never the secret itself."""
    ring = SecretRing(CURRENT)
    derived = HKDF(hashes.SHA256(), 32, None, b"tokenkeep/v1/refresh-token").derive(CURRENT)
    assert ring.key(ring.current, Purpose.REFRESH) == derived


def test_labels_are_distinct_and_fixed():
    """The labels are part of the stored data's format: changing one would orphan every session or key."""
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        "REFRESH": b"tokenkeep/v1/refresh-token",
        "SEALING": b"tokenkeep/v1/seal-signing-key",
        "VERSION": b"tokenkeep/v1/secret-version",
        "PSEUDONYM": b"tokenkeep/v1/pseudonym",
        "COUNTING": b"tokenkeep/v1/counted-attempts",
    }


def test_versions_name_secrets():
    """Each secret has its own version, the same in every process."""
    assert SecretRing(CURRENT).current == SecretRing(CURRENT).current
    assert SecretRing(CURRENT).current != SecretRing(PREVIOUS).current


def test_previous_secrets_still_open_what_they_protect():
    """After a change of the secret the version before it keeps its keys, and new data gets the current one."""
    before = SecretRing(PREVIOUS)
    ring = SecretRing(CURRENT, [PREVIOUS])
    assert ring.current == SecretRing(CURRENT).current
    for purpose in (Purpose.REFRESH, Purpose.SEALING):
        assert ring.key(before.current, purpose) == before.key(before.current, purpose)
        assert ring.key(before.current, purpose) != ring.key(ring.current, purpose)


def test_unknown_version_is_refused():
    """A version that no configured secret has is an error of its own kind, which names the version."""
    version = SecretRing(PREVIOUS).current
    with pytest.raises(UnknownSecretVersion, match=version):
        SecretRing(CURRENT).key(version, Purpose.REFRESH)


def test_version_purpose_hands_out_no_key():
    """The label that names versions derives no key for anything else."""
    ring = SecretRing(CURRENT)
    with pytest.raises(UnknownSecretVersion):
        ring.key(ring.current, Purpose.VERSION)


@pytest.mark.parametrize(
    ("current", "previous"),
    [
        (b"", []),
        (b"x" * (SMALLEST_SECRET - 1), []),
        (CURRENT, [b"x" * (SMALLEST_SECRET - 1)]),
        (CURRENT, [PREVIOUS, b""]),
    ],
)
def test_short_secret_is_refused(current: bytes, previous: list[bytes]):
    """A secret of fewer than 32 bytes is refused, in every place of the list."""
    with pytest.raises(ValueError, match="at least 32 bytes"):
        SecretRing(current, previous)


def test_secret_of_32_bytes_is_enough():
    """32 bytes are the least."""
    assert SecretRing(b"x" * SMALLEST_SECRET).current


def test_repr_shows_neither_secret_nor_key():
    """The repr of a ring shows its version only."""
    ring = SecretRing(CURRENT, [PREVIOUS])
    shown = repr(ring) + str(ring)
    for hidden in (CURRENT, PREVIOUS, ring.key(ring.current, Purpose.REFRESH)):
        assert hidden.hex() not in shown
        assert repr(hidden)[2:-1] not in shown
    assert ring.current in shown


@pytest.mark.parametrize("action", [pickle.dumps, copy.copy, copy.deepcopy])
def test_ring_cannot_be_serialised(action):
    """Secrets cannot leave the process inside a pickle by accident."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        action(SecretRing(CURRENT))


def test_short_secret_is_not_quoted():
    """The refusal of a short secret does not show it."""
    with pytest.raises(ValueError) as refusal:
        SecretRing(b"hunter2")
    assert "hunter2" not in str(refusal.value)


def test_pseudonym_stands_for_a_text_and_does_not_tell_it():
    """The same text has the same pseudonym, which depends on the secret and shows nothing of the text."""
    ring = SecretRing(CURRENT)
    assert ring.pseudonym("hunter2") == SecretRing(CURRENT).pseudonym("hunter2")
    assert ring.pseudonym("hunter2") != ring.pseudonym("hunter3")
    assert ring.pseudonym("hunter2") != SecretRing(PREVIOUS).pseudonym("hunter2")
    assert len(ring.pseudonym("x" * 1_000)) == len(ring.pseudonym("")) == 12
