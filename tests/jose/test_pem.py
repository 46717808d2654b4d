"""PEM and DER in and out."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)
from cryptography.x509.oid import NameOID

from tests.jose.samples import ASYMMETRIC_ALGORITHMS, private_key
from tokenkeep.jose import Key
from tokenkeep.jose.errors import InvalidArgument, InvalidKey, TokenError, WrongType

ALGORITHMS_OF_TYPES = ["RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
PASSWORD = b"correct horse"


def objects_of(alg):
    """Return the two halves of a sample key as objects of the underlying library."""
    key = private_key(alg)
    return load_der_private_key(key.to_der(private=True), None), load_der_public_key(key.to_der())


def certificate_of(private):
    """Return a self-signed certificate, long expired."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    start = datetime(2001, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 7, start, start + timedelta(days=1))
    return builder.sign(private, None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def encodings_of(alg):
    """Yield name, data, password and whether it is private, for every encoding the engine reads."""
    private, public = objects_of(alg)
    for encoding in (Encoding.PEM, Encoding.DER):
        yield "PKCS8", private.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption()), None, True
        locked = private.private_bytes(encoding, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD))
        yield "encrypted PKCS8", locked, PASSWORD, True
        if not alg.startswith("Ed"):  # PKCS #1 and SEC1
            yield (
                "traditional",
                private.private_bytes(encoding, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
                None,
                True,
            )
        yield "SPKI", public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo), None, False
        if alg.startswith(("RS", "PS")):
            yield "PKCS1 public", public.public_bytes(encoding, PublicFormat.PKCS1), None, False
        yield "X.509", certificate_of(private).public_bytes(encoding), None, False


def read(data, alg, **options):
    """Read PEM, as bytes and as text, or DER, whichever it is."""
    if data.startswith(b"-----"):
        assert Key.from_pem(data.decode(), alg=alg, **options).kid == Key.from_pem(data, alg=alg, **options).kid
        return Key.from_pem(data, alg=alg, **options)
    return Key.from_der(data, alg=alg, **options)


@pytest.mark.parametrize("alg", ALGORITHMS_OF_TYPES)
def test_every_encoding_is_read(alg):
    """PKCS #8, encrypted PKCS #8, PKCS #1, SEC1, SPKI and X.509, in PEM and DER, are read as the same key."""
    key = private_key(alg)
    kinds = set()
    for kind, data, password, private in encodings_of(alg):
        twin = read(data, alg, password=password)
        assert twin.thumbprint() == twin.kid == key.thumbprint()
        assert (twin.alg, twin.is_private) == (alg, private)
        assert twin.to_jwk(private=private).keys() == key.to_jwk(private=private).keys()
        assert read(data, alg, password=password, kid="mine").kid == "mine"
        kinds.add(kind)
    assert len(kinds) >= 4


@pytest.mark.parametrize("alg", ASYMMETRIC_ALGORITHMS)
def test_round_trip(alg):
    """What is written is read back: SPKI, PKCS #8 and encrypted PKCS #8."""
    key = private_key(alg)
    for write, reading in ((key.to_pem, Key.from_pem), (key.to_der, Key.from_der)):
        assert reading(write(), alg=alg, kid=key.kid).to_jwk() == key.to_jwk()
        for password in (None, PASSWORD):
            data = write(private=True, password=password)
            assert reading(data, alg=alg, kid=key.kid, password=password).to_jwk(private=True) == key.to_jwk(
                private=True
            )
    assert key.to_pem().startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert key.to_pem(private=True).startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert key.to_pem(private=True, password=PASSWORD).startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")


def test_secrets_have_no_pem():
    """An HMAC key is written as a JWK only."""
    key = private_key("HS256")
    for private in (False, True):
        with pytest.raises(InvalidKey, match="PEM"):
            key.to_pem(private=private)
        with pytest.raises(InvalidKey, match="DER"):
            key.to_der(private=private)


def test_passwords_are_bytes_of_a_sensible_length():
    """A password for nothing, an empty, endless or textual one is a caller's mistake."""
    key = private_key("ES256")
    for write in (key.to_pem, key.to_der):
        with pytest.raises(InvalidArgument, match="private=True"):
            write(password=PASSWORD)
        for password in (b"", b"x" * 1024):
            with pytest.raises(InvalidArgument, match="1023"):
                write(private=True, password=password)
        with pytest.raises(WrongType, match="encode"):
            write(private=True, password="text")
        assert write(private=True, password=b"x" * 1023)
        assert write(private=True, password=b"x")
    for reading in (Key.from_pem, Key.from_der):
        with pytest.raises(WrongType, match="encode"):
            reading(key.to_pem(), alg="ES256", password="text")


@pytest.mark.parametrize("alg", ALGORITHMS_OF_TYPES)
def test_wrong_missing_and_needless_passwords(alg):
    """An encrypted key needs its password, and a plain one takes none."""
    key = private_key(alg)
    for write, reading in ((key.to_pem, Key.from_pem), (key.to_der, Key.from_der)):
        locked = write(private=True, password=PASSWORD)
        for password in (None, b"", b"wrong"):
            with pytest.raises(InvalidKey, match="password"):
                reading(locked, alg=alg, password=password)
        with pytest.raises(InvalidKey, match="not encrypted"):
            reading(write(private=True), alg=alg, password=PASSWORD)


