"""A key pair, or the public half of one, before it is bound to an algorithm and a kid."""

from dataclasses import dataclass
from typing import Any

from tokenkeep.jose.algorithms import Algorithm
from tokenkeep.jose.errors import InvalidArgument, InvalidKey
from tokenkeep.jose.jwk import private_members, public_members, thumbprint
from tokenkeep.jose.known_secrets import is_known_key
from tokenkeep.jose.material import PrivateMaterial, PublicMaterial, check_suits
from tokenkeep.jose.pem import Encoding, write_private, write_public

__all__ = ["KeyPair"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class KeyPair:
    """The two halves of an asymmetric key, or the public one alone; repr shows neither."""

    private: PrivateMaterial | None
    public: PublicMaterial

    def members(self, *, private: bool) -> dict[str, Any]:
        """Return the JWK members, `kty` first.

        Raises:
            InvalidKey: `private`, and there is no private half.
        """
        members = public_members(self.public)
        return {**members, **private_members(self._private_half())} if private else members

    def serialize(self, encoding: Encoding, *, private: bool, password: bytes | None) -> bytes:
        """Return PKCS #8 if `private`, else SPKI.

        Raises:
            InvalidKey: `private`, and there is no private half.
            InvalidArgument: a password without `private`, or one of a refused length.
            WrongType: the password is no bytes.
        """
        if private:
            return write_private(self._private_half(), encoding, password)
        if password is not None:
            raise InvalidArgument("a password protects private keys only; pass private=True")
        return write_public(self.public, encoding)

    def tools(self, algorithm: Algorithm) -> tuple[PrivateMaterial | None, PublicMaterial]:
        """Return what the algorithm signs and verifies with.

        Raises:
            InvalidKey: the key does not suit the algorithm, or its private half is publicly known.
        """
        check_suits(self.public, algorithm)
        # The public half too: whoever trusts it trusts everybody.
        if is_known_key(thumbprint(public_members(self.public))):
            raise InvalidKey("invalid key: the private key is publicly known; draw a new one with Key.generate")
        return self.private, self.public

    def _private_half(self) -> PrivateMaterial:
        if self.private is None:
            raise InvalidKey("invalid key: a public key has no private part")
        return self.private
