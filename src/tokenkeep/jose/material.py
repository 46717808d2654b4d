"""What asymmetric keys are made of: how it is drawn, and which of it is refused.

Sizes, exponents, curves and points are judged here once, whatever encoding the key came in (RFC 7518 §3.3, §3.4,
RFC 8725 §3.4).
"""

from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicKey

from tokenkeep.jose.algorithms import Algorithm, KeyType
from tokenkeep.jose.errors import InvalidArgument, InvalidKey

__all__ = [
    "CURVES",
    "PrivateMaterial",
    "PublicMaterial",
    "check_rsa_numbers",
    "check_suits",
    "coordinate_size",
    "draw",
    "family",
    "valid_rsa",
]

PrivateMaterial = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
PublicMaterial = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

#: The curves of ECDSA by their JWK name.
CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_NAMES: Final = {curve.name: name for name, curve in CURVES.items()}

_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_MIN_EXPONENT: Final = 65537
# OpenSSL verifies with no larger exponent once the modulus is long, and a huge one only buys the sender our time.
_MAX_EXPONENT_BITS: Final = 64

# Edwards25519: y = ±1, y = 0 and the two coordinates of order 8. A signature "by" such a point proves nothing.
_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7
_LOW_ORDER: Final = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})


def draw(algorithm: Algorithm, *, rsa_bits: int) -> PrivateMaterial:
    """Draw a new private key for an asymmetric algorithm.

    Raises:
        InvalidArgument: the length of an RSA modulus is out of range.
    """
    if algorithm.key_type == "RSA":
        if type(rsa_bits) is not int or not _MIN_RSA_BITS <= rsa_bits <= _MAX_RSA_BITS:
            raise InvalidArgument(f"rsa_bits is a number from {_MIN_RSA_BITS} to {_MAX_RSA_BITS}")
        return rsa.generate_private_key(_MIN_EXPONENT, rsa_bits)
    curve = CURVES.get(algorithm.curve or "")
    if curve is not None:
        return ec.generate_private_key(curve)
    return Ed25519PrivateKey.generate()


def family(public: PublicMaterial) -> tuple[KeyType, str | None]:
    """Return the `kty` and `crv` of a public key.

    Raises:
        InvalidKey: a curve that is not supported.
    """
    if isinstance(public, RSAPublicKey):
        return "RSA", None
    if isinstance(public, Ed25519PublicKey):
        return "OKP", "Ed25519"
    curve = _NAMES.get(public.curve.name)
    if curve is None:
        raise InvalidKey("invalid key: only the curves P-256, P-384, P-521 and Ed25519 are supported")
    return "EC", curve


def coordinate_size(curve: ec.EllipticCurve) -> int:
    """Return how many bytes a coordinate of a curve has (RFC 7518 §6.2.1.2)."""
    return (curve.key_size + 7) // 8


def check_suits(public: PublicMaterial, algorithm: Algorithm) -> None:
    """Hold a public key to the rules of the algorithm it is to be bound to.

    Raises:
        InvalidKey: the wrong type or curve, an RSA size or exponent out of range, a point of low order.
    """
    key_type, curve = family(public)
    if key_type != algorithm.key_type or curve != algorithm.curve:
        wanted = {"oct": "a secret", "RSA": "an RSA key"}.get(algorithm.key_type, f"a key on {algorithm.curve}")
        raise InvalidKey(f"invalid key: {algorithm.name} needs {wanted}")
    if isinstance(public, RSAPublicKey):
        numbers = public.public_numbers()
        check_rsa_numbers(numbers.n, numbers.e)
    elif isinstance(public, Ed25519PublicKey):
        _check_point(public.public_bytes_raw())


def valid_rsa(numbers: RSAPrivateNumbers) -> RSAPrivateKey:
    """Return the private RSA key of some numbers, after checking each against the others.

    Whether the primes are prime is tested last: of long numbers that takes seconds, of endless ones for ever.

    Raises:
        InvalidKey: a number out of range, or numbers that contradict each other.
    """
    modulus = numbers.public_numbers.n
    check_rsa_numbers(modulus, numbers.public_numbers.e)
    if numbers.p * numbers.q != modulus:
        raise InvalidKey("invalid key: the numbers of the private RSA key contradict each other")
    if 3 * min(numbers.p, numbers.q).bit_length() < modulus.bit_length():
        raise InvalidKey("invalid key: a prime of an RSA key has at least a third of the length of the modulus")
    try:
        return numbers.private_key()
    except ValueError:
        raise InvalidKey("invalid key: the numbers of the private RSA key contradict each other") from None


def check_rsa_numbers(modulus: int, exponent: int) -> None:
    """Hold an RSA public key to 2048 to 8192 bits, an odd modulus and an odd exponent from 65537 on.

    Raises:
        InvalidKey: a number out of range.
    """
    if not _MIN_RSA_BITS <= modulus.bit_length() <= _MAX_RSA_BITS:
        raise InvalidKey(f"invalid key: an RSA modulus has {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits")
    if modulus % 2 == 0:
        raise InvalidKey("invalid key: an RSA modulus is odd")
    if exponent < _MIN_EXPONENT or exponent % 2 == 0 or exponent.bit_length() > _MAX_EXPONENT_BITS:
        raise InvalidKey(f"invalid key: the RSA exponent is odd, at least {_MIN_EXPONENT} and at most 64 bits long")


def _check_point(raw: bytes) -> None:
    """Hold 32 bytes to be the canonical encoding of an Ed25519 point that is not of low order (RFC 8032 §5.1.3).

    Raises:
        InvalidKey: not a point of the curve, not its canonical encoding, or a point of low order.
    """
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P or y in _LOW_ORDER:
        raise InvalidKey("invalid key: not a usable Ed25519 point")
    # x² = (y² - 1) / (d·y² + 1) has a root exactly when Euler's criterion gives 1; zero was ruled out above.
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(square, (_P - 1) // 2, _P) != 1:
        raise InvalidKey("invalid key: not a point of Ed25519")