@pytest.mark.parametrize("data", ["text", None, bytearray(b"x"), 5])
def test_data_is_bytes(data):
    """DER is bytes; PEM is bytes or text."""
    with pytest.raises(WrongType):
        Key.from_der(data, alg="ES256")
    if not isinstance(data, str):
        with pytest.raises(WrongType):
            Key.from_pem(data, alg="ES256")


def test_a_pem_holds_exactly_one_key():
    """No block, two blocks, and a key beside its certificate are refused: nobody knows which is meant."""
    key = private_key("ES256")
    private, _ = objects_of("ES256")
    certificate = certificate_of(private).public_bytes(Encoding.PEM)
    for data in (
        b"",
        b"hello",
        key.to_pem() * 2,
        key.to_pem(private=True) + certificate,
        certificate * 2,
        key.to_pem()[5:],
    ):
        with pytest.raises(InvalidKey, match="one PEM block"):
            Key.from_pem(data, alg="ES256")
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    traditional = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert Key.from_pem(parameters + traditional, alg="ES256").thumbprint() == key.thumbprint()
    assert Key.from_pem(b"a comment\n" + key.to_pem() + b"\n\n", alg="ES256").kid == key.thumbprint()


@pytest.mark.parametrize(
    "label", ["X509 CRL", "CERTIFICATE REQUEST", "OPENSSH PRIVATE KEY", "DSA PRIVATE KEY", "PKCS7", "KEY"]
)
def test_other_blocks_are_not_read(label):
    """A block of another kind is refused by its label."""
    data = private_key("ES256").to_pem().replace(b"PUBLIC KEY", label.encode())
    with pytest.raises(InvalidKey, match="kind of PEM block"):
        Key.from_pem(data, alg="ES256")


def test_unreadable_data_is_refused():
    """Truncated, damaged, swapped and foreign data is refused with the one documented error."""
    key = private_key("ES256")
    pem, der, private = key.to_pem(), key.to_der(), key.to_der(private=True)
    for data in (
        pem[:-40],
        pem.replace(b"M", b"N", 1),
        pem.replace(b"PUBLIC", b"PRIVATE"),
        pem.replace(b"-----END", b"-----ENX"),
    ):
        with pytest.raises(InvalidKey):
            Key.from_pem(data, alg="ES256")
    for data in (b"", b"0", der[:-1], der + b"\0", private[:-1], private[5:], b"\0" * 100, pem, b"\xff" * 1000):
        with pytest.raises(InvalidKey, match="unreadable"):
            Key.from_der(data, alg="ES256")
    with pytest.raises(InvalidKey, match="ASCII"):
        Key.from_pem(pem.decode() + "é", alg="ES256")


@pytest.mark.parametrize(
    "make",
    [
        ed448.Ed448PrivateKey.generate,
        x25519.X25519PrivateKey.generate,
        lambda: dsa.generate_private_key(1024),
    ],
)
def test_keys_of_other_types_are_refused(make):
    """DSA, Ed448 and key agreement keys sign none of the algorithms."""
    private = make()
    data = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for alg in ("RS256", "ES256", "EdDSA", "HS256"):
        for form in (data, public):
            with pytest.raises(InvalidKey, match="only RSA"):
                Key.from_der(form, alg=alg)


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP224R1(), ec.BrainpoolP256R1()])
def test_other_curves_are_refused(curve):
    """A curve that no algorithm uses is refused, in every encoding."""
    private = ec.generate_private_key(curve)
    with pytest.raises(InvalidKey, match="curves"):
        Key.from_der(private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), alg="ES256")
    with pytest.raises(InvalidKey, match="curves"):
        Key.from_pem(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), alg="ES256")


def test_rsa_rules_hold_for_every_encoding():
    """A short modulus and a small exponent are refused in PEM and DER as in a JWK."""
    short = rsa.generate_private_key(65537, 1024)
    small = rsa.generate_private_key(3, 2048)
    for private, rule in ((short, "8192 bits"), (small, "exponent")):
        for data in (
            private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
            private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            certificate_of(private).public_bytes(Encoding.DER),
        ):
            with pytest.raises(InvalidKey, match=rule):
                Key.from_der(data, alg="RS256")


def test_low_order_points_are_refused_in_every_encoding():
    """A point of low order is refused in SPKI as in a JWK."""
    head = private_key("EdDSA").to_der()[:-32]
    with pytest.raises(InvalidKey, match="point"):
        Key.from_der(head + b"\1" + bytes(31), alg="EdDSA")


def test_keys_are_not_boundless():
    """A megabyte is refused by its size."""
    pem = private_key("ES256").to_pem()
    assert Key.from_pem(pem + b"\n" * (65536 - len(pem)), alg="ES256")
    for data in (pem + b"\n" * (65537 - len(pem)), b"x" * 10_000_000):
        for reading in (Key.from_pem, Key.from_der):
            with pytest.raises(InvalidKey, match="65536"):
                reading(data, alg="ES256")


def test_refusals_do_not_quote_the_data():
    """No message repeats a piece of what was to be read, and no chained error does."""
    for data in (b"-----BEGIN PRIVATE KEY-----\nsesame==\n-----END PRIVATE KEY-----", b"-----BEGIN sesame-----"):
        with pytest.raises(InvalidKey) as caught:
            Key.from_pem(data, alg="ES256")
        assert "sesame" not in str(caught.value)
        assert caught.value.__context__ is None
        assert isinstance(caught.value, TokenError)
