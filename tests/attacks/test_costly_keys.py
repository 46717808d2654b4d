"""A key file cannot buy hours of our time: what would cost too much is refused before anything is computed.

The limit of time below is far above what a refusal takes, and far below what any of these keys would.
"""

import hashlib
import time
from base64 import encodebytes
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attacks.key_forms import SIGNING, private_forms
from tests.jose.samples import b64, private_key
from tokenkeep.jose import Key
from tokenkeep.jose.errors import InvalidKey
from tokenkeep.jose.key_cost import check_cost

SECONDS = 3
SALT, IV = bytes(range(16)), bytes(range(16, 32))

PBES2, PBKDF2, SCRYPT = "2a864886f70d01050d", "2a864886f70d01050c", "2b06010401da47040b"
PBE_SHA1_3DES, HMAC_SHA256, AES_256_CBC = "2a864886f70d010c0103", "2a864886f70d0209", "60864801650304012a"
RSA, DSA, DH = "2a864886f70d010101", "2a8648ce380401", "2a864886f70d010301"


@contextmanager
def soon() -> Iterator[None]:
    """Check that something takes little of the processor's time."""
    started = time.process_time()
    yield
    assert time.process_time() - started < SECONDS


def tlv(tag, content):
    """Return one DER element."""
    size = len(content)
    octets_of_size = size.to_bytes((size.bit_length() + 7) // 8, "big")
    head = bytes([size]) if size < 128 else bytes([0x80 + len(octets_of_size)]) + octets_of_size
    return bytes([tag]) + head + content


def sequence(*parts):
    return tlv(0x30, b"".join(parts))


def integer(value):
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def identifier(digits):
    return tlv(6, bytes.fromhex(digits))


def octets(content):
    return tlv(4, content)


def pem(data, label="ENCRYPTED PRIVATE KEY"):
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), encodebytes(data), label.encode())


def odd(bits, seed=0x1234567):
    """Return an odd number of so many bits that is hardly a prime."""
    return (1 << (bits - 1)) | (pow(3, seed, 1 << (bits - 2)) | 1)


def rsa_numbers(p, q):
    """Return the numbers of PKCS #1 for two factors, prime or not."""
    return p * q, 65537, odd(p.bit_length() + 8), p, q, odd(p.bit_length() - 1), odd(q.bit_length() - 1), 3


def pkcs1(numbers):
    return sequence(integer(0), *map(integer, numbers))


def pkcs8(oid, parameters, key):
    return sequence(integer(0), sequence(identifier(oid), parameters), octets(key))


def encrypted(kdf, content=bytes(144), scheme=PBES2):
    """Return an encrypted PKCS #8 whose key is derived as told."""
    cipher = sequence(identifier(AES_256_CBC), octets(IV))
    return sequence(sequence(identifier(scheme), sequence(kdf, cipher)), octets(content))


def pbkdf2(rounds, *lengths):
    prf = sequence(identifier(HMAC_SHA256), tlv(5, b""))
    return sequence(identifier(PBKDF2), sequence(octets(SALT), integer(rounds), *map(integer, lengths), prf))


def scrypt(n, r, p, *lengths):
    return sequence(identifier(SCRYPT), sequence(octets(SALT), *map(integer, (n, r, p, *lengths))))


def test_an_rsa_key_without_primes_is_refused_at_once():
    """A private exponent that fits no two factors would be searched with for ever."""
    prime = 2**2203 - 1
    jwk = {"kty": "RSA", "alg": "RS256", "n": prime, "e": 65537, "d": pow(65537, -1, prime - 1)}
    text = {
        name: value if isinstance(value, str) else b64(value.to_bytes(276, "big").lstrip(b"\0"))
        for name, value in jwk.items()
    }
    with soon(), pytest.raises(InvalidKey, match="'p'"):
        Key.from_jwk(text)


