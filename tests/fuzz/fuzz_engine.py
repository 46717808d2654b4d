"""A fuzz target for the token engine: whatever the bytes, only documented errors leave.

    python tests/fuzz/fuzz_engine.py tests/fuzz/corpus [libFuzzer options]

Needs the package atheris, which is not among the development requirements. New inputs worth keeping go into the
corpus, which an ordinary test runs through the same function.
"""

import hmac
import secrets
import sys
from datetime import timedelta

from tokenkeep.jose import Key, KeySet, TokenError, jws, jwt
from tokenkeep.jose.encoding import decode_base64url, decode_frozen, decode_object, encode_base64url, encode_object
from tokenkeep.jose.errors import InvalidKey

SECRET = secrets.token_bytes(64)
KEY = Key.from_secret(SECRET, alg="HS512", kid="fuzz")
KEYS = KeySet([KEY])
NOW = 1_700_000_000
SEPARATOR = b"\n--\n"


def judge(data: bytes) -> None:
    """Give bytes to everything that reads what strangers send, and check what each promises."""
    present(data)
    present(signed(data))
    read_json(data)
    read_base64(data)
    read_keys(data)


def present(token: bytes) -> None:
    """Present bytes as a token, to one key and to a set."""
    for keys in (KEY, KEYS):
        try:
            verified = jwt.verify(
                token, keys, algorithms=["HS512"], issuer="i", audience="a", now=NOW, leeway=timedelta(0)
            )
        except TokenError:
            continue
        assert verified.header["alg"] == "HS512"
        assert verified.claims["exp"] > NOW
        assert verified.claims["iss"] == "i"
    for call in (jwt.decode_unverified, lambda given: jws.verify(given, KEYS, algorithms=["HS512"])):
        try:
            call(token)
        except TokenError:
            continue


def signed(data: bytes) -> bytes:
    """Return a correctly signed token whose header and claims are the two halves of the bytes."""
    header, _, claims = data.partition(SEPARATOR)
    text = f"{encode_base64url(header)}.{encode_base64url(claims)}".encode()
    return text + b"." + encode_base64url(hmac.digest(SECRET, text, "sha512")).encode()


def read_json(data: bytes) -> None:
    """Read bytes as an object; what is read can be written and read again."""
    try:
        value = decode_object(data)
    except TokenError:
        return
    assert decode_object(encode_object(value)) == value
    assert decode_frozen(data).keys() == value.keys()


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
