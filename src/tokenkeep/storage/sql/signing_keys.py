"""Signing keys in SQL, their private parts sealed."""

from __future__ import annotations

from typing import Final

from tokenkeep.domain.signing_keys import KeyState, SigningKey
from tokenkeep.jose import Key
from tokenkeep.jose.encoding import decode_object, encode_object
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.database import Row, SqlTransaction

_PURPOSE: Final = "signing key"


class SqlSigningKeys:
    """The signing-key statements of one transaction (port `SigningKeyStore`)."""

    __slots__ = ("_sealer", "_tx")

    def __init__(self, tx: SqlTransaction, sealer: Sealer) -> None:
        self._tx = tx
        self._sealer = sealer

    async def add(self, signing_key: SigningKey) -> bool:
        """Store a new key; False if another process has just filled that state."""
        private = encode_object(signing_key.key.to_jwk(private=True))
        added = await self._tx.execute(
            """
            INSERT INTO signing_keys (id, algorithm, state, sealed, created_at, activated_at)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT DO NOTHING
            """,
            signing_key.id,
            signing_key.key.alg,
            signing_key.state.value,
            self._sealer.seal(private, purpose=_PURPOSE, name=signing_key.id),
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
        return [self._signing_key(row) for row in rows]

    async def revoke_published(self) -> list[str]:
        """Revoke every key that verifiers are given; returns their ids."""
        rows = await self._tx.fetch(
            """
            UPDATE signing_keys SET state = 'revoked' WHERE state IN ('upcoming', 'active', 'retiring')
            RETURNING id
            """
        )
        return [row["id"] for row in rows]

    def _signing_key(self, row: Row) -> SigningKey:
        private = decode_object(self._sealer.open(row["sealed"], purpose=_PURPOSE, name=row["id"]))
        return SigningKey(
            key=Key.from_jwk(private),
            state=KeyState(row["state"]),
            created_at=row["created_at"],
            activated_at=row["activated_at"],
        )
