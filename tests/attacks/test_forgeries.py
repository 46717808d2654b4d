"""Every algorithm against every key and every header: only the honest combination verifies."""

import pytest

from tests.jose.samples import (
    ASYMMETRIC_ALGORITHMS,
    claims,
    compact,
    header_of,
    private_key,
    token,
    verify,
    verifying_key,
)
from tokenkeep.jose import Key, KeySet
from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.jose.errors import AlgorithmNotAllowed, InvalidKey, InvalidSignature, KeyNotFound

ALL = list(ALGORITHMS)


@pytest.mark.parametrize("stated", ALL)
@pytest.mark.parametrize("signer", ALL)
def test_only_the_honest_combination_verifies(stated, signer):
    """A token verifies when the header, the signature and the verifying key have one algorithm, and never otherwise."""
    for holder in ALL:
        header = {**header_of(private_key(holder)), "alg": stated}
        presented = token(private_key(signer), header=header)
        keys = verifying_key(holder)
        honest = stated == holder and (signer == holder or {signer, holder} == {"EdDSA", "Ed25519"})
        for form in (keys, KeySet([keys])):
            if honest:
                assert verify(presented, form, algorithms=ALL)
            else:
                expected = InvalidSignature if stated == holder else AlgorithmNotAllowed
                with pytest.raises(expected):
                    verify(presented, form, algorithms=ALL)
            with pytest.raises(AlgorithmNotAllowed):
                verify(presented, form, algorithms=[alg for alg in ALL if alg != stated])


@pytest.mark.parametrize("alg", ALL)
def test_another_key_of_the_same_algorithm_is_another_key(alg):
    """Having the algorithm right is not having the key."""
    stranger = Key.generate(alg, kid=f"key-{alg}", rsa_bits=2048)
    presented = token(stranger)
    for keys in (verifying_key(alg), KeySet([verifying_key(alg)])):
        with pytest.raises(InvalidSignature):
            verify(presented, keys)
    with pytest.raises(KeyNotFound):
        verify(token(Key.generate(alg, kid="other", rsa_bits=2048)), KeySet([verifying_key(alg)]))


def test_a_kid_is_never_anything_but_a_name():
    """Paths, queries, addresses and control characters in a kid select nothing and touch nothing."""
    key_set = KeySet([verifying_key("ES256")])
    for kid in (
        "/dev/null",
        "../../../../etc/passwd",
        "key-ES256' OR '1'='1",
        "http://attacker.example/key",
        "key-ES256\0",
        "$(id)",
        "\r\nSet-Cookie: x",
    ):
        with pytest.raises(KeyNotFound) as caught:
            verify(token(private_key("ES256"), header=header_of(private_key("ES256"), kid=kid)), key_set)
        assert caught.value.message == "key not found"
        assert caught.value.kid == kid


@pytest.mark.parametrize("alg", ASYMMETRIC_ALGORITHMS)
def test_symmetric_and_asymmetric_keys_share_nothing(alg):
    """No HMAC key is made of a public key, no set holds both, and no published set brings a secret."""
    public = verifying_key(alg)
    with pytest.raises(InvalidKey):
        KeySet([public, private_key("HS256")])
    with pytest.raises(InvalidKey):
        Key.from_jwk({**public.to_jwk(), "alg": "HS256"})
    with pytest.raises(InvalidKey):
        Key.from_jwk({name: value for name, value in public.to_jwk().items() if name != "alg"}, alg="HS256")
    mixed = KeySet.from_jwks({"keys": [public.to_jwk(), private_key("HS256").to_jwk(private=True)]})
    presented = token(private_key("HS256"))
    with pytest.raises(KeyNotFound):
        verify(presented, mixed)
    with pytest.raises(KeyNotFound):
        verify(token(private_key("HS256"), header={"alg": "HS256", "typ": "JWT"}), mixed)


@pytest.mark.parametrize("alg", ALL)
def test_every_byte_of_a_token_counts(alg):
    """Changing any one character of header, payload or signature is noticed."""
    presented = token(private_key(alg), payload=compact(claims(jti=None, sub=None)))
    step = max(1, len(presented) // 60)
    for at in range(0, len(presented), step):
        for change in ("A", "B", ".", "=", "-", "\0"):
            changed = presented[:at] + change + presented[at + 1 :]
            if changed != presented:
                with pytest.raises(Exception) as caught:
                    verify(changed, verifying_key(alg))
                assert type(caught.value).__module__ == "tokenkeep.jose.errors"
