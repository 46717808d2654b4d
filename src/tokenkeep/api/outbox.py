"""Large answers on their way: sent in pieces as fast as each client reads, a bounded amount of them at a time.

What is handed over whole is kept by the HTTP library, once for each client that does not read it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tokenkeep.api.frame import note_refusal
from tokenkeep.api.problems import problem_of
from tokenkeep.domain.errors import Unavailable

LARGEST_WHOLE: Final = 64 * 1024
"""Bytes of the largest answer that is handed over whole; also of a piece of a larger one."""
MOST_UNDER_WAY: Final = 256 * 1024 * 1024
"""Bytes of large answers that are under way at the same time; one alone may be larger."""
LONGEST_SENDING: Final = 60.0
"""Seconds after which a client that has not read a large answer is hung up on."""


class Outbox:
    """Knows how much is under way."""

    def __init__(self, *, most: int = MOST_UNDER_WAY, longest: float = LONGEST_SENDING) -> None:
        self._most: Final = most
        self._longest: Final = longest
        self._under_way = 0

    async def send(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a response, or a refusal where too much is under way already."""
        body = bytes(response.body)
        if len(body) <= LARGEST_WHOLE:
            await response(scope, receive, send)
            return
        if self._under_way and self._under_way + len(body) > self._most:
            refused = Unavailable("too many large answers are under way")
            note_refusal(scope, refused.code, refused)
            await problem_of(refused)(scope, receive, send)
            return
        self._under_way += len(body)
        try:
            async with asyncio.timeout(self._longest):
                await _send_in_pieces(response, body, send)
        except TimeoutError:
            pass  # what is missing tells the client; there is nobody else to be told
        finally:
            self._under_way -= len(body)


class OutboxResponse(Response):
    """A response that goes by way of an outbox."""

    def __init__(self, outbox: Outbox, response: Response) -> None:
        self.background = None
        self._outbox = outbox
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await self._outbox.send(self._response, scope, receive, send)


async def _send_in_pieces(response: Response, body: bytes, send: Send) -> None:
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    for begin in range(0, len(body), LARGEST_WHOLE):
        piece = body[begin : begin + LARGEST_WHOLE]
        await send({"type": "http.response.body", "body": piece, "more_body": begin + len(piece) < len(body)})
