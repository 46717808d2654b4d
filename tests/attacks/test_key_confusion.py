"""A public key is never taken for an HMAC secret, however it is spelt (RFC 8725 §2.1).

The matrix is generated: each encoding of each type of key, under each mutation. Most libraries that looked for
"-----BEGIN" alone failed one row of it.
"""

import hashlib
import hmac
import secrets
import time
from base64 import b85encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.attacks.key_forms import (
    POINTS,
    SIGNING,
    careless_forms,
    case_mutations,
    foreign_forms,
    inner_mutations,
    mutations,
    private_forms,
    private_object,
    public_forms,
    text_mutations,
)
from tests.jose.samples import HMAC_ALGORITHMS, assemble, b64, claims, compact, header_of, private_key, verify
from tokenkeep.jose import Key, KeySet
from tokenkeep.jose.errors import AlgorithmNotAllowed, InvalidKey
from tokenkeep.jose.key_encodings import encoding_of_key

TEXT = [
    "SPKI PEM",
    "X.509 PEM",
    "CSR PEM",
    "OpenSSH",
    "OpenSSH certificate",
    "JWK",
    "JWK bare",
    "JWKS",
    "base64 of SPKI DER",
    "base64 of JWK",
    "base64 of PEM",
]
# Forms whose words are base64, so that what reads them may read over white space.
BROKEN = [
    "SPKI PEM",
    "X.509 PEM",
    "CSR PEM",
    "PKCS7 PEM",
    "base64 of SPKI DER",
    "base64 of OpenSSH binary",
    "base64 of base64 of SPKI DER",
    "base64 of JWK",
    "base64 of PEM",
    "hexadecimal digits of SPKI DER",
]
NAMED = ["SPKI PEM", "X.509 PEM", "PKCS7 PEM", "JWK", "JWK bare", "JWK compact", "JWKS", "repr of JWK", "OpenSSH"]


def refused_as_key(data):
    """Check that bytes are refused as a secret of every length, because they read as a key."""
    for alg in HMAC_ALGORITHMS:
        with pytest.raises(InvalidKey, match="reads as a key"):
            Key.from_secret(data, alg=alg)
    with pytest.raises(InvalidKey, match="reads as a key"):
        Key.from_jwk({"kty": "oct", "k": b64(data), "alg": "HS256"})


@pytest.mark.parametrize("alg", SIGNING)
def test_no_encoding_of_a_public_key_is_a_secret(alg):
    """Every encoding of a public key, with white space, byte order marks and NUL around it, is refused."""
    for form in public_forms(alg).values():
        for _, data in mutations(form):
            refused_as_key(data)


@pytest.mark.parametrize("alg", SIGNING)
def test_no_respelt_text_of_a_public_key_is_a_secret(alg):
    """Other line ends, one line, indented lines and UTF-16 do not hide a key."""
    for name in TEXT:
        for _, data in text_mutations(public_forms(alg)[name]):
            refused_as_key(data)


@pytest.mark.parametrize("alg", SIGNING)
def test_no_white_space_within_hides_a_public_key(alg):
    """White space amid the words of armour and of base64, wherever lines are broken, does not hide a key."""
    for name in BROKEN:
        for mutation, data in inner_mutations(public_forms(alg)[name]):
            if len(data) <= 8192:
                assert encoding_of_key(data) is not None, (name, mutation)


@pytest.mark.parametrize("alg", SIGNING)
def test_no_careless_copy_of_a_public_key_is_a_secret(alg):
    """What is left of a key without its armour, in other notations, escaped or amid words is still known for a key."""
    for name, data in careless_forms(alg):
        assert encoding_of_key(data) is not None, name
        refused_as_key(data)


