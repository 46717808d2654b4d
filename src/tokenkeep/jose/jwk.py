"""JSON Web Keys in: from their members to key material and algorithm (RFC 7517, RFC 7518 §6, RFC 8037 §2).

Reading is strict: canonical base64url, fixed lengths, every number checked against the others. `use` and `key_ops` are
honoured; members that are not known are ignored, as RFC 7517 §4 asks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tokenkeep.jose.algorithms import ALGORITHMS, Algorithm
from tokenkeep.jose.encoding import decode_base64url
from tokenkeep.jose.errors import InvalidKey, MalformedBase64
from tokenkeep.jose.hmac_secrets import Secret
from tokenkeep.jose.key_material import ALL_OPERATIONS, VERIFYING
from tokenkeep.jose.key_pair import KeyPair
from tokenkeep.jose.material import CURVES, check_rsa_numbers, coordinate_size, family, valid_rsa

__all__ = ["JwkContent", "has_private_members", "read_jwk"]

# The longest number is a modulus of 8192 bits: 1366 characters.
_MAX_MEMBER: Final = 1366
_MAX_SECRET_MEMBER: Final = 16384

# The algorithm of a JWK that names none, where its type and curve leave no choice.
_IMPLIED: Final[Mapping[str | None, str]] = {
    "P-256": "ES256",
    "P-384": "ES384",
    "P-521": "ES512",
    "Ed25519": "EdDSA",
}
_PRIVATE_NAMES: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class JwkContent:
    """What a JWK holds: material, and what it says about its use; repr shows none of it."""

    material: Secret | KeyPair
    alg: str | None
    kid: str | None
    #: "sign", "verify" or both
    operations: frozenset[str]

    def algorithm(self, wanted: Algorithm | None) -> Algorithm:
        """Return the one algorithm of the key; where the JWK names none, the wanted or implied one.

        Raises:
            InvalidKey: it names one that is unknown or not the wanted one, or leaves a choice.
        """
        if self.alg is None:
            curve = family(self.material.public)[1] if isinstance(self.material, KeyPair) else None
            implied = wanted or ALGORITHMS.get(_IMPLIED.get(curve, ""))
            if implied is None:
                raise InvalidKey("invalid key: it names no algorithm, and its type leaves a choice; pass alg")
            return implied
        algorithm = ALGORITHMS.get(self.alg)
        if algorithm is None:
            raise InvalidKey("invalid key: its algorithm is unknown")
        if wanted is not None and algorithm is not wanted:
            raise InvalidKey("invalid key: its algorithm is not the one asked for")
        return algorithm


def has_private_members(jwk: Mapping[str, Any]) -> bool:
    """Tell whether a JWK holds anything that must stay private, a symmetric key included."""
    return not _PRIVATE_NAMES.isdisjoint(jwk)


def read_jwk(jwk: Mapping[str, Any]) -> JwkContent:
    """Read the members of a JWK.

    Raises:
        InvalidKey: an unknown key type or curve, a missing or malformed member, members that contradict each other,
            or a `use` or `key_ops` that is not about signatures.
    """
    kty = jwk.get("kty")
    material: Secret | KeyPair
    if kty == "oct":
        material = Secret(_octets(jwk, "k", limit=_MAX_SECRET_MEMBER))
    elif kty == "RSA":
        material = _read_rsa(jwk)
    elif kty == "EC":
        material = _read_ec(jwk)
    elif kty == "OKP":
        material = _read_okp(jwk)
    else:
        raise InvalidKey("invalid key: unknown key type")
    can_sign = isinstance(material, Secret) or material.private is not None
    return JwkContent(material, _text(jwk, "alg"), _text(jwk, "kid"), _operations(jwk, can_sign=can_sign))


def _read_rsa(jwk: Mapping[str, Any]) -> KeyPair:
    n, e = _number(jwk, "n"), _number(jwk, "e")
    check_rsa_numbers(n, e)
    numbers = rsa.RSAPublicNumbers(e, n)
    if "d" not in jwk:
        if has_private_members(jwk):
            raise InvalidKey("invalid key: a private RSA key without member 'd'")
        return KeyPair(None, numbers.public_key())
    if "oth" in jwk:
        raise InvalidKey("invalid key: RSA keys of more than two primes are not supported")
    # A producer may leave the primes out (RFC 7518 §6.3.2); to search for them, a stranger's numbers take for ever.
    d, p, q = _number(jwk, "d"), _number(jwk, "p"), _number(jwk, "q")
    dp, dq, qi = _number(jwk, "dp"), _number(jwk, "dq"), _number(jwk, "qi")
    private = valid_rsa(rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, numbers))
    return KeyPair(private, private.public_key())


def _read_ec(jwk: Mapping[str, Any]) -> KeyPair:
    curve = CURVES.get(_text(jwk, "crv") or "")
    if curve is None:
        raise InvalidKey("invalid key: unknown curve")
    size = coordinate_size(curve)
    x = int.from_bytes(_octets(jwk, "x", size=size), "big")
    y = int.from_bytes(_octets(jwk, "y", size=size), "big")
    try:
        public = ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError:
        raise InvalidKey("invalid key: not a point of the curve") from None
    if "d" not in jwk:
        return KeyPair(None, public)
    d = int.from_bytes(_octets(jwk, "d", size=size), "big")
    try:
        private = ec.derive_private_key(d, curve)
    except ValueError:
        raise InvalidKey("invalid key: member 'd' is out of range") from None
    if private.public_key() != public:
        raise InvalidKey("invalid key: the private and the public part do not belong together")
    return KeyPair(private, public)


def _read_okp(jwk: Mapping[str, Any]) -> KeyPair:
    if _text(jwk, "crv") != "Ed25519":
        raise InvalidKey("invalid key: unknown curve")
    public = ed25519.Ed25519PublicKey.from_public_bytes(_octets(jwk, "x", size=32))
    if "d" not in jwk:
        return KeyPair(None, public)
    private = ed25519.Ed25519PrivateKey.from_private_bytes(_octets(jwk, "d", size=32))
    if private.public_key() != public:
        raise InvalidKey("invalid key: the private and the public part do not belong together")
    return KeyPair(private, public)


def _operations(jwk: Mapping[str, Any], *, can_sign: bool) -> frozenset[str]:
    """Return what the key may be used for (RFC 7517 §4.2, §4.3)."""
    use = _text(jwk, "use")
    if use is not None and use != "sig":
        raise InvalidKey("invalid key: its use is not 'sig'")
    possible = ALL_OPERATIONS if can_sign else VERIFYING
    stated = jwk.get("key_ops")
    if stated is None:
        return possible
    if not isinstance(stated, list | tuple) or not all(isinstance(name, str) for name in stated):
        raise InvalidKey("invalid key: member 'key_ops' is a list of strings")
    operations = frozenset(stated)
    if len(operations) != len(stated):
        raise InvalidKey("invalid key: member 'key_ops' names an operation twice")
    if not operations or not operations <= possible:
        raise InvalidKey("invalid key: member 'key_ops' allows something else than the signatures this key can make")
    return operations


def _text(jwk: Mapping[str, Any], name: str) -> str | None:
    value = jwk.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidKey(f"invalid key: member '{name}' is a string")
    return value


def _octets(jwk: Mapping[str, Any], name: str, *, size: int | None = None, limit: int = _MAX_MEMBER) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str):
        raise InvalidKey(f"invalid key: member '{name}' is a string")
    if len(text) > limit:
        raise InvalidKey(f"invalid key: member '{name}' is too long")
    try:
        data = decode_base64url(text)
    except MalformedBase64:
        raise InvalidKey(f"invalid key: member '{name}' is not canonical base64url") from None
    if size is not None and len(data) != size:
        raise InvalidKey(f"invalid key: member '{name}' holds {size} bytes")
    return data


def _number(jwk: Mapping[str, Any], name: str) -> int:
    """Read a positive integer of as few octets as possible (RFC 7518 §2, Base64urlUInt)."""
    data = _octets(jwk, name)
    if not data or data[0] == 0:
        raise InvalidKey(f"invalid key: member '{name}' is a positive number without leading zeros")
    return int.from_bytes(data, "big")
