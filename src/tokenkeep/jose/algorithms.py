"""The frozen table of signature algorithms: one row each (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2).

There is no unsigned row, and none can be added. A row works on prepared material: an HMAC context that was given its
secret, or a key object of `cryptography`. Which material suits which row is checked once, where a key is made.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature

from tokenkeep.jose.errors import InvalidArgument, WrongType

__all__ = ["ALGORITHMS", "Algorithm", "KeyType", "accepted_algorithms", "algorithm_named"]

KeyType = Literal["oct", "RSA", "EC", "OKP"]
Sign = Callable[[Any, bytes], bytes]
Verify = Callable[[Any, bytes, bytes], bool]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One signature algorithm: what it is called, which keys it takes, how it signs and verifies."""

    #: The value of `alg`, compared case-sensitively.
    name: str
    #: The `kty` of its keys.
    key_type: KeyType
    #: The `crv` of its keys, None where there is none.
    curve: str | None
    #: The hash, None where the algorithm brings its own.
    hash: hashes.HashAlgorithm | None
    #: Length of a signature in bytes, None where the key decides.
    signature_size: int | None
    #: (material, data) -> signature
    sign: Sign
    #: (material, data, signature) -> whether the signature is right; never raises because of the signature
    verify: Verify


def _hmac(name: str, hash_algorithm: hashes.HashAlgorithm) -> Algorithm:
    """HMAC with SHA-2 (RFC 7518 §3.2). The material is a context that already holds the secret."""

    def sign(context: Any, data: bytes) -> bytes:
        copy = context.copy()
        copy.update(data)
        return bytes(copy.finalize())

    def verify(context: Any, data: bytes, signature: bytes) -> bool:
        copy = context.copy()
        copy.update(data)
        try:
            copy.verify(signature)  # compares in constant time
        except InvalidSignature:
            return False
        return True

    return Algorithm(name, "oct", None, hash_algorithm, hash_algorithm.digest_size, sign, verify)


def _digest_of(hash_algorithm: hashes.HashAlgorithm) -> Any:
    """Return the constructor of `hashlib` for a hash: data of a few hundred bytes is hashed sooner there."""
    return getattr(hashlib, hash_algorithm.name)


def _rsa(name: str, scheme: padding.AsymmetricPadding, hash_algorithm: hashes.HashAlgorithm) -> Algorithm:
    """RSA signatures, PKCS #1 v1.5 or PSS (RFC 7518 §3.3, §3.5)."""
    digest = _digest_of(hash_algorithm)
    prehashed = Prehashed(hash_algorithm)

    def sign(private: Any, data: bytes) -> bytes:
        return bytes(private.sign(digest(data).digest(), scheme, prehashed))

    def verify(public: Any, data: bytes, signature: bytes) -> bool:
        try:
            public.verify(signature, digest(data).digest(), scheme, prehashed)
        except InvalidSignature:
            return False
        return True

    return Algorithm(name, "RSA", None, hash_algorithm, None, sign, verify)


def _pkcs1(name: str, hash_algorithm: hashes.HashAlgorithm) -> Algorithm:
    return _rsa(name, padding.PKCS1v15(), hash_algorithm)


def _pss(name: str, hash_algorithm: hashes.HashAlgorithm) -> Algorithm:
    # The salt is exactly as long as the hash, and so is the one accepted (RFC 7518 §3.5).
    scheme = padding.PSS(mgf=padding.MGF1(hash_algorithm), salt_length=padding.PSS.DIGEST_LENGTH)
    return _rsa(name, scheme, hash_algorithm)


def _ecdsa(name: str, curve: str, size: int, hash_algorithm: hashes.HashAlgorithm) -> Algorithm:
    """ECDSA with the signature as R || S, each `size` bytes long (RFC 7518 §3.4)."""
    digest = _digest_of(hash_algorithm)
    scheme = ec.ECDSA(Prehashed(hash_algorithm))

    def sign(private: Any, data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(digest(data).digest(), scheme))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def verify(public: Any, data: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        r = int.from_bytes(signature[:size], "big")
        s = int.from_bytes(signature[size:], "big")
        try:
            # Refuses r and s outside of 1 … n - 1.
            public.verify(encode_dss_signature(r, s), digest(data).digest(), scheme)
        except InvalidSignature:
            return False
        return True

    return Algorithm(name, "EC", curve, hash_algorithm, 2 * size, sign, verify)


def _eddsa(name: str) -> Algorithm:
    """Ed25519, under its old name EdDSA (RFC 8037 §3.1) or its own (RFC 9864 §2.2)."""

    def sign(private: Any, data: bytes) -> bytes:
        return bytes(private.sign(data))

    def verify(public: Any, data: bytes, signature: bytes) -> bool:
        try:
            public.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return Algorithm(name, "OKP", "Ed25519", None, 64, sign, verify)


_ROWS: Final = (
    _hmac("HS256", hashes.SHA256()),
    _hmac("HS384", hashes.SHA384()),
    _hmac("HS512", hashes.SHA512()),
    _pkcs1("RS256", hashes.SHA256()),
    _pkcs1("RS384", hashes.SHA384()),
    _pkcs1("RS512", hashes.SHA512()),
    _pss("PS256", hashes.SHA256()),
    _pss("PS384", hashes.SHA384()),
    _pss("PS512", hashes.SHA512()),
    _ecdsa("ES256", "P-256", 32, hashes.SHA256()),
    _ecdsa("ES384", "P-384", 48, hashes.SHA384()),
    _ecdsa("ES512", "P-521", 66, hashes.SHA512()),
    _eddsa("EdDSA"),
    _eddsa("Ed25519"),
)

#: Every algorithm by its name; read-only.
ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType({row.name: row for row in _ROWS})


def algorithm_named(name: str) -> Algorithm:
    """Return the row of an algorithm that the calling code names.

    Raises:
        WrongType: the name is no string.
        InvalidArgument: there is no such algorithm.
    """
    if not isinstance(name, str):
        raise WrongType(f"an algorithm is named by a string such as 'ES256', not by {type(name).__name__}")
    row = ALGORITHMS.get(name)
    if row is None:
        raise InvalidArgument(f"no such algorithm; known are {', '.join(ALGORITHMS)}")
    return row


def accepted_algorithms(names: Sequence[str] | Set[str]) -> frozenset[str]:
    """Return the names a caller accepts as a set, after checking that they are a list of known algorithms.

    Raises:
        WrongType: not a list, tuple or set of strings; a single string above all.
        InvalidArgument: the list is empty or names an unknown algorithm.
    """
    kind = type(names)
    if (
        kind is not list
        and kind is not tuple
        and (isinstance(names, str | bytes) or not isinstance(names, Sequence | Set))
    ):
        raise WrongType("algorithms is a list of names such as ['ES256']")
    try:
        return _accepted(tuple(names))
    except TypeError as error:
        if isinstance(error, WrongType):
            raise
        raise WrongType("algorithms is a list of names such as ['ES256']") from None


@lru_cache(maxsize=256)
def _accepted(names: tuple[str, ...]) -> frozenset[str]:
    if not names:
        raise InvalidArgument("algorithms is empty: name the ones to accept")
    return frozenset(algorithm_named(name).name for name in names)