@pytest.mark.parametrize("alg", sorted(POINTS))
def test_bare_coordinates_that_begin_like_white_space_are_recognised(alg):
    """Coordinates whose first byte is a blank or NUL are coordinates all the same."""
    curve = private_object(alg).curve
    wanted = {0x20, 0x0A, 0x00} if alg != "ES512" else {0x00}  # the first byte of a coordinate on P-521 is 0 or 1
    for private in range(1, 5000):
        numbers = ec.derive_private_key(private, curve).public_key().public_numbers()
        size = (curve.key_size + 7) // 8
        coordinates = numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")
        if coordinates[0] in wanted:
            wanted.remove(coordinates[0])
            refused_as_key(coordinates)
        if not wanted:
            break
    assert not wanted


@pytest.mark.parametrize("alg", SIGNING)
def test_no_case_hides_a_public_key(alg):
    """Labels and member names in another case do not hide a key."""
    for name in NAMED:
        for mutation, data in case_mutations(public_forms(alg)[name]):
            if mutation != "title case" or "PEM" in name:
                refused_as_key(data)


@pytest.mark.parametrize("alg", SIGNING)
def test_no_encoding_of_a_private_key_is_a_secret(alg):
    """A private key file given as a secret is a mistake too, and refused, encrypted or not."""
    for form in private_forms(alg).values():
        for _, data in mutations(form):
            refused_as_key(data)


def test_no_encoding_of_a_foreign_key_is_a_secret():
    """Keys that we cannot use are recognised all the same."""
    for _, form in foreign_forms():
        for _, data in mutations(form):
            refused_as_key(data)


def test_a_symmetric_jwk_is_not_a_secret():
    """The JSON of an oct JWK is refused: its member k is the secret."""
    jwk = compact(private_key("HS256").to_jwk(private=True))
    refused_as_key(jwk)
    refused_as_key(b" \n" + jwk.upper())


@pytest.mark.parametrize("alg", SIGNING)
def test_forgeries_with_a_public_key_as_secret_fail(alg):
    """A token signed by HMAC with any encoding of the public key is refused, even where HMAC is accepted."""
    public = private_key(alg).public()
    for form in public_forms(alg).values():
        for hs in HMAC_ALGORITHMS:

            def forge(data, form=form, hs=hs):
                return hmac.digest(form, data, f"sha{hs[2:]}")

            forged = assemble(compact(header_of(public, alg=hs)), compact(claims()), forge)
            for keys in (public, KeySet([public])):
                with pytest.raises(AlgorithmNotAllowed):
                    verify(forged, keys, algorithms=[alg, *HMAC_ALGORITHMS])
                with pytest.raises(AlgorithmNotAllowed):
                    verify(forged, keys, algorithms=[alg])


@pytest.mark.parametrize("size", [32, 48, 64, 65, 96, 97, 100, 128, 132, 133, 256])
def test_random_secrets_are_not_taken_for_keys(size):
    """Random bytes and their usual spellings are secrets."""
    for _ in range(100):
        raw = secrets.token_bytes(size)
        for secret in (raw, raw.hex().encode(), b64(raw).encode(), b64(b64(raw)).encode(), b85encode(raw)):
            assert encoding_of_key(secret) is None


@pytest.mark.parametrize("size", [33, 49, 67])
def test_spelt_secrets_are_not_taken_for_points(size):
    """In base64 or hexadecimal digits nothing tells a compressed point from chance, so that none is looked for."""
    for first in (2, 3):
        for _ in range(30):
            raw = bytes([first]) + secrets.token_bytes(size - 1)
            assert encoding_of_key(b64(raw).encode()) is None
            assert encoding_of_key(raw.hex().encode()) is None