@pytest.mark.parametrize("bits", [4096, 8192, 8200, 12000, 16384])
def test_composite_factors_are_refused_at_once(bits):
    """Numbers that are no primes, in and beyond the range, are refused in a JWK, PKCS #1 and PKCS #8."""
    numbers = rsa_numbers(odd(bits // 2), odd(bits // 2, 7654321))
    names = ("n", "e", "d", "p", "q", "dp", "dq", "qi")
    jwk = {
        name: b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        for name, number in zip(names, numbers, strict=True)
    }
    data = pkcs1(numbers)
    with soon():
        for call in (
            lambda: Key.from_jwk({"kty": "RSA", "alg": "RS256", **jwk}),
            lambda: Key.from_der(data, alg="RS256"),
            lambda: Key.from_der(pkcs8(RSA, tlv(5, b""), data), alg="PS256"),
            lambda: Key.from_pem(pem(data, "RSA PRIVATE KEY"), alg="RS256"),
            lambda: Key.from_pem(pem(pkcs8(RSA, tlv(5, b""), data), "PRIVATE KEY"), alg="RS256"),
        ):
            with pytest.raises(InvalidKey):
                call()


def test_long_primes_are_refused_by_the_length_of_the_modulus():
    """True primes beyond the range are never tested for being prime."""
    p, q = 2**9689 - 1, 2**1279 - 1
    d = pow(65537, -1, (p - 1) * (q - 1))
    data = pkcs1((p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)))
    assert len(data) < 8192
    with soon():
        for call in (
            lambda: Key.from_der(data, alg="RS256"),
            lambda: Key.from_pem(pem(data, "RSA PRIVATE KEY"), alg="RS256"),
        ):
            with pytest.raises(InvalidKey, match="8192 bits"):
                call()


def test_a_long_prime_beside_a_short_one_is_refused():
    """Factors of very different length are refused: the long one costs time, and the short one is found by anybody."""
    p, q = odd(7000), 2**521 - 1
    with soon(), pytest.raises(InvalidKey, match="third"):
        Key.from_der(pkcs1(rsa_numbers(p, q)), alg="RS256")
    p, q = 2**1279 - 1, 2**2203 - 1
    d = pow(65537, -1, (p - 1) * (q - 1))
    assert Key.from_der(pkcs1((p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))), alg="RS256")


def test_factors_that_are_not_those_of_the_modulus_are_refused():
    """A modulus in range does not let endless factors in."""
    n, e, d, _, _, dp, dq, qi = rsa_numbers(odd(1024), odd(1024, 99))
    for p, q in ((odd(8000), odd(8000, 5)), (1, n), (n, 1), (0, n), (odd(1024), odd(1024, 98))):
        with soon(), pytest.raises(InvalidKey):
            Key.from_der(pkcs1((n, e, d, p, q, dp, dq, qi)), alg="RS256")


@pytest.mark.parametrize("bits", [2048, 15000, 30000])
@pytest.mark.parametrize("oid", [DSA, DH])
def test_keys_of_other_types_cost_nothing(oid, bits):
    """A private key of DSA or Diffie-Hellman, whose public half would be computed, is refused by its type."""
    numbers = sequence(integer(odd(bits)), integer(odd(256)), integer(odd(bits - 1)))
    data = pkcs8(oid, numbers, integer(odd(bits - 2)))
    with soon():
        for call in (
            lambda: Key.from_der(data, alg="RS256"),
            lambda: Key.from_pem(pem(data, "PRIVATE KEY"), alg="RS256"),
        ):
            with pytest.raises(InvalidKey, match=r"only RSA|8192"):
                call()


# Each would cost ten seconds or so if it were let through: enough to be noticed, and little enough to wait for.
COSTLY = {
    "rounds": encrypted(pbkdf2(40_000_000)),
    "rounds beyond all": encrypted(pbkdf2(2**90)),
    "rounds, one too many": encrypted(pbkdf2(2_000_001)),
    "length": encrypted(pbkdf2(1000, 2**20)),
    "length, one too long": encrypted(pbkdf2(1000, 1025)),
    "memory": encrypted(scrypt(2**20, 8, 1)),
    "passes": encrypted(scrypt(2**14, 8, 2**9)),
    "scrypt, one too many": encrypted(scrypt(2**10, 2**10 + 1, 1)),
    "scrypt length": encrypted(scrypt(2**14, 8, 1, 2**20)),
    "old scheme": sequence(
        sequence(identifier(PBE_SHA1_3DES), sequence(octets(SALT[:8]), integer(40_000_000))), octets(bytes(144))
    ),
    "hidden below": sequence(
        sequence(identifier(PBES2), sequence(sequence(sequence(pbkdf2(40_000_000))))),
        octets(bytes(9)),
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_passwords_are_not_stretched_without_end(name):
    """An encrypted key that asks for too many rounds or too much memory is refused before its password is tried."""
    data = COSTLY[name]
    with soon():
        for password in (b"password", None):
            with pytest.raises(InvalidKey, match="too much work"):
                Key.from_der(data, alg="ES256", password=password)
            with pytest.raises(InvalidKey, match="too much work"):
                Key.from_pem(pem(data), alg="ES256", password=password)


def test_the_old_encryption_of_pem_is_no_way_round():
    """The header of the old encryption does not let the rounds of PKCS #8 pass, wherever it stands."""
    body, header = (
        encodebytes(COSTLY["rounds"]),
        b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,%b\n\n" % IV.hex().encode(),
    )
    for label in (b"ENCRYPTED PRIVATE KEY", b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY"):
        for inside in (header + body, body + header, body + b"Proc-Type: 4,ENCRYPTED\n"):
            text = b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, inside, label)
            for alg in ("ES256", "RS256"):
                with soon(), pytest.raises(InvalidKey):
                    Key.from_pem(text, alg=alg, password=b"password")


@pytest.mark.parametrize(
    "kdf", [pbkdf2(2_000_000), pbkdf2(600_000, 32), pbkdf2(2048, 1024), scrypt(2**17, 8, 1), scrypt(2**14, 8, 8, 32)]
)
def test_what_is_advised_is_affordable(kdf):
    """The limits are inside, and lie above what is advised today."""
    check_cost(encrypted(kdf))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0",
        sequence(),
        sequence(sequence(b"\2\xff"), octets(b"")),
        sequence(sequence(sequence(b"\6\x7f")), octets(b"")),
        sequence(tlv(0x30, b"\x30\x02" * 20 + b"\5\0"), octets(b"")),
        sequence(integer(0), sequence(), octets(b"")),
        sequence(integer(0), sequence(b"\6\x7f"), octets(b"")),
        b"\x30\x84\xff\xff\xff\xff\2\1\0",
        b"\x30\x80\2\1\0\0\0",
    ],
)
def test_what_is_no_der_is_refused(data):
    """Structures that end early or lie too deep are refused, not guessed at."""
    for password in (b"password", None):
        with pytest.raises(InvalidKey):
            Key.from_der(data, alg="ES256", password=password)
        with pytest.raises(InvalidKey):
            Key.from_pem(pem(data), alg="ES256", password=password)


