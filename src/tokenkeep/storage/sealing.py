"""Sealing: AES-256-GCM around what must be secret at rest, under a key derived from the server secret.

An envelope is `0x01 | length of the version | secret version | 12 random bytes | ciphertext and tag`. What it is for
is bound to it as associated data, so that two envelopes cannot be swapped.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tokenkeep.domain.secrets import Purpose, SecretMismatch, SecretRing, UnknownSecretVersion

_FORMAT: Final = 1
_NONCE_SIZE: Final = 12
_DAMAGED: Final = "put back a backup, and run: tokenkeep recover"


class Sealer:
    """Seals with the current server secret and opens with any configured one."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: SecretRing) -> None:
        self._secrets = secrets

    def seal(self, plain: bytes, *, purpose: str, name: str) -> bytes:
        """Return the envelope around `plain`; it opens only for the same purpose and name."""
        version = self._secrets.current
        nonce = os.urandom(_NONCE_SIZE)
        sealed = self._cipher(version).encrypt(nonce, plain, _associated_data(purpose, name))
        return bytes([_FORMAT, len(version)]) + version.encode("ascii") + nonce + sealed

    def open(self, envelope: bytes, *, purpose: str, name: str) -> bytes:
        """Return what was sealed for this purpose and name.

        Raises:
            SecretMismatch: the secret that sealed it is not configured, or the envelope was changed or moved.
        """
        try:
            if envelope[0] != _FORMAT:
                raise SecretMismatch(f"{purpose} {name} is sealed in an unknown format: {_DAMAGED}")
            start = 2 + envelope[1]
            version = envelope[2:start].decode("ascii")
            nonce, sealed = envelope[start : start + _NONCE_SIZE], envelope[start + _NONCE_SIZE :]
            return self._cipher(version).decrypt(nonce, sealed, _associated_data(purpose, name))
        except UnknownSecretVersion as error:
            raise SecretMismatch(
                f"{purpose} {name}: {error}. Put the server secret back that the database was made with, or name it in "
                "previous_secrets; if it is lost, run: tokenkeep recover"
            ) from None
        except (InvalidTag, IndexError, ValueError):
            raise SecretMismatch(f"{purpose} {name} does not open, it was damaged or moved: {_DAMAGED}") from None

    def _cipher(self, version: str) -> AESGCM:
        return AESGCM(self._secrets.key(version, Purpose.SEALING))


def _associated_data(purpose: str, name: str) -> bytes:
    return f"{purpose}\0{name}".encode()
