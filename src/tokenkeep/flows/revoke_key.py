"""Revoke a signing key that may have become known: it signs and verifies nothing any more, whatever it has signed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from tokenkeep.domain import revocations
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.errors import NotFound, StorageUnavailable
from tokenkeep.domain.key_rotation import RotationPolicy, waits_for_verifiers
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.signing_keys import KeyRecord, KeyState, in_state
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.change_keys import MOST_ROUNDS, Overtaken, activate, add_key, draw_key, revoke
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.revoke import Revoker
from tokenkeep.jose import Key


@dataclass(frozen=True, slots=True)
class RevokedKey:
    """What became of a key, and of the ones beside it.

    Attributes:
        key_id: the key that is revoked.
        was: what it was before.
        signer: the key that signs from now on.
        signer_known: whether verifiers have had the time to fetch that key; otherwise they fetch it when they see it.
    """

    key_id: str
    was: KeyState
    signer: KeyRecord | None
    signer_known: bool


@dataclass(frozen=True, slots=True)
class _Need:
    """What the end of a key leaves open: a state to fill, with a new key of an algorithm."""

    state: KeyState
    algorithm: str


class RevokeKey:
    """Revokes signing keys."""

    def __init__(self, storage: Storage, key_ring: KeyRing, revoker: Revoker, policy: RotationPolicy) -> None:
        self._storage = storage
        self._key_ring = key_ring
        self._revoker = revoker
        self._policy = policy

    async def revoke(self, key_id: str, *, by: Authority) -> RevokedKey:
        """Revoke a key and every token that it signed or will be made to sign; one that was revoked stays as it is.

        If it was the one that signs, the upcoming key signs from now on; or a new one of the same algorithm, if the
        upcoming one waits for verifiers to accept another. A new upcoming key is published where there is none left.

        Raises:
            NotFound: there never was such a key.
            Forbidden: an administrator is none any more.
            SecretMismatch: a stored key does not open with the configured server secret.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        # It shows too that new keys will be sealed as those are that the serving processes open.
        await self._key_ring.reload()
        for _ in range(MOST_ROUNDS):
            need = await self._storage.read(self._look, key_id, by)
            spare = await draw_key(need.algorithm) if need is not None else None
            try:
                revoked, revocation = await self._storage.transact(self._revoke, key_id, by, spare)
            except Overtaken:
                continue
            self._revoker.apply(revocation)
            with contextlib.suppress(StorageUnavailable):
                # It is done, and nothing is signed with the key any more; the others are read a moment later.
                await self._key_ring.reload()
            return revoked
        raise StorageUnavailable("the signing keys changed too often")

    async def _look(self, tx: Transaction, key_id: str, by: Authority) -> _Need | None:
        await by.confirm(tx)
        return _need(await _find(tx, key_id), await tx.signing_keys.records())

    async def _revoke(
        self, tx: Transaction, key_id: str, by: Authority, spare: Key | None
    ) -> tuple[RevokedKey, Revocation | None]:
        await by.hold(tx)
        record = await _find(tx, key_id)
        if record.state is KeyState.REVOKED:
            return await self._told(tx, record), None
        present = await tx.signing_keys.records()
        need = _need(record, present)
        await revoke(tx, record, by)
        if need is not None:
            if spare is None or spare.alg != need.algorithm:
                raise Overtaken
            upcoming = in_state(KeyState.UPCOMING, present)
            if record.state is KeyState.ACTIVE and need.state is KeyState.UPCOMING and upcoming is not None:
                await activate(tx, upcoming, by)
            # Verifiers that are ready for the algorithm of a key are so for that of the next.
            requested_at = record.requested_at if record.state is KeyState.UPCOMING else None
            await add_key(tx, spare, need.state, by, requested_at=requested_at)
        told = await self._told(tx, record)
        reason = EventKind.SIGNING_KEY_REVOKED
        revocation = revocations.of_key(record.id, at=tx.now, reason=reason, actor=by.actor)
        return told, await self._revoker.append(tx, revocation)

    async def _told(self, tx: Transaction, record: KeyRecord) -> RevokedKey:
        signer = in_state(KeyState.ACTIVE, await tx.signing_keys.records())
        known = signer is not None and tx.now >= signer.created_at + self._policy.lead
        return RevokedKey(record.id, record.state, signer, known)


async def _find(tx: Transaction, key_id: str) -> KeyRecord:
    record = await tx.signing_keys.find(key_id)
    if record is None:
        raise NotFound(f"there is no signing key {key_id}; tokenkeep keys list shows them")
    return record


def _need(record: KeyRecord, present: list[KeyRecord]) -> _Need | None:
    """Return what must be filled when a key ends."""
    if record.state is KeyState.UPCOMING:
        return _Need(KeyState.UPCOMING, record.algorithm)
    if record.state is not KeyState.ACTIVE:
        return None
    upcoming = in_state(KeyState.UPCOMING, present)
    if upcoming is None or waits_for_verifiers(record, upcoming):
        return _Need(KeyState.ACTIVE, record.algorithm)
    return _Need(KeyState.UPCOMING, upcoming.algorithm)
