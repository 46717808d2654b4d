"""A TCP front for a Redis: plain, or with TLS; it can be cut off, or keep everything to itself."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.fronts import pass_both_ways, serving

_BLOCK: Final = 65_536


class RedisFront:
    """Listens on every address of this machine and passes on what comes.

    `silent` makes it keep to itself what comes from Redis: it neither answers nor hangs up. `met` counts connections.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        """Stand before the server on a port of this machine."""
        self._behind = port
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.silent = False
        self.met = 0

    def cut(self) -> None:
        """Break every connection; new ones are let in."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._cut)

    async def serve(self, ready: threading.Event, ending: asyncio.Event) -> None:
        """Listen until the end."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._meet, "0.0.0.0", ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await ending.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut(self) -> None:
        for client in self._clients:
            client.transport.abort()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        self._clients.add(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            behind_reader, behind = await asyncio.open_connection("127.0.0.1", self._behind)
            try:
                await pass_both_ways(
                    self._pass_on(reader, behind, held=False), self._pass_on(behind_reader, writer, held=True)
                )
            finally:
                behind.close()
        self._clients.discard(writer)
        writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_BLOCK):
                if not held or not self.silent:
                    writer.write(data)


@contextmanager
def fronted(port: int, tls: ssl.SSLContext | None = None) -> Iterator[RedisFront]:
    """Open a front in a thread of its own, so that tests may block."""
    with serving(RedisFront(port, tls)) as front:
        yield front
