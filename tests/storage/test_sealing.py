"""The envelope around what must be secret at rest: `storage.sealing`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.domain.secrets import SecretMismatch, SecretRing
from tokenkeep.storage.sealing import Sealer

SECRETS = [bytes([number]) * 32 for number in range(3)]
SEALER = Sealer(SecretRing(SECRETS[0]))
PLAIN = b"what must stay secret"


@given(plain=st.binary(max_size=300), purpose=st.text(max_size=20), name=st.text(max_size=20))
def test_what_was_sealed_opens_for_the_same_purpose_and_name(plain: bytes, purpose: str, name: str):
    """Sealing and opening give back what was sealed, and the envelope does not show it."""
    envelope = SEALER.seal(plain, purpose=purpose, name=name)
    assert SEALER.open(envelope, purpose=purpose, name=name) == plain
    assert len(plain) < 8 or plain not in envelope


@given(data=st.data())
def test_a_changed_envelope_is_refused(data: st.DataObject):
    """Whatever bytes are changed, cut off or added, opening is refused and never gives something else."""
    envelope = SEALER.seal(PLAIN, purpose="p", name="n")
    at = data.draw(st.integers(0, len(envelope) - 1))
    changed = data.draw(
        st.one_of(
            st.just(envelope[:at]),
            st.binary(min_size=1, max_size=9).map(lambda more: envelope + more),
            st.integers(1, 255).map(lambda bits: envelope[:at] + bytes([envelope[at] ^ bits]) + envelope[at + 1 :]),
            st.binary(max_size=100),
        )
    )
    with pytest.raises(SecretMismatch):
        SEALER.open(changed, purpose="p", name="n")


@pytest.mark.parametrize(
    ("purpose", "name"), [("p", "m"), ("q", "n"), ("", "p\0n"), ("p\0n", ""), ("P", "n"), ("pn", ""), ("", "pn")]
)
def test_an_envelope_opens_for_nothing_else(purpose: str, name: str):
    """An envelope that was moved to another place does not open there."""
    with pytest.raises(SecretMismatch):
        SEALER.open(SEALER.seal(PLAIN, purpose="p", name="n"), purpose=purpose, name=name)


def test_two_envelopes_of_the_same_are_different():
    """Each envelope has a nonce of its own, so that equal contents cannot be told."""
    assert len({SEALER.seal(PLAIN, purpose="p", name="n") for _ in range(50)}) == 50


def test_a_previous_secret_opens_and_the_current_one_seals():
    """After a change of the secret old envelopes open while the old one is configured; new ones need the new one."""
    old = SEALER.seal(PLAIN, purpose="p", name="n")
    changed = Sealer(SecretRing(SECRETS[1], [SECRETS[0]]))
    assert changed.open(old, purpose="p", name="n") == PLAIN
    new = changed.seal(PLAIN, purpose="p", name="n")
    assert Sealer(SecretRing(SECRETS[1])).open(new, purpose="p", name="n") == PLAIN
    for sealer, envelope in ((SEALER, new), (Sealer(SecretRing(SECRETS[2])), old)):
        with pytest.raises(SecretMismatch, match="no configured server secret"):
            sealer.open(envelope, purpose="p", name="n")


def test_a_refusal_tells_what_did_not_open_and_no_secret():
    """The text names purpose and name, for whoever must find the right secret."""
    with pytest.raises(SecretMismatch) as caught:
        Sealer(SecretRing(SECRETS[1])).open(SEALER.seal(PLAIN, purpose="signing key", name="k"), purpose="x", name="y")
    assert "x y" in str(caught.value)
    assert PLAIN.decode() not in str(caught.value)
