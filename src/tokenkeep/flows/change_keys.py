"""The steps of which changes of signing keys consist, each recorded in the transaction that takes it.

Not here: which steps are taken when (`flows.rotate_keys`, `flows.revoke_key`, `flows.establish_keys`).
"""

from __future__ import annotations

import asyncio
from typing import Final

from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.signing_keys import KeyRecord, KeyState, SigningKey
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.ports import Transaction
from tokenkeep.jose import Key

MOST_ROUNDS: Final = 10
"""How often a change begins anew that others overtake; each time one of theirs has been made."""


class Overtaken(Exception):
    """Somebody else changed the keys since they were read. Nothing that the transaction did remains."""


async def draw_key(algorithm: str) -> Key:
    """Return a new key; in a thread, since some take a second. Before the transaction."""
    return await asyncio.to_thread(Key.generate, algorithm)


async def add_key(
    tx: Transaction, key: Key, state: KeyState, by: Authority, *, requested_at: int | None = None
) -> bool:
    """Store a new key, which is published from now on; False if another process has just filled that state."""
    activated_at = tx.now if state is KeyState.ACTIVE else None
    signing_key = SigningKey(key, state, tx.now, activated_at=activated_at, requested_at=requested_at)
    if not await tx.signing_keys.add(signing_key):
        return False
    await tx.audit.record(by.event(EventKind.SIGNING_KEY_CREATED, tx.now, detail=key.kid))
    if state is KeyState.ACTIVE:
        await tx.audit.record(by.event(EventKind.SIGNING_KEY_ACTIVATED, tx.now, detail=key.kid))
    return True


async def hand_over(tx: Transaction, active: KeyRecord, upcoming: KeyRecord, *, spare: Key, by: Authority) -> None:
    """Have the upcoming key sign from now on, and `spare` be published to follow it.

    Raises:
        Overtaken: one of the two is not what it was.
    """
    if not await tx.signing_keys.deactivate(active.id, now=tx.now):
        raise Overtaken
    await activate(tx, upcoming, by)
    await add_key(tx, spare, KeyState.UPCOMING, by)


async def activate(tx: Transaction, upcoming: KeyRecord, by: Authority) -> None:
    """Have the upcoming key sign from now on, where no other does.

    Raises:
        Overtaken: it is not the upcoming one any more.
    """
    if not await tx.signing_keys.activate(upcoming.id, now=tx.now):
        raise Overtaken
    await tx.audit.record(by.event(EventKind.SIGNING_KEY_ACTIVATED, tx.now, detail=upcoming.id))


async def retire(tx: Transaction, record: KeyRecord, by: Authority) -> None:
    """Take a key from verifiers of which no token is accepted anywhere any more, or which never signed.

    Raises:
        Overtaken: it is not what it was.
    """
    await _end(tx, record, by, state=KeyState.RETIRED, kind=EventKind.SIGNING_KEY_RETIRED)


async def revoke(tx: Transaction, record: KeyRecord, by: Authority) -> None:
    """Take a key from verifiers whatever it has signed; the revocation of its tokens is another step, the last one.

    Raises:
        Overtaken: it is not what it was.
    """
    await _end(tx, record, by, state=KeyState.REVOKED, kind=EventKind.SIGNING_KEY_REVOKED)


async def _end(tx: Transaction, record: KeyRecord, by: Authority, *, state: KeyState, kind: EventKind) -> None:
    if not await tx.signing_keys.end(record, state, now=tx.now):
        raise Overtaken
    await tx.audit.record(by.event(kind, tx.now, detail=record.id))
