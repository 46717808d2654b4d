"""Which bytes may become an HMAC secret (RFC 7518 §3.2, RFC 8725 §3.5)."""

from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives import hmac

from tokenkeep.jose.algorithms import Algorithm
from tokenkeep.jose.encoding import encode_base64url
from tokenkeep.jose.errors import InvalidKey
from tokenkeep.jose.key_encodings import encoding_of_key
from tokenkeep.jose.key_material import thumbprint_of
from tokenkeep.jose.known_secrets import is_known_secret

__all__ = ["Secret", "check_secret"]

_MAX_SIZE: Final = 8192
_MIN_DISTINCT: Final = 8
# A random secret may end in a NUL or two, but not once in a lifetime in four.
_MAX_FINAL_NULS: Final = 3
# What files, editors and strings of C put around a secret.
_BLANK: Final = b" \t\r\n\v\f\0"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Secret:
    """The bytes of an HMAC key, which neither repr nor any message shows."""

    value: bytes

    def members(self, *, private: bool) -> dict[str, Any]:
        """Return the JWK members, `kty` first.

        Raises:
            InvalidKey: not `private`: nothing of a secret may be published.
        """
        if not private:
            raise InvalidKey("invalid key: an HMAC key has nothing that may be published")
        return {"kty": "oct", "k": encode_base64url(self.value)}

    def thumbprint(self) -> str:
        """Return the SHA-256 thumbprint (RFC 7638)."""
        return thumbprint_of(self.members(private=True))

    def signer_and_verifier(self, algorithm: Algorithm) -> tuple[hmac.HMAC, hmac.HMAC]:
        """Return what the algorithm signs and verifies with: a context that already holds the secret.

        Raises:
            InvalidKey: the algorithm takes no secret, or the secret is refused for it.
        """
        if algorithm.hash is None or algorithm.key_type != "oct":
            raise InvalidKey(f"invalid key: {algorithm.name} needs a key pair or a public key, not a secret")
        check_secret(self.value, algorithm=algorithm.name, hash_size=algorithm.hash.digest_size)
        context = hmac.HMAC(self.value, algorithm.hash)
        return context, context


def check_secret(secret: bytes, *, algorithm: str, hash_size: int) -> None:
    """Hold a secret to the rules: long enough, varied, no encoding of a key, not publicly known.

    HMAC fills a secret up with NULs (RFC 2104 §2), so that those at its end are nothing of it: the rules look at what
    stands before them.

    Args:
        secret: the bytes.
        algorithm: the name for the message.
        hash_size: the length of the hash in bytes, which is the least length.

    Raises:
        InvalidKey: one of the rules is broken.
    """
    if not secret:
        raise InvalidKey("secret or key required: the secret is empty")
    if len(secret) > _MAX_SIZE:
        raise InvalidKey(f"invalid key: a secret has at most {_MAX_SIZE} bytes")
    encoding = encoding_of_key(secret)
    if encoding is not None:
        raise InvalidKey(f"invalid key: the secret reads as a key ({encoding}); load it with from_pem or from_jwk")
    core = secret.rstrip(b"\0")
    bare = core.strip(_BLANK)
    if len(secret) < hash_size or len(core) < hash_size - _MAX_FINAL_NULS:
        raise InvalidKey(
            f"invalid key: {algorithm} needs a secret of at least {hash_size} bytes, NULs at its end apart"
        )
    if len(set(bare)) < _MIN_DISTINCT:
        raise InvalidKey(f"invalid key: a secret has at least {_MIN_DISTINCT} different bytes")
    if is_known_secret(core) or is_known_secret(bare):
        raise InvalidKey("invalid key: the secret is publicly known; draw a new one with Key.generate")
