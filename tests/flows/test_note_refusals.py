"""Refusals that are remembered: each is written once, whoever writes them."""

from __future__ import annotations

import asyncio

from tests.flows.stage import FIREFOX, Stage
from tokenkeep.domain.audit import EventKind


async def test_writing_at_the_same_time_writes_nothing_twice(stage: Stage):
    """Two calls that write at once, as a chore and the end of the server may, leave each refusal once."""
    refusals = stage.parts.refusals
    for number in range(20):
        refusals.note(EventKind.TOKEN_REFUSED, FIREFOX, detail=f"refusal {number}")
    await asyncio.gather(*(refusals.flush() for _ in range(4)))
    written = [event["detail"] for event in await stage.events() if event["kind"] == EventKind.TOKEN_REFUSED]
    assert sorted(written) == sorted(f"refusal {number}" for number in range(20))
