"""What the server secret is used for: one label per purpose, keys derived from it by HKDF (RFC 5869), its versions.

Not here: where the secret comes from (`settings`), and sealing with a derived key (`storage.sealing`).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tokenkeep.jose.encoding import encode_base64url

SMALLEST_SECRET: Final = 32
"""Bytes of the shortest server secret."""


class Purpose(Enum):
    """What a derived key is for; the value is its HKDF label, which must never change."""

    REFRESH = b"tokenkeep/v1/refresh-token"
    SEALING = b"tokenkeep/v1/seal-signing-key"
    VERSION = b"tokenkeep/v1/secret-version"
    PSEUDONYM = b"tokenkeep/v1/pseudonym"
    COUNTING = b"tokenkeep/v1/counted-attempts"


class UnknownSecretVersion(LookupError):
    """Stored data names a server secret that is not configured; `previous_secrets` should hold it."""


class SecretMismatch(Exception):
    """The configured server secret does not open what is stored."""


class SecretRing:
    """The keys derived from the current server secret and from those before it.

    New data is protected with the current secret; each stored piece names the version that protects it.
    """

    __slots__ = ("_keys", "current")

    def __init__(self, current: bytes, previous: Sequence[bytes] = ()) -> None:
        for secret in (current, *previous):
            if len(secret) < SMALLEST_SECRET:
                raise ValueError(f"a server secret must have at least {SMALLEST_SECRET} bytes")
        self.current: Final = _version(current)
        self._keys: Final[Mapping[tuple[str, Purpose], bytes]] = MappingProxyType(
            {
                (_version(secret), purpose): _derive(secret, purpose, 32)
                for secret in (*previous, current)
                for purpose in (Purpose.REFRESH, Purpose.SEALING, Purpose.PSEUDONYM, Purpose.COUNTING)
            }
        )

    def __repr__(self) -> str:
        return f"SecretRing(current={self.current!r})"

    def __reduce__(self) -> str:
        raise TypeError("a SecretRing cannot be pickled")

    def key(self, version: str, purpose: Purpose) -> bytes:
        """Return the 32-byte key of a version for a purpose.

        Raises:
            UnknownSecretVersion: no configured secret has that version.
        """
        try:
            return self._keys[version, purpose]
        except KeyError:
            raise UnknownSecretVersion(f"no configured server secret has version {version}") from None

    def pseudonym(self, text: str) -> str:
        """Return what stands for a text that must not be stored: the same one for the same text and secret."""
        digest = hmac.digest(self.key(self.current, Purpose.PSEUDONYM), text.encode("utf-8", "surrogatepass"), "sha256")
        return encode_base64url(digest[:9])


def _version(secret: bytes) -> str:
    return encode_base64url(_derive(secret, Purpose.VERSION, 9))


def _derive(secret: bytes, purpose: Purpose, size: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=size, salt=None, info=purpose.value).derive(secret)
