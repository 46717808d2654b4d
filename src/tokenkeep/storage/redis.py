"""The one connection to a Redis or Valkey: short waits, no retries, and a rest after each failure.

What is kept there can be lost at any time; whoever asks must do without it at once (`RedisAway`). Not here: what is
asked (`redis_limiter`, `redis_messenger`, `redis_mark`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import NoScriptError, RedisError

from tokenkeep.storage.redis_address import RedisAddress
from tokenkeep.storage.redis_outages import UNEXPECTED, RedisAway, explain_outage

ANSWER_TIMEOUT: Final = 0.25
"""Seconds to wait for an answer, with all it takes to get one."""
ASKING_TIMEOUT: Final = 2.0
"""Seconds to wait for an answer while nobody waits for it: whether Redis is there, or is there again."""
CONNECTIONS: Final = 16
"""Connections of one process at most, but for the one on which it listens."""
LISTENING_PAUSE: Final = 2.0
"""Seconds without a message after which the connection is tried; as long again without an answer, and it is dead."""

LONGEST_MESSAGE: Final = 64
"""Bytes that are read of a message; none is longer, but for what others send."""

_OUTAGES: Final = (RedisError, OSError, TimeoutError)

_log = logging.getLogger(__name__)


class Script:
    """Steps that Redis does all at once, in Lua; it is sent once and named by its digest from then on."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text: Final = text
        self.digest: Final = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


_ASK: Final = Script("redis.call('TIME') return redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) and 1")
"""A change that none is: what is full, or can only be read, refuses it."""


class _TlsConnection(SSLConnection):
    """A connection over TLS in a context that all of them share: making one takes longer than an answer may."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context


class RedisLink:
    """Asks Redis, and knows whether it is there. One that failed is left alone until `ask` finds it well again."""

    def __init__(self, address: RedisAddress, *, prefix: str, consequence: str) -> None:
        """Prepare the link; nothing is connected before it is used.

        Args:
            prefix: what the name of every key and channel begins with.
            consequence: what is so while Redis is away, for the log.

        Raises:
            AddressError: a file that the address names cannot be used.
        """
        self._address: Final = address
        self._prefix: Final = prefix
        self._consequence = consequence
        self._away: str | None = None
        self._context = address.context()
        pool = BlockingConnectionPool(
            max_connections=CONNECTIONS,
            timeout=ASKING_TIMEOUT,
            connection_class=self._connection_class(),
            **self._options(),
        )
        self._client: Redis = Redis.from_pool(pool)

    def __repr__(self) -> str:
        return f"RedisLink({self._address.where})"

    @property
    def away(self) -> str | None:
        """Why Redis was away when it was last asked; None if it was there."""
        return self._away

    def name(self, *parts: str) -> str:
        """Return the name of a key or channel of this installation."""
        return self._prefix + ":".join(parts)

    async def run(self, script: Script, key: str, *values: str | int) -> Any:
        """Run a script on one key and return its answer, without waiting long.

        Raises:
            RedisAway: there is no answer; whether the script has run is not known.
        """
        if self._away is not None:
            raise RedisAway(self._away)
        answer = await self._try(ANSWER_TIMEOUT, self._run(script, key, values))
        return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer

    async def count(self, script: Script, key: str, *values: str | int, most: int) -> int:
        """Run a script whose answer is a number from 0 to `most`, as `run` does.

        Raises:
            RedisAway: there is no such answer.
        """
        answer = await self.run(script, key, *values)
        if type(answer) is int and 0 <= answer <= most:
            return answer
        raise self._failed(f"Redis at {self._address.where}: {UNEXPECTED}")

    async def publish(self, channel: str, message: str) -> None:
        """Send a message to whoever listens just now.

        Raises:
            RedisAway: it cannot be sent.
        """
        if self._away is not None:
            raise RedisAway(self._away)
        await self._try(ASKING_TIMEOUT, self._client.publish(channel, message))

    async def ask(self) -> str | None:
        """Find out whether Redis is there and can be written; returns why not."""
        with suppress(RedisAway):
            if await self._try(ASKING_TIMEOUT, self._run(_ASK, self.name("asked"), (1,))) != 1:
                raise self._failed(f"Redis at {self._address.where}: {UNEXPECTED}")
            if self._away is not None:
                self._away = None
                _log.info("Redis at %s is there again", self._address.where)
        return self._away

    async def describe(self) -> dict[str, Any]:
        """Return what Redis tells about itself, for an operator.

        Raises:
            RedisAway: it does not tell.
        """
        told: dict[str, Any] = await self._try(ASKING_TIMEOUT, self._client.info())
        return told

    async def listen(self, channel: str) -> AsyncGenerator[str | None, None]:
        """Yield None as soon as nothing that is sent will be missed any more, then every message.

        Raises:
            RedisAway: the connection was lost, or there is none.
        """
        connection = self._connection_class()(**self._options())
        try:
            async with asyncio.timeout(ASKING_TIMEOUT):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("SUBSCRIBE", channel)
                await connection.read_response()
            yield None
            tried = False
            while True:
                answer = await connection.read_response(timeout=LISTENING_PAUSE)
                if answer is not None:
                    tried = False
                    match answer:
                        case [b"message", _, bytes(content)]:
                            yield content[:LONGEST_MESSAGE].decode("utf-8", "replace")
                elif tried:
                    raise TimeoutError
                else:
                    tried = True
                    await connection.send_command("PING")
        except _OUTAGES as error:
            raise RedisAway(explain_outage(error, self._address)) from None
        finally:
            with suppress(*_OUTAGES):
                await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Disconnect."""
        with suppress(*_OUTAGES):
            await self._client.aclose()

    async def _run(self, script: Script, key: str, values: tuple[str | int, ...]) -> Any:
        try:
            return await self._client.evalsha(script.digest, 1, key, *values)
        except NoScriptError:
            return await self._client.eval(script.text, 1, key, *values)

    async def _try(self, seconds: float, answer: Any) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except _OUTAGES as error:
            told = explain_outage(error, self._address)
        raise self._failed(told)

    def _failed(self, told: str) -> RedisAway:
        """Leave Redis alone from here on; returns why."""
        if told != self._away:
            _log.error("%s; %s", told, self._consequence)
        self._away = told
        return RedisAway(told)

    def _connection_class(self) -> type[Connection]:
        chosen: Any = _TlsConnection if self._address.tls else Connection
        if self._address.socket:
            chosen = UnixDomainSocketConnection
        kind: type[Connection] = chosen
        return kind

    def _options(self) -> dict[str, Any]:
        """Return how to connect: as plainly as can be, so that the user needs no right but those listed."""
        address = self._address
        options: dict[str, Any] = {
            "db": address.database,
            "username": address.user,
            "password": address.password,
            "protocol": 2,
            "driver_info": None,
            "socket_timeout": None,
            "socket_connect_timeout": ASKING_TIMEOUT,
        }
        if address.socket:
            return options | {"path": address.socket}
        options |= {"host": address.host, "port": address.port}
        return options | ({"context": self._context} if self._context is not None else {})
