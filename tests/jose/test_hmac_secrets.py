"""Which bytes may become an HMAC secret."""

import hmac

import pytest

from tests.jose.samples import HMAC_ALGORITHMS
from tokenkeep.jose import Key
from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.jose.errors import InvalidArgument, InvalidKey, WrongType
from tokenkeep.jose.hmac_secrets import check_secret

PUBLISHED = b"my-32-character-ultra-secure-and-ultra-long-secret"


@pytest.mark.parametrize("alg", HMAC_ALGORITHMS)
def test_a_secret_is_as_long_as_the_hash(alg):
    """The hash length is enough and one byte less is not."""
    size = ALGORITHMS[alg].signature_size
    secret = bytes(range(100, 100 + size))
    assert Key.from_secret(secret, alg=alg).alg == alg
    with pytest.raises(InvalidKey, match=f"at least {size} bytes"):
        Key.from_secret(secret[:-1], alg=alg)


def test_an_empty_secret_is_no_secret():
    """The message for a secret that was never configured is the known one."""
    with pytest.raises(InvalidKey, match="secret or key required"):
        Key.from_secret(b"")


def test_a_secret_is_varied():
    """Eight different bytes are enough and seven are not."""
    assert Key.from_secret(bytes(range(1, 9)) * 4)
    with pytest.raises(InvalidKey, match="different"):
        Key.from_secret(bytes(range(1, 8)) * 5)
    with pytest.raises(InvalidKey, match="different"):
        Key.from_secret(b"a" * 64)


@pytest.mark.parametrize("alg", HMAC_ALGORITHMS)
def test_nul_at_the_end_of_a_secret_does_not_count(alg):
    """HMAC pads with NUL: a short secret filled up with it is as short as before; chance may end one in three."""
    size = ALGORITHMS[alg].signature_size
    varied = bytes(range(100, 100 + size))
    short = Key.from_secret(varied[:-3] + bytes(3), alg=alg)
    assert short.sign(b"data") == hmac.digest(varied[:-3], b"data", f"sha{alg[2:]}")
    for kept in (size - 4, size - 5, 16, 8, 1):
        for secret in (varied[:kept] + bytes(size - kept), varied[:kept] + bytes(200)):
            with pytest.raises(InvalidKey, match=f"at least {size} bytes"):
                Key.from_secret(secret, alg=alg)


def test_nul_at_the_end_of_a_secret_is_not_variety():
    """Seven different bytes and NUL are seven; a NUL amid the others is a byte like them."""
    with pytest.raises(InvalidKey, match="different"):
        Key.from_secret(bytes(range(1, 8)) * 5 + b"\0")
    assert Key.from_secret(bytes(range(8)) * 5 + b"\1")


def test_white_space_around_a_secret_is_not_variety():
    """Seven different characters and the line break of their file are seven; within the secret a blank is one more."""
    for secret in (b"test123" * 5 + b"\r\n", b"\n" + b"abcdefg" * 5, b"abcdefg" * 5 + b"\r\0"):
        with pytest.raises(InvalidKey, match="different"):
            Key.from_secret(secret)
    assert Key.from_secret(b"abcd efg" * 5)


def test_a_secret_is_not_boundless():
    """A megabyte is refused before anything is computed with it."""
    secrets_of = [bytes(range(64)) * 128, bytes(range(64)) * 128 + b"x"]
    assert Key.from_secret(secrets_of[0])
    with pytest.raises(InvalidKey, match="at most"):
        Key.from_secret(secrets_of[1])


@pytest.mark.parametrize(
    "known",
    [
        PUBLISHED,
        PUBLISHED + b"\n",
        b"  " + PUBLISHED + b"\r\n",
        PUBLISHED + b"\0",
        PUBLISHED + bytes(100),
        PUBLISHED + b"\n\0\0",
        PUBLISHED + b"\0\n",
    ],
)
def test_published_secrets_are_refused(known):
    """A secret from a published list is refused, also with white space or NUL around it."""
    with pytest.raises(InvalidKey, match="publicly known"):
        Key.from_secret(known)


@pytest.mark.parametrize("secret", ["x" * 32, bytearray(32), memoryview(b"x" * 32), None, 5])
def test_secrets_are_bytes(secret):
    """Text and other types are a caller's mistake; for text the message says to encode it."""
    with pytest.raises(WrongType, match="encode the text" if isinstance(secret, str) else "bytes, not"):
        Key.from_secret(secret)


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_secrets_are_for_hmac(alg):
    """No other algorithm takes a secret."""
    with pytest.raises(InvalidArgument):
        Key.from_secret(bytes(range(64)), alg=alg)


def test_refusals_do_not_quote_the_secret():
    """No message repeats the refused bytes."""
    for secret in (b"sesame", b"sesame" * 9, b'{"kty":"oct","k":"sesame"}', PUBLISHED):
        with pytest.raises(InvalidKey) as caught:
            check_secret(secret, algorithm="HS256", hash_size=32)
        assert "sesame" not in str(caught.value)
        assert PUBLISHED.decode() not in str(caught.value)
