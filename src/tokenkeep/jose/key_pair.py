"""A key pair, or the public half of one, before it is bound to an algorithm and a kid.

Writes what is written of it: JWK members (RFC 7518 §6, RFC 8037 §2), PKCS #8 and SPKI.
"""

from dataclasses import dataclass
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tokenkeep.jose.algorithms import Algorithm
from tokenkeep.jose.arguments import checked_bytes
from tokenkeep.jose.encoding import encode_base64url
from tokenkeep.jose.errors import InvalidArgument, InvalidKey
from tokenkeep.jose.key_material import thumbprint_of
from tokenkeep.jose.known_secrets import is_known_key
from tokenkeep.jose.material import (
    PrivateMaterial,
    PublicMaterial,
    check_suits,
    coordinate_size,
    family,
    valid_rsa,
)

__all__ = ["Encoding", "KeyPair"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class KeyPair:
    """The two halves of an asymmetric key, or the public one alone; repr shows neither."""

    private: PrivateMaterial | None
    public: PublicMaterial

    @classmethod
    def of(cls, found: object) -> Self:
        """Return the key pair, or the public half, in a key object of `cryptography`.

        A private RSA key may come unvalidated; it leaves validated.

        Raises:
            InvalidKey: a type of key that signs none of the known algorithms, or an RSA key that `valid_rsa` refuses.
        """
        if isinstance(found, rsa.RSAPrivateKey):
            found = valid_rsa(found.private_numbers())
        if isinstance(found, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey):
            return cls(found, found.public_key())
        if isinstance(found, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey):
            return cls(None, found)
        raise InvalidKey("invalid key: only RSA, P-256, P-384, P-521 and Ed25519 keys are supported")

    def members(self, *, private: bool) -> dict[str, Any]:
        """Return the JWK members, `kty` first.

        Raises:
            InvalidKey: `private`, and there is no private half.
        """
        members = _public_members(self.public)
        return {**members, **_private_members(self._private_half())} if private else members

    def thumbprint(self) -> str:
        """Return the SHA-256 thumbprint (RFC 7638, RFC 8037 §2)."""
        return thumbprint_of(_public_members(self.public))

    def signer_and_verifier(self, algorithm: Algorithm) -> tuple[PrivateMaterial | None, PublicMaterial]:
        """Return what the algorithm signs and verifies with.

        Raises:
            InvalidKey: the key does not suit the algorithm, or its private half is publicly known.
        """
        check_suits(self.public, algorithm)
        # The public half too: whoever trusts it trusts everybody.
        if is_known_key(self.thumbprint()):
            raise InvalidKey("invalid key: the private key is publicly known; draw a new one with Key.generate")
        return self.private, self.public

    def serialize(self, encoding: Encoding, *, private: bool, password: bytes | None) -> bytes:
        """Return PKCS #8 if `private`, encrypted when a password is given, else SPKI.

        Raises:
            InvalidKey: `private`, and there is no private half.
            InvalidArgument: a password without `private`, or one that is empty or longer than 1023 bytes.
            WrongType: the password is no bytes.
        """
        if not private:
            if password is not None:
                raise InvalidArgument("a password protects private keys only; pass private=True")
            return self.public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        half = self._private_half()
        encryption: KeySerializationEncryption = NoEncryption()
        if password is not None:
            if not 1 <= len(checked_bytes("a password", password)) <= 1023:
                raise InvalidArgument("a password has 1 to 1023 bytes")
            encryption = BestAvailableEncryption(password)
        return half.private_bytes(encoding, PrivateFormat.PKCS8, encryption)

    def _private_half(self) -> PrivateMaterial:
        if self.private is None:
            raise InvalidKey("invalid key: a public key has no private part")
        return self.private


def _public_members(public: PublicMaterial) -> dict[str, Any]:
    """Return the members that describe a public key, `kty` included."""
    if isinstance(public, rsa.RSAPublicKey):
        rsa_numbers = public.public_numbers()
        return {"kty": "RSA", "n": _spell(rsa_numbers.n), "e": _spell(rsa_numbers.e)}
    if isinstance(public, ec.EllipticCurvePublicKey):
        _, curve = family(public)
        size = coordinate_size(public.curve)
        point = public.public_numbers()
        return {"kty": "EC", "crv": curve, "x": _spell(point.x, size), "y": _spell(point.y, size)}
    return {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(public.public_bytes_raw())}


def _private_members(private: PrivateMaterial) -> dict[str, Any]:
    """Return the private members only, to be joined with the public ones."""
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.private_numbers()
        return {
            "d": _spell(numbers.d),
            "p": _spell(numbers.p),
            "q": _spell(numbers.q),
            "dp": _spell(numbers.dmp1),
            "dq": _spell(numbers.dmq1),
            "qi": _spell(numbers.iqmp),
        }
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return {"d": _spell(private.private_numbers().private_value, coordinate_size(private.curve))}
    return {"d": encode_base64url(private.private_bytes_raw())}


def _spell(number: int, size: int | None = None) -> str:
    length = (number.bit_length() + 7) // 8 if size is None else size
    return encode_base64url(number.to_bytes(length, "big"))
