"""Handlers of signing keys: the key set that anyone may fetch (RFC 7517), and what administrators do with the keys."""

from __future__ import annotations

from typing import Any

import msgspec

from tokenkeep.api.endpoint import Answer, Call
from tokenkeep.api.instants import seconds
from tokenkeep.api.revalidation import revalidated
from tokenkeep.api.schemas import KeyTimetable, PlannedSigningKey, RotationRequest
from tokenkeep.domain.key_rotation import PlannedKey
from tokenkeep.domain.signing_keys import KeyState, parse_key_id


async def jwks(call: Call[Any]) -> Answer:
    """Publish the public keys with which access tokens are verified."""
    document = msgspec.json.encode(call.services.key_ring.public_keys().to_jwks())
    return revalidated(document, call.if_none_match, cache_control=f"public, max-age={call.services.key_set_age}")


async def list_keys(call: Call[Any]) -> Answer:
    """Show the signing keys and when they change."""
    return await _timetable(call)


async def rotate_keys(call: Call[RotationRequest]) -> Answer:
    """Have the next key sign as soon as that is safe, and show when that is."""
    ready = call.body is not None and call.body.verifiers_ready
    await call.services.rotate_keys.rotate(by=call.administrator(), verifiers_ready=ready)
    return await _timetable(call)


async def revoke_key(call: Call[Any]) -> Answer:
    """Revoke a key, and show which keys there are now."""
    await call.services.revoke_key.revoke(parse_key_id(call.path["kid"]), by=call.administrator())
    return await _timetable(call)


async def _timetable(call: Call[Any]) -> Answer:
    plan = await call.services.list_keys.timetable(by=call.administrator())
    return Answer(KeyTimetable([_key(each) for each in plan.keys], seconds(plan.promotion_at), plan.waits_for))


def _key(planned: PlannedKey) -> PlannedSigningKey:
    key = planned.key
    return PlannedSigningKey(
        kid=key.id,
        alg=key.algorithm,
        state=key.state,
        created_at=seconds(key.created_at),
        signs_from=seconds(planned.signs_from),
        signs_until=seconds(planned.signs_until),
        leaves_at=seconds(planned.leaves_at),
        revoked_at=seconds(key.ended_at) if key.state is KeyState.REVOKED else None,
    )
