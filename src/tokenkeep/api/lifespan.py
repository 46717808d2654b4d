"""The life span of an ASGI application: what is opened before the first request, and closed after the last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.types import Receive, Send


async def live(
    receive: Receive, send: Send, *, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]
) -> None:
    """Begin when the ASGI server says so, and end when it does; what goes wrong at the beginning is told it."""
    await receive()
    try:
        await begin()
    except Exception as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        raise
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await end()
    await send({"type": "lifespan.shutdown.complete"})


def live_within(parent: Starlette, opened: AbstractAsyncContextManager[object]) -> None:
    """Have something opened before whatever else an application opens, and closed after it."""
    inner = parent.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with opened, inner(app) as state:
            yield state

    parent.router.lifespan_context = lifespan
