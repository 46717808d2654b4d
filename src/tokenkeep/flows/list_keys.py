"""List signing keys with what lies before each of them."""

from __future__ import annotations

from typing import Final

from tokenkeep.domain.key_rotation import RotationPlan, RotationPolicy, as_if_requested, plan_rotation
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.ports import Storage, Transaction

ENDED_SHOWN: Final = 100
"""Retired and revoked keys that are shown at most, the last ones."""


class ListKeys:
    """Shows the signing keys and their timetable. No private part is opened for it."""

    def __init__(self, storage: Storage, policy: RotationPolicy) -> None:
        self._storage = storage
        self._policy = policy

    async def timetable(self, *, by: Authority) -> RotationPlan:
        """Return all keys, the last that ended too, and when they change by themselves.

        Raises:
            Forbidden: an administrator is none any more.
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.read(_timetable, self._policy, by)

    async def preview(self) -> RotationPlan:
        """Return when the keys would change if a rotation were asked for now, and verifiers were ready for it.

        Raises:
            StorageUnavailable: the database did not answer.
        """
        return await self._storage.read(preview_plan, self._policy)


async def read_plan(tx: Transaction, policy: RotationPolicy, ended: int = 0) -> RotationPlan:
    """Return what is to be done with the keys, and when; `ended` of those that have ended are in it too."""
    keys = await tx.signing_keys.records(ended=ended)
    return plan_rotation(keys, tx.now, policy, longest_access_life=await tx.revocations.longest_access_life())


async def preview_plan(tx: Transaction, policy: RotationPolicy) -> RotationPlan:
    """Return what would be to be done if the next key were asked to sign."""
    keys = as_if_requested(await tx.signing_keys.records(), tx.now)
    return plan_rotation(keys, tx.now, policy, longest_access_life=await tx.revocations.longest_access_life())


async def _timetable(tx: Transaction, policy: RotationPolicy, by: Authority) -> RotationPlan:
    await by.confirm(tx)
    return await read_plan(tx, policy, ENDED_SHOWN)
