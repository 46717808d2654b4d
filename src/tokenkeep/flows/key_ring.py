"""The usable signing keys in memory: which one signs now, which ones verify, and the key set that is published.

Not here: making and retiring keys (`flows.rotate_keys`).
"""

from __future__ import annotations

from tokenkeep.domain.signing_keys import KeyState, SigningKey
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.jose import Key, KeySet


class KeyRing:
    """Holds the published keys as one immutable set that is replaced as a whole by `reload`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._keys: tuple[SigningKey, ...] = ()
        self._verification = KeySet([])
        self._signer: Key | None = None

    async def reload(self) -> None:
        """Read the published keys from storage; nothing is made anew while they are the same.

        Raises:
            SecretMismatch: a stored key does not open with the configured server secret.
            StorageUnavailable: the database did not answer.
        """
        keys = tuple(await self._storage.read(_published))
        if keys != self._keys:
            self._hold(keys)

    def signer(self) -> Key:
        """Return the key that signs now.

        Raises:
            LookupError: no key is active; the server has not been opened.
        """
        if self._signer is None:
            raise LookupError("no signing key is active")
        return self._signer

    def verification_keys(self) -> KeySet:
        """Return the keys with which this server's own tokens are verified."""
        return self._verification

    def public_keys(self) -> KeySet:
        """Return the key set to publish: public parts only, and empty when tokens are signed with a shared secret."""
        return KeySet([key.key.public() for key in self._keys if not key.symmetric])

    def _hold(self, keys: tuple[SigningKey, ...]) -> None:
        self._keys = keys
        self._verification = KeySet([key.verification_key() for key in keys])
        self._signer = next((key.key for key in keys if key.state is KeyState.ACTIVE), None)


async def _published(tx: Transaction) -> list[SigningKey]:
    return await tx.signing_keys.published()
