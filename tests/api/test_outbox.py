"""Large answers on their way: in pieces, as fast as the client reads, and never too much at a time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.responses import Response

from tokenkeep.api.frame import REFUSED
from tokenkeep.api.outbox import LARGEST_WHOLE, Outbox, OutboxResponse

PATIENCE = 10.0


class Client:
    """Somebody who is sent an answer, and takes a piece when the test says so."""

    def __init__(self, *, reads: bool = True) -> None:
        self.reads = asyncio.Event()
        if reads:
            self.reads.set()
        self.messages: list[dict[str, Any]] = []
        self.scope: dict[str, Any] = {"type": "http", "method": "GET"}

    async def receive(self) -> dict[str, Any]:
        """Say nothing."""
        raise AssertionError("nothing is to be received")

    async def send(self, message: Any) -> None:
        """Take a message, once this client reads."""
        await self.reads.wait()
        self.messages.append(message)

    def fetch(self, outbox: Outbox, size: int) -> asyncio.Task[None]:
        """Be sent a text of some bytes."""
        response = OutboxResponse(outbox, Response(b"x" * size, media_type="application/jwt"))
        return asyncio.create_task(response(self.scope, self.receive, self.send))

    @property
    def status(self) -> int:
        """The status that was sent."""
        return int(self.messages[0]["status"])

    @property
    def body(self) -> bytes:
        """All of the body that was sent."""
        return b"".join(message["body"] for message in self.messages[1:])


async def settle() -> None:
    """Let everything come as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("size", [0, 1, LARGEST_WHOLE])
async def test_a_small_answer_is_sent_whole(size: int):
    """What is small goes in one piece, at any time."""
    client, outbox = Client(), Outbox(most=1)
    await client.fetch(outbox, size)
    assert len(client.messages) == 2
    assert client.body == b"x" * size


@pytest.mark.parametrize("size", [LARGEST_WHOLE + 1, 2 * LARGEST_WHOLE, 5 * LARGEST_WHOLE + 7])
async def test_a_large_answer_is_sent_in_pieces(size: int):
    """No piece is larger than a small answer; together they are what was to be sent, and the last one says so."""
    client = Client()
    await client.fetch(Outbox(), size)
    start, *pieces = client.messages
    assert (b"content-length", str(size).encode()) in start["headers"]
    assert (b"content-type", b"application/jwt") in start["headers"]
    assert client.body == b"x" * size
    assert max(len(piece["body"]) for piece in pieces) <= LARGEST_WHOLE
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]


async def test_too_much_at_a_time_is_refused():
    """Beyond the bound a client is to come back; small answers and those after the others have ended are sent."""
    outbox = Outbox(most=3 * 100_000)
    slow = [Client(reads=False) for _ in range(3)]
    sending = [client.fetch(outbox, 100_000) for client in slow]
    await settle()
    turned_away, small, later = Client(), Client(), Client()
    await turned_away.fetch(outbox, 100_000)
    document = json.loads(turned_away.body)
    assert (turned_away.status, document["code"]) == (503, "unavailable")
    assert (b"retry-after", b"1") in turned_away.messages[0]["headers"]
    assert turned_away.scope[REFUSED].startswith("unavailable: ")
    await small.fetch(outbox, 1_000)
    assert small.status == 200
    for client in slow:
        client.reads.set()
    await asyncio.gather(*sending)
    await later.fetch(outbox, 100_000)
    assert [client.status for client in (*slow, later)] == [200] * 4


async def test_one_alone_may_be_larger_than_the_bound():
    """An answer larger than the bound is sent when nothing else is under way."""
    client = Client()
    await client.fetch(Outbox(most=1), 100_000)
    assert client.status == 200


@pytest.mark.parametrize("way", ["too slow", "gone"])
async def test_who_does_not_read_keeps_no_room(way: str):
    """A client that is too slow is given up, and one that has gone is forgotten; their room is free for others."""
    outbox = Outbox(most=1, longest=0.01 if way == "too slow" else PATIENCE)
    client, other = Client(reads=False), Client()
    sending = client.fetch(outbox, 100_000)
    await settle()
    if way == "gone":
        sending.cancel()
    await asyncio.wait([sending], timeout=PATIENCE)
    assert sending.done()
    assert client.messages == []
    await other.fetch(outbox, 100_000)
    assert other.status == 200
