"""One key, one algorithm: keys that sign and verify, and how they come in and go out.

A key is immutable, is bound to exactly one algorithm when it is made, and never shows its private part in repr,
pickles or error messages. Sets of keys and their selection live in `key_set`.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final, NoReturn, Self, cast

from tokenkeep.jose.algorithms import Algorithm, KeyType, algorithm_named
from tokenkeep.jose.arguments import checked_bytes
from tokenkeep.jose.errors import InvalidArgument, InvalidKey, WrongType
from tokenkeep.jose.hmac_secrets import Secret
from tokenkeep.jose.jwk import read_jwk
from tokenkeep.jose.key_ids import broken_kid_rule, checked_kid
from tokenkeep.jose.key_material import ALL_OPERATIONS, VERIFYING, KeyMaterial
from tokenkeep.jose.key_pair import Encoding, KeyPair
from tokenkeep.jose.material import draw
from tokenkeep.jose.pem import read_der, read_pem

__all__ = ["EcKey", "HmacKey", "Key", "OkpKey", "RsaKey"]


class Key:
    """A key bound to one algorithm; made by `generate` and the `from_…` methods, never by calling the class."""

    __slots__ = ("__weakref__", "_algorithm", "_kid", "_operations", "_signing", "_source", "_verifying", "verifies")

    #: Whether the key may be used to verify; false of one whose `key_ops` allow signing only.
    verifies: bool

    _algorithm: Algorithm
    _kid: str
    _operations: frozenset[str]
    # What the key is made of, and what the algorithm's functions work with: (signing, verifying).
    _source: KeyMaterial
    _signing: Any
    _verifying: Any

    def __init__(self) -> None:
        raise WrongType("keys are made by Key.generate, Key.from_jwk, Key.from_pem, Key.from_der or Key.from_secret")

    # -- in ------------------------------------------------------------------------------------------------------

    @classmethod
    def generate(cls, alg: str, *, kid: str | None = None, rsa_bits: int = 3072) -> Self:
        """Draw a new private key for an algorithm.

        Args:
            alg: the name of the algorithm.
            kid: the key id; the thumbprint when None.
            rsa_bits: length of the modulus, 2048 to 8192, for the RSA algorithms.

        Raises:
            InvalidArgument: an unknown algorithm, a length out of range, or a kid that is refused.
            WrongType: an argument of the wrong type.
        """
        algorithm = algorithm_named(alg)
        if algorithm.key_type == "oct":
            return cls._bind(algorithm, Secret(secrets.token_bytes(algorithm.signature_size or 0)), kid=kid)
        private = draw(algorithm, rsa_bits=rsa_bits)
        return cls._bind(algorithm, KeyPair(private, private.public_key()), kid=kid)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any], *, alg: str | None = None, kid: str | None = None) -> Self:
        """Read a JSON Web Key (RFC 7517).

        Args:
            jwk: the members. `use` and `key_ops` are honoured, unknown members ignored.
            alg: the algorithm for a JWK that names none. Elliptic curves imply theirs (Ed25519 implies EdDSA); RSA and
                symmetric keys need one.
            kid: the key id instead of the one in the JWK; the thumbprint when there is neither.

        Raises:
            InvalidKey: an unreadable or refused key, or one whose `alg` is unknown, absent or not the one given.
            InvalidArgument: `alg` is unknown, or `kid` is refused.
            WrongType: not a mapping, or another argument of the wrong type.
        """
        if not isinstance(jwk, Mapping):
            raise WrongType(f"a JWK is a mapping, not {type(jwk).__name__}")
        wanted = None if alg is None else algorithm_named(alg)
        content = read_jwk(jwk)
        if kid is None and content.kid is not None:
            kid = content.kid
            if (rule := broken_kid_rule(kid)) is not None:
                raise InvalidKey(f"invalid key: {rule}")
        return cls._bind(content.algorithm(wanted), content.material, kid=kid, operations=content.operations)

    @classmethod
    def from_pem(cls, pem: bytes | str, *, alg: str, password: bytes | None = None, kid: str | None = None) -> Self:
        """Read the one key or certificate of a PEM text (PKCS #8, PKCS #1, SEC1, SPKI, X.509).

        Args:
            pem: the text; it must hold exactly one key or certificate. A certificate's dates and signature are not
                looked at.
            alg: the algorithm the key is bound to.
            password: for an encrypted private key.
            kid: the key id; the thumbprint when None.

        Raises:
            InvalidKey: an unreadable or refused key, or one that does not suit the algorithm.
            InvalidArgument: `alg` is unknown, or `kid` is refused.
            WrongType: an argument of the wrong type.
        """
        algorithm = algorithm_named(alg)
        return cls._bind(algorithm, read_pem(pem, password), kid=kid)

    @classmethod
    def from_der(cls, der: bytes, *, alg: str, password: bytes | None = None, kid: str | None = None) -> Self:
        """Read a key or certificate in DER; arguments and errors are those of `from_pem`."""
        algorithm = algorithm_named(alg)
        return cls._bind(algorithm, read_der(der, password), kid=kid)

    @classmethod
    def from_secret(cls, secret: bytes, *, alg: str = "HS256", kid: str | None = None) -> Self:
        """Take bytes as an HMAC secret.

        The secret has at least as many bytes as the hash (32, 48, 64), at least eight different ones, is no encoding
        of a key and not publicly known. A raw Ed25519 public key cannot be told from a good secret: never pass one.

        Raises:
            InvalidKey: the secret is refused.
            InvalidArgument: `alg` is unknown or not an HMAC algorithm, or `kid` is refused.
            WrongType: not bytes, or another argument of the wrong type.
        """
        algorithm = algorithm_named(alg)
        if algorithm.key_type != "oct":
            raise InvalidArgument(f"{algorithm.name} takes no secret; load its key with from_pem or from_jwk")
        return cls._bind(algorithm, Secret(checked_bytes("a secret", secret)), kid=kid)

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def alg(self) -> str:
        """The name of the one algorithm the key is bound to."""
        return self._algorithm.name

    @property
    def kid(self) -> str:
        """The key id; the thumbprint unless another was given."""
        return self._kid

    @property
    def key_type(self) -> KeyType:
        """The `kty`: "oct", "RSA", "EC" or "OKP"."""
        return self._algorithm.key_type

    @property
    def is_private(self) -> bool:
        """Whether the key holds what must not be published; true of every HMAC key."""
        return self._signing is not None

    def allows(self, operation: str) -> bool:
        """Tell whether the key may be used to "sign" or to "verify" (RFC 7517 §4.3)."""
        return operation in self._operations

    def public(self) -> Self:
        """Return the public half, with the same algorithm and kid.

        Raises:
            InvalidKey: an HMAC key has none.
        """
        pair = self._pair("public half")
        # The public half of a key that may only sign is there to verify: key_ops speak of the half they stand in.
        return self._bind(self._algorithm, KeyPair(None, pair.public), kid=self._kid)

    def thumbprint(self) -> str:
        """Return the SHA-256 thumbprint of the key (RFC 7638, RFC 8037 §2)."""
        return self._source.thumbprint()

    # -- out -----------------------------------------------------------------------------------------------------

    def to_jwk(self, *, private: bool = False) -> dict[str, Any]:
        """Return the key as a JWK with `kty`, `use`, `alg` and `kid`; public members only, unless `private`.

        Raises:
            InvalidKey: an HMAC key without `private`, or `private` on a public key.
        """
        members = self._source.members(private=private)
        jwk = {"kty": members.pop("kty"), "use": "sig", "alg": self.alg, "kid": self.kid}
        if private and self._operations != ALL_OPERATIONS:
            jwk["key_ops"] = sorted(self._operations)
        return {**jwk, **members}

    def to_pem(self, *, private: bool = False, password: bytes | None = None) -> bytes:
        """Return SPKI, or PKCS #8 if `private`, in PEM; encrypted when a password is given.

        Raises:
            InvalidKey: an HMAC key, or `private` on a public key.
            InvalidArgument: a password without `private`, or an empty one.
            WrongType: the password is no bytes.
        """
        return self._pair("PEM form").serialize(Encoding.PEM, private=private, password=password)

    def to_der(self, *, private: bool = False, password: bytes | None = None) -> bytes:
        """Return SPKI, or PKCS #8 if `private`, in DER; arguments and errors are those of `to_pem`."""
        return self._pair("DER form").serialize(Encoding.DER, private=private, password=password)

    # -- use -----------------------------------------------------------------------------------------------------

    def sign(self, data: bytes) -> bytes:
        """Return the signature over some bytes.

        Raises:
            InvalidKey: a public key, or one whose `key_ops` do not allow it.
            WrongType: `data` is not bytes.
        """
        if "sign" not in self._operations:
            raise InvalidKey("invalid key: this key may not sign")
        try:
            return self._algorithm.sign(self._signing, data)
        except TypeError:
            raise WrongType(f"bytes are signed, not {type(data).__name__}") from None

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Tell whether a signature over some bytes was made by this key.

        Raises:
            InvalidKey: a key whose `key_ops` do not allow it.
            WrongType: `data` or `signature` is not bytes.
        """
        if not self.verifies:
            raise InvalidKey("invalid key: this key may not verify")
        try:
            return self._algorithm.verify(self._verifying, data, signature)
        except TypeError:
            raise WrongType("a signature is verified as bytes over bytes") from None

    # -- behind --------------------------------------------------------------------------------------------------

    @classmethod
    def _bind(
        cls,
        algorithm: Algorithm,
        source: KeyMaterial,
        *,
        kid: str | None,
        operations: frozenset[str] | None = None,
    ) -> Self:
        signing, verifying = source.signer_and_verifier(algorithm)
        kind = _KINDS[algorithm.key_type]
        if not issubclass(kind, cls):
            raise InvalidArgument(f"{algorithm.name} makes a {kind.__name__}, not a {cls.__name__}")
        if operations is None:
            operations = VERIFYING if signing is None else ALL_OPERATIONS
        key: Key = object.__new__(kind)
        for name, value in (
            ("_algorithm", algorithm),
            ("_source", source),
            ("_signing", signing),
            ("_verifying", verifying),
            ("_operations", operations),
            ("verifies", "verify" in operations),
        ):
            object.__setattr__(key, name, value)
        object.__setattr__(key, "_kid", key.thumbprint() if kid is None else checked_kid(kid))
        return cast(Self, key)

    def _pair(self, wanted: str) -> KeyPair:
        if not isinstance(self._source, KeyPair):
            raise InvalidKey(f"invalid key: an HMAC key has no {wanted}")
        return self._source

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"keys are immutable; {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"keys are immutable; {name!r} cannot be deleted")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.alg} {'private' if self.is_private else 'public'} kid={self.kid!r}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise WrongType("keys are not pickled; pass on to_jwk(private=True) where that is really meant")


class HmacKey(Key):
    """A secret for HS256, HS384 or HS512."""

    __slots__ = ()


class RsaKey(Key):
    """A key for RS256, RS384, RS512, PS256, PS384 or PS512."""

    __slots__ = ()


class EcKey(Key):
    """A key for ES256, ES384 or ES512."""

    __slots__ = ()


class OkpKey(Key):
    """An Ed25519 key, under the name EdDSA or Ed25519."""

    __slots__ = ()


_KINDS: Final[Mapping[KeyType, type[Key]]] = {"oct": HmacKey, "RSA": RsaKey, "EC": EcKey, "OKP": OkpKey}
