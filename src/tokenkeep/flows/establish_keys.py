"""Make the signing keys that must exist when a server starts: one that signs, and one published to follow it.

Not here: how one follows the other (`flows.rotate_keys`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from tokenkeep.domain.audit import SYSTEM
from tokenkeep.domain.key_rotation import waits_for_verifiers
from tokenkeep.domain.signing_keys import KeyRecord, KeyState, in_state, missing_states
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.change_keys import Overtaken, add_key, draw_key, retire
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.jose import Key

_log = logging.getLogger(__name__)
_BY_SYSTEM = Authority(SYSTEM)


class EstablishKeys:
    """Keeps the set of signing keys complete, and has the next key be of the algorithm that is configured.

    That is looked at when a process starts, and by nothing that runs later or beside it: processes with different
    settings would go on replacing each other's key.
    """

    def __init__(self, storage: Storage, algorithm: str) -> None:
        self._storage = storage
        self._algorithm = algorithm

    async def establish(self, algorithm: str | None = None) -> int:
        """Make the active and the upcoming key if they are missing; returns how many were made.

        An upcoming key of another algorithm never signed, and is replaced. Processes that do this at once end with
        one key of each kind.

        Args:
            algorithm: instead of the configured one.

        Raises:
            SecretMismatch: a stored key does not open with the configured server secret.
            StorageUnavailable: the database did not answer.
        """
        wanted = algorithm or self._algorithm
        # Opened, so that no key is made beside those of another secret.
        await self._storage.read(_published)
        present = await self._storage.read(_records)
        needed = [*missing_states(key.state for key in present), *(key.state for key in _replaced(present, wanted))]
        made = 0
        if needed:
            candidates = {state: await draw_key(wanted) for state in needed}
            try:
                made = await self._storage.transact(_complete, candidates, wanted)
            except Overtaken:
                made = 0  # by a process that starts too
            present = await self._storage.read(_records)
        _tell_if_waiting(present)
        return made


async def _complete(tx: Transaction, candidates: Mapping[KeyState, Key], wanted: str) -> int:
    present = await _records(tx)
    for replaced in _replaced(present, wanted):
        if replaced.state in candidates:
            await retire(tx, replaced, _BY_SYSTEM)
    made = 0
    for state in missing_states(key.state for key in await _records(tx)):
        if state in candidates and await add_key(tx, candidates[state], state, _BY_SYSTEM):
            made += 1
    return made


def _replaced(present: list[KeyRecord], wanted: str) -> list[KeyRecord]:
    return [key for key in present if key.state is KeyState.UPCOMING and key.algorithm != wanted]


def _tell_if_waiting(present: list[KeyRecord]) -> None:
    active, upcoming = in_state(KeyState.ACTIVE, present), in_state(KeyState.UPCOMING, present)
    if active is not None and upcoming is not None and waits_for_verifiers(active, upcoming):
        _log.warning(
            "the next signing key is for %s, and %s signs until you say that every verifier accepts both: "
            "tokenkeep keys rotate --verifiers-ready",
            upcoming.algorithm,
            active.algorithm,
        )


async def _records(tx: Transaction) -> list[KeyRecord]:
    return await tx.signing_keys.records()


async def _published(tx: Transaction) -> int:
    return len(await tx.signing_keys.published())
