"""A fuzz target for the token engine: whatever the bytes, only documented errors leave.

    python tests/fuzz/fuzz_engine.py tests/fuzz/corpus [libFuzzer options]

Needs the package atheris, which is not among the development requirements. New inputs worth keeping go into the
corpus, which an ordinary test runs through the same function.
"""

import secrets
import sys
from datetime import timedelta

from tokenkeep.jose import Key, KeySet, TokenError, jws, jwt
from tokenkeep.jose.encoding import decode_base64url, decode_object, encode_base64url, encode_object
from tokenkeep.jose.errors import InvalidKey

# One of each family; the corpus holds no signature, so that they may be drawn anew for every run.
KEY = Key.from_secret(secrets.token_bytes(64), alg="HS512", kid="fuzz")
PAIRS = [Key.generate(alg, kid=f"fuzz-{alg}", rsa_bits=2048) for alg in ("RS256", "PS256", "ES256", "ES512", "EdDSA")]
KEYS = KeySet([KEY])
PUBLIC_KEYS = KeySet([key.public() for key in PAIRS])
ALGORITHMS = ["HS512", *(key.alg for key in PAIRS)]
NOW = 1_700_000_000
SEPARATOR = b"\n--\n"


def judge(data: bytes) -> None:
    """Give bytes to everything that reads what strangers send, and check what each promises."""
    present(data)
    for key in (KEY, *PAIRS):
        present(signed(data, key))
    read_json(data)
    read_base64(data)
    read_keys(data)


def present(token: bytes) -> None:
    """Present bytes as a token, to single keys, to sets and to keys bound to an issuer."""
    for keys in (KEY, KEYS, *PAIRS, PUBLIC_KEYS, {"i": PUBLIC_KEYS}):
        try:
            verified = jwt.verify(
                token,
                keys,
                algorithms=ALGORITHMS,
                issuer=None if isinstance(keys, dict) else "i",
                audience="a",
                now=NOW,
                leeway=timedelta(0),
            )
        except TokenError:
            continue
        assert verified.header["alg"] in ({keys.alg} if isinstance(keys, Key) else ALGORITHMS)
        assert (verified.header["alg"] == "HS512") == (keys in (KEY, KEYS))
        assert verified.claims["exp"] > NOW
        assert verified.claims["iss"] == "i"
    for call in (jwt.decode_unverified, lambda given: jws.verify(given, PUBLIC_KEYS, algorithms=ALGORITHMS)):
        try:
            call(token)
        except TokenError:
            continue


def signed(data: bytes, key: Key = KEY) -> bytes:
    """Return a correctly signed token whose header and claims are the two halves of the bytes.

    A header that names the algorithm and kid of the first key names those of the given one instead.
    """
    header, _, claims = data.partition(SEPARATOR)
    header = header.replace(b"HS512", key.alg.encode()).replace(b'"fuzz"', f'"{key.kid}"'.encode())
    text = f"{encode_base64url(header)}.{encode_base64url(claims)}".encode()
    return text + b"." + encode_base64url(key.sign(text)).encode()


def read_json(data: bytes) -> None:
    """Read bytes as an object; what is read can be written and read again."""
    try:
        value = decode_object(data)
    except TokenError:
        return
    assert decode_object(encode_object(value)) == value
    assert decode_object(data, frozen=True).keys() == value.keys()


def read_base64(data: bytes) -> None:
    """Read bytes as base64url; what is read has no other spelling."""
    try:
        decoded = decode_base64url(data)
    except TokenError:
        return
    assert encode_base64url(decoded).encode() == data


def read_keys(data: bytes) -> None:
    """Read bytes as every form of key; what is read can be written and read again."""
    for read in (
        lambda: Key.from_pem(data, alg="ES256"),
        lambda: Key.from_der(data, alg="RS256"),
        lambda: Key.from_secret(data),
        lambda: Key.from_jwk(decode_object(data)),
        lambda: KeySet.from_jwks(data),
    ):
        try:
            found = read()
        except TokenError:
            continue
        for key in [found] if isinstance(found, Key) else found:
            written = key.to_jwk(private=key.is_private)
            try:
                assert Key.from_jwk(written).kid == key.kid
            except InvalidKey as error:
                raise AssertionError("a key that was read cannot be read again") from error


if __name__ == "__main__":
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, judge)
    atheris.Fuzz()