@pytest.mark.parametrize("kind", ["scrypt", "PBKDF2"])
def test_encrypted_keys_of_either_kind_are_read(kind):
    """Keys encrypted by other tools, with scrypt or PBKDF2, are read with their password."""
    private = ec.generate_private_key(ec.SECP256R1())
    plain = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if kind == "scrypt":
        secret, kdf = Scrypt(SALT, 32, 2**14, 8, 1).derive(b"password"), scrypt(2**14, 8, 1)
    else:
        secret, kdf = PBKDF2HMAC(SHA256(), 32, SALT, 5000).derive(b"password"), pbkdf2(5000, 32)
    padder, encryptor = padding.PKCS7(128).padder(), Cipher(algorithms.AES(secret), modes.CBC(IV)).encryptor()
    data = encrypted(kdf, encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize())
    expected = private.public_key()
    for key in (
        Key.from_der(data, alg="ES256", password=b"password"),
        Key.from_pem(pem(data), alg="ES256", password=b"password"),
    ):
        assert key._verifying == expected
    with pytest.raises(InvalidKey, match="password"):
        Key.from_der(data, alg="ES256", password=b"other")


def test_keys_of_the_old_encryption_of_pem_are_read():
    """A key in the form `openssl rsa -aes128` wrote is read; its derivation is a single round."""
    numbers = private_key("RS256")._signing.private_numbers()
    plain = numbers.private_key().private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    secret = hashlib.md5(b"password" + IV[:8], usedforsecurity=False).digest()
    padder, encryptor = padding.PKCS7(128).padder(), Cipher(algorithms.AES(secret), modes.CBC(IV)).encryptor()
    body = encodebytes(encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize())
    text = (
        b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,%b\n\n%b"
        b"-----END RSA PRIVATE KEY-----\n" % (IV.hex().upper().encode(), body)
    )
    with pytest.raises(InvalidKey, match="no password was given"):
        Key.from_pem(text, alg="RS256")
    assert Key.from_pem(text, alg="RS256", password=b"password").thumbprint() == private_key("RS256").thumbprint()
    with pytest.raises(InvalidKey):
        Key.from_pem(text, alg="RS256", password=b"other")


def test_a_private_key_is_not_boundless():
    """A private key has at most 8192 bytes, in DER and within PEM."""
    with pytest.raises(InvalidKey, match="8192 bytes"):
        check_cost(sequence(integer(0), octets(bytes(8192 - 10))))
    check_cost(sequence(integer(0), octets(bytes(8192 - 11))))
    with pytest.raises(InvalidKey, match="8192 bytes"):
        Key.from_pem(pem(sequence(integer(0), octets(bytes(9000))), "PRIVATE KEY"), alg="ES256")
    with pytest.raises(InvalidKey, match="8192 bytes"):
        Key.from_pem(pem(sequence(integer(1), octets(bytes(9000))), "EC PRIVATE KEY"), alg="ES256")


PRIVATE = [
    form
    for alg in SIGNING
    for name, form in private_forms(alg).items()
    if name.endswith("DER") and "base64" not in name
]


@settings(max_examples=150)
@given(st.data())
def test_damaged_private_keys_are_judged_soon(data):
    """Whatever is changed in a private key, its reading ends soon and with a key or the documented error."""
    form = bytearray(data.draw(st.sampled_from(PRIVATE)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(form) - 1, 400)))
        form[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(min_size=0, max_size=3))
    for password in (None, b"password"):
        for alg in ("RS256", "ES256"):
            with soon():
                try:
                    Key.from_der(bytes(form), alg=alg, password=password)
                except InvalidKey:
                    continue
