"""Keys, claims and hostile tokens that the tests of the engine share."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from secrets import token_bytes
from typing import Any

from tokenkeep.jose import Key, jwt
from tokenkeep.jose.algorithms import ALGORITHMS

DATA = Path(__file__).resolve().parents[1] / "data"

NOW = 1_700_000_000
LIFETIME = timedelta(minutes=15)
ISSUER = "https://auth.example"
AUDIENCE = "https://api.example"

# Drawn for this run, as all keys here are: a fixed one would be a publicly known secret.
SECRET = token_bytes(64)
HMAC_ALGORITHMS = [name for name, row in ALGORITHMS.items() if row.key_type == "oct"]
ASYMMETRIC_ALGORITHMS = [name for name in ALGORITHMS if name not in HMAC_ALGORITHMS]
# One of each family, for what need not run fifteen times.
FAMILIES = ["HS256", "RS256", "PS256", "ES256", "EdDSA"]


@cache
def private_key(alg: str) -> Key:
    """Return the one private key of this run for an algorithm; all RSA algorithms share a modulus."""
    kid = f"key-{alg}"
    if alg in HMAC_ALGORITHMS:
        return Key.from_secret(SECRET, alg=alg, kid=kid)
    if ALGORITHMS[alg].key_type == "RSA" and alg != "RS256":
        return Key.from_der(private_key("RS256").to_der(private=True), alg=alg, kid=kid)
    if alg == "Ed25519":
        return Key.from_der(private_key("EdDSA").to_der(private=True), alg=alg, kid=kid)
    return Key.generate(alg, kid=kid, rsa_bits=2048)


def verifying_key(alg: str) -> Key:
    """Return the key that a verifier would hold: the public half where there is one."""
    key = private_key(alg)
    return key if alg in HMAC_ALGORITHMS else key.public()


def b64(data: bytes | str) -> str:
    """Spell bytes in base64url, by other code than the engine's."""
    return urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Read base64url, by other code than the engine's."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact(value: object) -> bytes:
    """Write JSON without white space, by other code than the engine's."""
    return json.dumps(value, separators=(",", ":")).encode()


def assemble(header: bytes, payload: bytes, sign: Callable[[bytes], bytes]) -> str:
    """Join any header and payload to a token, signed by a function."""
    signed = f"{b64(header)}.{b64(payload)}"
    return f"{signed}.{b64(sign(signed.encode()))}"


def header_of(key: Key, **others: Any) -> dict[str, Any]:
    """Return the header the engine writes for a key, with parameters replaced or added."""
    return {"alg": key.alg, "typ": "JWT", "kid": key.kid, **others}


def claims(**others: Any) -> dict[str, Any]:
    """Return acceptable claims with some replaced or added; None as a value removes one."""
    full = {"iss": ISSUER, "sub": "1", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 900, "jti": "id", **others}
    return {name: value for name, value in full.items() if value is not None}


def token(
    key: Key | None = None,
    *,
    header: Mapping[str, Any] | bytes | None = None,
    payload: Mapping[str, Any] | bytes | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> str:
    """Return a correctly signed token with any header and claims, as a mapping or as raw text."""
    key = private_key("HS256") if key is None else key
    head = header if isinstance(header, bytes) else compact(header_of(key) if header is None else header)
    body = payload if isinstance(payload, bytes) else compact(claims() if payload is None else payload)
    return assemble(head, body, key.sign if sign is None else sign)


def verify(presented: str | bytes, key: Any = None, **others: Any) -> jwt.VerifiedToken:
    """Verify with the issuer, audience and instant of the samples, with arguments replaced."""
    key = private_key("HS256") if key is None else key
    options: dict[str, Any] = {
        "algorithms": list(ALGORITHMS),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "leeway": timedelta(0),
        "now": NOW,
        **others,
    }
    return jwt.verify(presented, key, **options)


def issue(key: Key | None = None, custom: Mapping[str, Any] | None = None, **others: Any) -> str:
    """Issue a token that `verify` accepts, with arguments replaced."""
    options: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "subject": "1",
        "lifetime": LIFETIME,
        "now": NOW,
        **others,
    }
    return jwt.issue({} if custom is None else custom, private_key("HS256") if key is None else key, **options)
