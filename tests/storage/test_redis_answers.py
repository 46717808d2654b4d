"""Something in the place of Redis that answers what nobody asked: attempts are limited all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.settable_clock import SettableClock
from tokenkeep.domain.limits import Quota
from tokenkeep.domain.server_processes import UNKNOWN_REDIS
from tokenkeep.storage.memory import MemoryLimiter
from tokenkeep.storage.redis import LONGEST_MESSAGE, RedisLink
from tokenkeep.storage.redis_address import RedisAddress
from tokenkeep.storage.redis_outages import RedisAway
from tokenkeep.storage.redis_shared import RedisShared

QUOTA = Quota("few", 3, 60)
NONSENSE = {
    "nothing": b"$-1",
    "text": b"$3\r\nabc",
    "digits": b"$1\r\n0",
    "no text": b"$2\r\n\xff\x00",
    "a list": b"*2\r\n:1\r\n:2",
    "a word": b"+OK",
    "less than nothing": b":-1",
    "for ever": b":9223372036854775807",
    "a page": b"HTTP/1.1 400 Bad Request\r\n",
}


class Impostor:
    """Speaks the language of Redis, and answers every script with the same bytes."""

    def __init__(self) -> None:
        self.answer = b":1"
        self.pushed = b""
        self.url = ""

    async def serve(self) -> asyncio.Server:
        """Listen."""
        server = await asyncio.start_server(self._meet, "127.0.0.1")
        self.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                if words[0] == b"SUBSCRIBE":
                    writer.write(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n" + self.pushed)
                else:
                    writer.write(self.answer + b"\r\n")
        writer.close()


@pytest.fixture
async def impostor() -> AsyncIterator[Impostor]:
    """What the address leads to."""
    there = Impostor()
    async with await there.serve():
        yield there


@pytest.fixture
async def shared(impostor: Impostor, clock: SettableClock) -> AsyncIterator[RedisShared]:
    """What a process shares over it."""
    link = RedisLink(RedisAddress.parse(impostor.url), prefix="tokenkeep-test:", consequence="counted here")
    yield RedisShared.over(link, key=b"a key", own=MemoryLimiter(clock))
    await link.close()


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
async def test_an_answer_that_is_none_is_an_outage(
    impostor: Impostor, shared: RedisShared, caplog: pytest.LogCaptureFixture, answer: bytes
):
    """Whatever comes instead of a count, the process limits by itself, lets nobody wait longer, and says so once."""
    impostor.answer = answer
    with caplog.at_level(logging.INFO):
        waits = [await shared.limiter.spend(QUOTA, "an address") for _ in range(QUOTA.count + 1)]
        assert [wait > 0 for wait in waits] == [False] * QUOTA.count + [True]
        assert await shared.limiter.begin("ada") == 0
        await shared.limiter.take_back("ada")
        await shared.limiter.refund(QUOTA, "an address")
        await shared.limiter.forgive("ada")
        for _ in range(3):
            assert await shared.link.ask() is not None
    assert await shared.identity() == UNKNOWN_REDIS
    assert await shared.mark.read() is None
    told = [record.getMessage() for record in caplog.records if record.name.startswith("tokenkeep")]
    assert len(told) == 1
    assert "it answers what was not expected" in told[0]


@pytest.mark.parametrize("answer", [b"$-1", b"*1\r\n:1", b"$4\r\n a b", b"$7000\r\n" + b"a" * 7000, b":7"])
async def test_a_name_that_is_none_is_not_noted(impostor: Impostor, shared: RedisShared, answer: bytes):
    """What does not look like the name of a Redis is not written into the database as one."""
    impostor.answer = answer
    assert await shared.identity() == UNKNOWN_REDIS


async def test_messages_that_are_none_are_passed_over(impostor: Impostor, shared: RedisShared):
    """A listener takes no harm by what is no message, and reads no more of one than it needs."""
    large = b"a" * 100_000
    message = b"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$%d\r\n%s\r\n" % (len(large), large)
    impostor.pushed = b":5\r\n*1\r\n:1\r\n*0\r\n$-1\r\n+PONG\r\n*3\r\n$7\r\nmessage\r\n:1\r\n:1\r\n" + message
    calls = shared.link.listen("x")
    assert await anext(calls) is None
    assert await anext(calls) == "a" * LONGEST_MESSAGE
    await calls.aclose()


async def test_a_listener_tells_of_an_error(impostor: Impostor, shared: RedisShared):
    """An error instead of a message ends the listening, to be begun again."""
    impostor.pushed = b"-ERR no\r\n"
    calls = shared.link.listen("x")
    assert await anext(calls) is None
    with pytest.raises(RedisAway):
        await anext(calls)
