"""Make the signing keys that must exist: one that signs, and one published to follow it."""

from __future__ import annotations

from collections.abc import Mapping

from tokenkeep.domain.audit import SYSTEM, Event, EventKind
from tokenkeep.domain.signing_keys import AlgorithmChanged, KeyState, SigningKey, missing_states
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.jose import Key


class RotateKeys:
    """Keeps the set of signing keys complete."""

    def __init__(self, storage: Storage, algorithm: str) -> None:
        self._storage = storage
        self._algorithm = algorithm

    async def establish(self) -> int:
        """Make the active and the upcoming key if they are missing; returns how many were made.

        Two processes that do this at once end with one key of each kind.

        Raises:
            AlgorithmChanged: the key that signs is of another algorithm than the one configured.
            StorageUnavailable: the database did not answer.
        """
        present = await self._storage.read(_published)
        for signing_key in present:
            if signing_key.state is KeyState.ACTIVE and signing_key.key.alg != self._algorithm:
                raise AlgorithmChanged(
                    f"signing_algorithm is {self._algorithm}, but the stored keys are {signing_key.key.alg}; "
                    "set it back: keys cannot change their algorithm yet"
                )
        missing = missing_states(key.state for key in present)
        if not missing:
            return 0
        candidates = {state: Key.generate(self._algorithm) for state in missing}
        return await self._storage.transact(self._add_missing, candidates)

    async def _add_missing(self, tx: Transaction, candidates: Mapping[KeyState, Key]) -> int:
        made = 0
        for state in missing_states(key.state for key in await _published(tx)):
            activated_at = tx.now if state is KeyState.ACTIVE else None
            key = SigningKey(candidates[state], state, created_at=tx.now, activated_at=activated_at)
            if await tx.signing_keys.add(key):
                made += 1
                await tx.audit.record(Event(EventKind.SIGNING_KEY_CREATED, tx.now, SYSTEM, detail=key.id))
        return made


async def _published(tx: Transaction) -> list[SigningKey]:
    return await tx.signing_keys.published()
