"""Signing keys in SQL, their private parts sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tokenkeep.domain.signing_keys import KeyState, SigningKey
from tokenkeep.jose import Key
from tokenkeep.jose.encoding import decode_object, encode_object
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.database import Row, SqlTransaction

_PURPOSE: Final = "signing key"


class KeyChest:
    """Seals signing keys and opens them, each envelope once: what did not change since the last look is known.

    The whole envelope is compared, so that a changed or exchanged one is opened, and refused, as if it were new.
    """

    __slots__ = ("_opened", "_sealer")

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._opened: Mapping[tuple[str, bytes], Key] = {}

    def seal(self, key: Key) -> bytes:
        """Return the envelope around a key's private part."""
        return self._sealer.seal(encode_object(key.to_jwk(private=True)), purpose=_PURPOSE, name=key.kid)

    def open(self, envelopes: Sequence[tuple[str, bytes]]) -> list[Key]:
        """Return the keys with these ids and envelopes, and forget every other key.

        Raises:
            SecretMismatch: one does not open with the configured server secret, or was changed or moved.
        """
        known = self._opened  # another thread may be replacing it
        keys = [known.get(envelope) or self._open(*envelope) for envelope in envelopes]
        self._opened = dict(zip(envelopes, keys, strict=True))
        return keys

    def _open(self, key_id: str, sealed: bytes) -> Key:
        return Key.from_jwk(decode_object(self._sealer.open(sealed, purpose=_PURPOSE, name=key_id)))


class SqlSigningKeys:
    """The signing-key statements of one transaction (port `SigningKeyStore`)."""

    __slots__ = ("_chest", "_tx")

    def __init__(self, tx: SqlTransaction, chest: KeyChest) -> None:
        self._tx = tx
        self._chest = chest

    async def add(self, signing_key: SigningKey) -> bool:
        """Store a new key; False if another process has just filled that state."""
        added = await self._tx.execute(
            """
            INSERT INTO signing_keys (id, algorithm, state, sealed, created_at, activated_at)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT DO NOTHING
            """,
            signing_key.id,
            signing_key.key.alg,
            signing_key.state.value,
            self._chest.seal(signing_key.key),
            signing_key.created_at,
            signing_key.activated_at,
        )
        return added == 1

    async def published(self) -> list[SigningKey]:
        """Return the keys that verifiers are given, oldest first."""
        rows = await self._tx.fetch(
            """
            SELECT id, state, sealed, created_at, activated_at FROM signing_keys
            WHERE state IN ('upcoming', 'active', 'retiring')
            ORDER BY created_at, id
            """
        )
        keys = self._chest.open([(row["id"], row["sealed"]) for row in rows])
        return [_signing_key(row, key) for row, key in zip(rows, keys, strict=True)]

    async def revoke_published(self) -> list[str]:
        """Revoke every key that verifiers are given; returns their ids."""
        rows = await self._tx.fetch(
            """
            UPDATE signing_keys SET state = 'revoked' WHERE state IN ('upcoming', 'active', 'retiring')
            RETURNING id
            """
        )
        return [row["id"] for row in rows]


def _signing_key(row: Row, key: Key) -> SigningKey:
    return SigningKey(key, KeyState(row["state"]), row["created_at"], row["activated_at"])
