"""Rotate signing keys: by themselves when it is time, and by command as soon as it is safe.

Not here: when that is (`domain.key_rotation`), and what must be done at once (`flows.revoke_key`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from tokenkeep.domain.audit import SYSTEM, EventKind
from tokenkeep.domain.errors import NotFound, StorageUnavailable, VerifiersNotReady
from tokenkeep.domain.key_rotation import RotationPlan, RotationPolicy
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.change_keys import MOST_ROUNDS, Overtaken, add_key, draw_key, hand_over, retire
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.list_keys import preview_plan, read_plan
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.jose import Key

_log = logging.getLogger(__name__)
_BY_SYSTEM = Authority(SYSTEM)


@dataclass(frozen=True, slots=True)
class Rotated:
    """What became of a wish for a rotation: whether the next key signs now, and the timetable from here on."""

    promoted: bool
    plan: RotationPlan


@dataclass(frozen=True, slots=True)
class _Wish:
    """A rotation that somebody wants, and the new key that it may take."""

    by: Authority
    verifiers_ready: bool
    spare: Key | None


@dataclass(frozen=True, slots=True)
class _Done:
    """What was done: the keys that left, the key that signs since then, and whether a missing one was made."""

    left: tuple[str, ...]
    signer: str | None = None
    added: bool = False

    @property
    def anything(self) -> bool:
        """Whether there was anything to do."""
        return bool(self.left) or self.signer is not None or self.added


class RotateKeys:
    """Carries out the plan for the signing keys. However many processes do so at once, each step is taken once."""

    def __init__(
        self, storage: Storage, key_ring: KeyRing, policy: RotationPolicy, *, changed: Callable[[], None] = lambda: None
    ) -> None:
        """Take what to call after a change, so that this process need not wait to read it."""
        self._storage = storage
        self._key_ring = key_ring
        self._policy = policy
        self._changed = changed

    async def advance(self) -> bool:
        """Do what is due; tells whether anything was.

        Raises:
            StorageUnavailable: the database did not answer; what is due stays so.
        """
        plan = await self._storage.read(read_plan, self._policy)
        if not plan.due:
            return False
        needed = _needed(plan)
        spare = await draw_key(needed) if needed is not None else None
        try:
            done = await self._storage.transact(self._carry_out, spare)
        except Overtaken:
            return False
        for key_id in done.left:
            _log.info("signing key %s has left the key set", key_id)
        if done.signer is not None:
            _log.info("signing key %s signs from now on", done.signer)
        if done.anything:
            self._changed()
        return done.anything

    async def rotate(self, *, by: Authority, verifiers_ready: bool = False) -> Rotated:
        """Have the next key sign as soon as that is safe: now, or when it has been published for long enough.

        Args:
            verifiers_ready: whether every verifier accepts the algorithm of the next key, if that is another.

        Raises:
            VerifiersNotReady: the next key is of another algorithm, and they are not.
            NotFound: there is no next key.
            Forbidden: an administrator is none any more.
            SecretMismatch: a stored key does not open with the configured server secret.
            StorageUnavailable: the database did not answer; nothing changed.
        """
        # It shows too that new keys will be sealed as those are that the serving processes open.
        await self._key_ring.reload()
        for _ in range(MOST_ROUNDS):
            needed = await self._storage.read(self._preview, by)
            spare = await draw_key(needed) if needed is not None else None
            try:
                rotated = await self._storage.transact(self._rotate, _Wish(by, verifiers_ready, spare))
            except Overtaken:
                continue
            if rotated.promoted and rotated.plan.active is not None:
                _log.info("signing key %s signs from now on", rotated.plan.active.id)
            self._changed()
            return rotated
        raise StorageUnavailable("the signing keys changed too often")

    async def _carry_out(self, tx: Transaction, spare: Key | None) -> _Done:
        plan = await read_plan(tx, self._policy)
        for record in plan.leaving:
            await retire(tx, record, _BY_SYSTEM)
        left = tuple(record.id for record in plan.leaving)
        if spare is None or spare.alg != _needed(plan):
            return _Done(left)
        if plan.promotes:
            return _Done(left, signer=await _promote(tx, plan, spare, _BY_SYSTEM))
        added = [await add_key(tx, spare, state, _BY_SYSTEM) for state in plan.missing]
        return _Done(left, added=any(added))

    async def _preview(self, tx: Transaction, by: Authority) -> str | None:
        """Return the algorithm of the new key that a rotation would take now."""
        await by.confirm(tx)
        return _needed(await preview_plan(tx, self._policy))

    async def _rotate(self, tx: Transaction, wish: _Wish) -> Rotated:
        by, spare = wish.by, wish.spare
        await by.hold(tx)
        plan = await read_plan(tx, self._policy)
        upcoming = plan.upcoming
        if upcoming is None:
            raise NotFound("there is no key to follow yet; the server makes one when it starts")
        if plan.waits_for is not None and not wish.verifiers_ready:
            raise VerifiersNotReady(
                f"the next signing key is for {plan.waits_for}: have every verifier accept it besides the algorithm of "
                "now, then run: tokenkeep keys rotate --verifiers-ready"
            )
        if await tx.signing_keys.request(upcoming.id, now=tx.now):
            await tx.audit.record(by.event(EventKind.KEY_ROTATION_REQUESTED, tx.now, detail=upcoming.id))
        plan = await read_plan(tx, self._policy)
        if not plan.promotes:
            return Rotated(promoted=False, plan=plan)
        if spare is None or spare.alg != upcoming.algorithm:
            raise Overtaken
        await _promote(tx, plan, spare, by)
        return Rotated(promoted=True, plan=await read_plan(tx, self._policy))


def _needed(plan: RotationPlan) -> str | None:
    """Return the algorithm of the new key that it takes to do what is due; None if it takes none, or nobody knows."""
    known = plan.upcoming or plan.active
    return known.algorithm if known is not None and (plan.promotes or plan.missing) else None


async def _promote(tx: Transaction, plan: RotationPlan, spare: Key, by: Authority) -> str:
    """Carry out a promotion, and return the id of the key that signs from now on."""
    active, upcoming = plan.active, plan.upcoming
    if active is None or upcoming is None:
        raise Overtaken  # no plan promotes without both
    await hand_over(tx, active, upcoming, spare=spare, by=by)
    return upcoming.id
