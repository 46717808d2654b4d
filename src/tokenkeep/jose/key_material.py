"""What a secret and a key pair have in common, before either is bound to an algorithm and a kid."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Protocol

from tokenkeep.jose.algorithms import Algorithm
from tokenkeep.jose.encoding import encode_base64url, encode_object

__all__ = ["ALL_OPERATIONS", "VERIFYING", "KeyMaterial", "thumbprint_of"]

#: What a key can be used for: with its private half, and with the public one alone.
ALL_OPERATIONS: Final = frozenset({"sign", "verify"})
VERIFYING: Final = frozenset({"verify"})


class KeyMaterial(Protocol):
    """What a key is made of; its repr shows nothing of it."""

    def members(self, *, private: bool) -> dict[str, Any]:
        """Return the JWK members, `kty` first.

        Raises:
            InvalidKey: there is no private half, or nothing that may be published.
        """
        ...

    def thumbprint(self) -> str:
        """Return the SHA-256 thumbprint (RFC 7638, RFC 8037 §2)."""
        ...

    def signer_and_verifier(self, algorithm: Algorithm) -> tuple[Any, Any]:
        """Return what the algorithm signs with, None for a public key, and what it verifies with.

        Raises:
            InvalidKey: the material does not suit the algorithm, or is refused for what it is.
        """
        ...


def thumbprint_of(members: Mapping[str, Any]) -> str:
    """Return the SHA-256 thumbprint of the required members of a JWK (RFC 7638 §3, RFC 8037 §2)."""
    required = {name: members[name] for name in ("crv", "e", "k", "kty", "n", "x", "y") if name in members}
    return encode_base64url(hashlib.sha256(encode_object(required)).digest())
