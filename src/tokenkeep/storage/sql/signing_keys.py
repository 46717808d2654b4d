"""Signing keys in SQL, their private parts sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tokenkeep.domain.signing_keys import KeyRecord, KeyState, SigningKey
from tokenkeep.jose import Key
from tokenkeep.jose.encoding import decode_object, encode_object
from tokenkeep.storage.sealing import Sealer
from tokenkeep.storage.sql.database import Row, SqlTransaction

_PURPOSE: Final = "signing key"
_REMEMBERED: Final = "id, algorithm, state, created_at, activated_at, deactivated_at, requested_at, ended_at"
"""The columns of a `KeyRecord`."""


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
            INSERT INTO signing_keys (id, algorithm, state, sealed, created_at, activated_at, requested_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT DO NOTHING
            """,
            signing_key.id,
            signing_key.key.alg,
            signing_key.state.value,
            self._chest.seal(signing_key.key),
            signing_key.created_at,
            signing_key.activated_at,
            signing_key.requested_at,
        )
        return added == 1

    async def published(self) -> list[SigningKey]:
        """Return the keys that verifiers are given, oldest first."""
        rows = await self._tx.fetch(
            """
            SELECT id, state, sealed, created_at, activated_at, requested_at FROM signing_keys
            WHERE state IN ('upcoming', 'active', 'retiring')
            ORDER BY created_at, id
            """
        )
        keys = self._chest.open([(row["id"], row["sealed"]) for row in rows])
        return [_signing_key(row, key) for row, key in zip(rows, keys, strict=True)]

    async def records(self, *, ended: int = 0) -> list[KeyRecord]:
        """Return what is remembered of the published keys, and of the `ended` that ended last, oldest first."""
        rows = await self._tx.fetch(
            f"""
            SELECT {_REMEMBERED} FROM signing_keys
            WHERE state IN ('upcoming', 'active', 'retiring') OR id IN (
                SELECT id FROM signing_keys WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, id LIMIT $1
            )
            ORDER BY created_at, id
            """,
            ended,
        )
        return [_record(row) for row in rows]

    async def find(self, key_id: str) -> KeyRecord | None:
        """Return what is remembered of one key."""
        row = await self._tx.fetch_one(f"SELECT {_REMEMBERED} FROM signing_keys WHERE id = $1", key_id)
        return None if row is None else _record(row)

    async def request(self, key_id: str, *, now: int) -> bool:
        """Note that the upcoming key is to sign as soon as that is safe; False if that was noted, or it is not it."""
        noted = await self._tx.execute(
            """
            UPDATE signing_keys SET requested_at = $2
            WHERE id = $1 AND state = 'upcoming' AND requested_at IS NULL
            """,
            key_id,
            now,
        )
        return noted == 1

    async def activate(self, key_id: str, *, now: int) -> bool:
        """Have the upcoming key sign from now on; False if it is not the upcoming one any more."""
        activated = await self._tx.execute(
            "UPDATE signing_keys SET state = 'active', activated_at = $2 WHERE id = $1 AND state = 'upcoming'",
            key_id,
            now,
        )
        return activated == 1

    async def deactivate(self, key_id: str, *, now: int) -> bool:
        """Have the active key sign no more, and stay published; False if it is not the active one any more."""
        deactivated = await self._tx.execute(
            "UPDATE signing_keys SET state = 'retiring', deactivated_at = $2 WHERE id = $1 AND state = 'active'",
            key_id,
            now,
        )
        return deactivated == 1

    async def end(self, record: KeyRecord, state: KeyState, *, now: int) -> bool:
        """Take a key from verifiers for good, and forget its private part; False if it moved since it was read."""
        ended = await self._tx.execute(
            """
            UPDATE signing_keys
            SET state = $3, ended_at = $4, sealed = $5,
                deactivated_at = CASE WHEN state = 'active' THEN $4 ELSE deactivated_at END
            WHERE id = $1 AND state = $2
            """,
            record.id,
            record.state.value,
            state.value,
            now,
            b"",
        )
        return ended == 1


def _signing_key(row: Row, key: Key) -> SigningKey:
    return SigningKey(key, KeyState(row["state"]), row["created_at"], row["activated_at"], row["requested_at"])


def _record(row: Row) -> KeyRecord:
    return KeyRecord(
        id=row["id"],
        algorithm=row["algorithm"],
        state=KeyState(row["state"]),
        created_at=row["created_at"],
        activated_at=row["activated_at"],
        deactivated_at=row["deactivated_at"],
        requested_at=row["requested_at"],
        ended_at=row["ended_at"],
    )
