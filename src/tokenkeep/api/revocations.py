"""The handler of the revocation feed. The documents themselves are made in `flows.publish_revocations`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, cast

from msgspec import UNSET

from tokenkeep.api.endpoint import Answer, Call, Feed
from tokenkeep.api.problems import RequestRefused
from tokenkeep.api.schemas import RevocationQuery
from tokenkeep.domain.history import Position

MEDIA_TYPE: Final = "application/jwt"


async def revocations(call: Call[Any]) -> Answer:
    """Publish the revocations that the reader does not know yet; waits for some as long as it is told to."""
    feed = cast("Feed", call.services.feed)
    query = cast("RevocationQuery", call.query)
    answering = feed.publish.answer(_known(query), wait=query.wait)
    text = await _unless(call.gone, answering) if query.wait else await answering
    return Answer(text, media_type=MEDIA_TYPE, outbox=feed.outbox)


def _known(query: RevocationQuery) -> Position | None:
    """Return how far the reader has come; None if it knows nothing.

    Raises:
        RequestRefused: it says only half of it.
    """
    match query.epoch, query.after:
        case str() as epoch, int() as after:
            return Position(epoch, after)
        case epoch, after if epoch is UNSET and after is UNSET:
            return None
        case _:
            raise RequestRefused("malformed_request", "epoch and after belong together")


async def _unless(gone: Callable[[], Awaitable[None]], answering: Coroutine[Any, Any, bytes]) -> bytes:
    """Return the answer, unless the client goes away before it is there: then nothing is kept for it any more.

    Raises:
        RequestRefused: it has gone.
    """
    tasks = answer, leaving = asyncio.create_task(answering), asyncio.ensure_future(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise RequestRefused("malformed_request", "The request ended early")
        return answer.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(answer, leaving, return_exceptions=True)