@pytest.mark.parametrize(
    "secret",
    [
        b"correct horse battery staple and a few more words",
        b"MIIB is how many public keys begin, but this one is prose",
        b'{"json": "but no key", "with": ["some", "members"], "n": 1}',
        b"begin and end and public key and private key, without dashes",
        b"0" + hashlib.sha256(b"x").digest() * 2,
        b"\x30\x40" + hashlib.sha512(b"x").digest(),
        b"\x04" + hashlib.sha512(b"x").digest(),
        b"ssh-keys are not in here, and neither is AAAA",
        b"AAAAB3 " + hashlib.sha256(b"x").hexdigest().encode(),
        b"the word kty = nothing in particular, and crv neither",
        b"bXkta2V5kty=rsaAAAAAAAAAAAAAAAAAAAAAAAAA",
        b"cafe0123" * 8,
        b"30 82 01 22 and other digits, but not those of a key",
        b"\x30\x22" + hashlib.sha256(b"y").digest() + b"abcd",
        b"\\u006b is an escape but this is no JSON at all {",
        b'["\\u006b", "is an escape in JSON without a key in it"]',
        b"\x31\x2b\x02\x01\x01\x04\x26" + hashlib.sha256(b"z").digest() + b"abcdef",
        b"\x30\x22\x02\x01\x01\x04\x1d" + hashlib.sha256(b"z").digest()[:29],
    ],
)
def test_secrets_that_look_a_little_like_keys_are_secrets(secret):
    """Identification is positive: what only begins like a key is a secret."""
    assert Key.from_secret(secret).alg == "HS256"


def test_the_shortest_of_what_is_recognised_is_refused():
    """A structure of 37 bytes, a run of 24 characters, a first word, and a point with four blanks in it are keys."""
    refused_as_key(b"\x30\x23\x02\x01\x01\x04\x1e" + hashlib.sha256(b"z").digest()[:30])
    refused_as_key(b64(b'{"kty":"oct","k":1').encode() + b"~!@#$%^&")
    refused_as_key(b"openssh-key-v1\0" + hashlib.sha256(b"z").digest())
    blank = next(point for n in range(64) if encoding_of_key(point := b"\x02" + bytes(27) + bytes([n]) + b" \n\t "))
    refused_as_key(blank)


def test_a_quarter_of_nothing_is_refused_by_accident():
    """Of raw secrets in the length of a compressed point, only those that are a point are refused."""
    taken = sum(encoding_of_key(b"\x02" + hashlib.sha256(bytes([n])).digest()) is not None for n in range(200))
    assert 60 < taken < 140
    assert not any(encoding_of_key(b"\x05" + hashlib.sha256(bytes([n])).digest()) for n in range(200))


@pytest.mark.parametrize(
    "unit",
    [
        b"-",
        b"----begin",
        b"ssh-rsa ",
        b"ssh-rsa",
        b"AAAA",
        b"{",
        b"[",
        b'{"a":',
        b"\\u006b",
        b'"kty',
        b"M",
        b"MIIB",
        b"0",
        b"0\x82",
        b"\x00",
        b" ",
        b"\xef\xbb\xbf",
        b"0\x80",
        b"\x02\x01\x01",
        b"\\",
        b'"\\u006b"',
        b"A " * 12,
        b"QUFB",
        b"A" * 64 + b"=",
        b"A" * 88 + b".",
        b"30",
        b"0x",
        b"\\n",
        b"kty",
        b"kty:",
        b"<rsa",
    ],
    ids=ascii,
)
def test_identification_takes_linear_time(unit):
    """The longest secret there can be, made of any repeated piece, is judged at once."""
    started = time.process_time()
    for prefix in (b"", b"\x30\x82\x1f\xfc", b"{", b'{"\\u006b":'):
        encoding_of_key((prefix + unit * 8192)[:8192])
    assert time.process_time() - started < 2


def test_a_raw_ed25519_key_cannot_be_told_from_a_secret():
    """The one case that stays: 32 bytes of a raw public key are noise, which is why keys never come as raw bytes."""
    raw = private_key("EdDSA").public()._verifying.public_bytes_raw()
    assert encoding_of_key(raw) is None
    public = private_key("EdDSA").public()
    forged = assemble(
        compact(header_of(public, alg="HS256")), compact(claims()), lambda data: hmac.digest(raw, data, "sha256")
    )
    with pytest.raises(AlgorithmNotAllowed):
        verify(forged, public)
