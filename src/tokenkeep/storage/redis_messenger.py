"""Calls between server processes over Redis (port `Messenger`)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import aclosing, suppress

from tokenkeep.storage.redis import RedisLink
from tokenkeep.storage.redis_outages import RedisAway


class RedisMessenger:
    """Publishes on one channel and listens there; a process does not hear itself."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._channel = link.name("read-now")
        self._caller = secrets.token_hex(8)

    async def call(self) -> None:
        """Call all others that listen just now; nobody is told if that fails."""
        with suppress(RedisAway):
            await self._link.publish(self._channel, self._caller)

    async def listen(self, heard: Callable[[], None]) -> bool:
        """Run `heard` whenever another may have called, until the connection is lost; tells whether there was one."""
        connected = False
        with suppress(RedisAway):
            async with aclosing(self._link.listen(self._channel)) as calls:
                async for caller in calls:
                    connected = True
                    if caller != self._caller:
                        heard()  # the first time nobody has called, but somebody may have before there was a connection
        return connected
