"""The usable signing keys in memory: which one signs now, which ones verify, and the key set that is published.

Not here: making and retiring keys (`flows.rotate_keys`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tokenkeep.domain.errors import Unavailable
from tokenkeep.domain.signing_keys import KeyState, SigningKey
from tokenkeep.flows.ports import Clock, Storage, Transaction
from tokenkeep.jose import Key, KeySet


class KeyRing:
    """Holds the published keys as one immutable set that is replaced as a whole by `reload`.

    A set that was read too long ago neither signs nor is published: the key that signed may have been retired since,
    and verifiers would keep a set without the one that is to follow.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        *,
        trusted_for: float,
        is_revoked: Callable[[str], bool] = lambda key_id: False,  # noqa: ARG005  (as the one that is given)
    ) -> None:
        """Rely on what was read for `trusted_for` seconds, and on no key that is revoked, though it was read before."""
        self._storage = storage
        self._clock = clock
        self._trusted_for = trusted_for
        self._is_revoked = is_revoked
        self._keys: tuple[SigningKey, ...] = ()
        self._verification = KeySet([])
        self._signer: Key | None = None
        self._read_at = -math.inf
        self._begun = 0
        self._held = 0

    @property
    def fresh(self) -> bool:
        """Whether the keys were read so lately that they may be relied on."""
        return self.age < self._trusted_for

    @property
    def age(self) -> float:
        """Seconds since the last reading of the keys that succeeded was begun; endless before the first."""
        return self._clock.monotonic() - self._read_at

    async def reload(self) -> None:
        """Read the published keys from storage; nothing is made anew while they are the same.

        Raises:
            SecretMismatch: a stored key does not open with the configured server secret.
            StorageUnavailable: the database did not answer.
        """
        self._begun += 1
        number, asked_at = self._begun, self._clock.monotonic()
        keys = tuple(await self._storage.read(_published))
        if number < self._held:
            return  # one that began later has read a later state
        self._held = number
        self._read_at = max(self._read_at, asked_at)
        if keys != self._keys:
            self._hold(keys)

    def signer(self) -> Key:
        """Return the key that signs now.

        Raises:
            Unavailable: no key is active, it was revoked just now, or the keys were read too long ago.
        """
        self._require_fresh()
        if self._signer is None or self._is_revoked(self._signer.kid):
            raise Unavailable("no signing key is active")
        return self._signer

    def can_sign(self) -> bool:
        """Tell whether there is a key that signs now."""
        try:
            self.signer()
        except Unavailable:
            return False
        return True

    def verification_keys(self) -> KeySet:
        """Return the keys with which this server's own tokens are verified, as they were last read.

        While a shared secret signs, that is the secrets among them, and otherwise the public keys.
        """
        return self._verification

    def public_keys(self) -> KeySet:
        """Return the key set to publish: public parts only, and empty when tokens are signed with a shared secret.

        Raises:
            Unavailable: the keys were read too long ago.
        """
        self._require_fresh()
        return KeySet([key.key.public() for key in self._keys if not key.symmetric and not self._is_revoked(key.id)])

    def _require_fresh(self) -> None:
        if not self.fresh:
            raise Unavailable("the signing keys were last read too long ago")

    def _hold(self, keys: tuple[SigningKey, ...]) -> None:
        signer = next((key for key in keys if key.state is KeyState.ACTIVE), None)
        # Of a change between shared secrets and key pairs, one side at a time: no set holds both, so that nothing
        # that is published could ever be taken for a secret.
        shared = signer is not None and signer.symmetric
        self._keys = keys
        self._verification = KeySet([key.verification_key() for key in keys if key.symmetric == shared])
        self._signer = None if signer is None else signer.key


async def _published(tx: Transaction) -> list[SigningKey]:
    return await tx.signing_keys.published()
