"""A TCP front for a PostgreSQL that listens on a unix socket: plain, or with TLS as a server built with it has."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.fronts import pass_both_ways, serving

_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)


class PostgresFront:
    """Listens on every address of this machine, answers the request for TLS, and passes on what follows.

    `silent` makes it keep to itself what comes from the database: it neither answers nor hangs up. `lingering` makes it
    stay with a client that the database has left, which sets `left` once the last words are passed on. `secured` is how
    many clients came to speak TLS, `heard` how many bytes clients sent to the database itself, `turns` how often one
    of them spoke after the database had: the messages that had to be waited for.
    """

    def __init__(self, socket: str, tls: ssl.SSLContext | None) -> None:
        """Stand before the server whose socket is in a directory; without TLS it declines to speak it."""
        self._socket = f"{socket}/.s.PGSQL.5432"
        self._tls = tls
        self.port = 0
        self.silent = False
        self.lingering = False
        self.left = threading.Event()
        self.secured = 0
        self.heard = 0
        self.turns = 0

    async def serve(self, ready: threading.Event, ending: asyncio.Event) -> None:
        """Listen until the end."""
        server = await asyncio.start_server(self._meet, "0.0.0.0")
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await ending.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, ssl.SSLError, asyncio.CancelledError):
            begun = await reader.readexactly(8)
            if begun == _SSL_REQUEST:
                writer.write(b"S" if self._tls else b"N")
                begun = b""
                if self._tls is not None:
                    await writer.start_tls(self._tls)
                    self.secured += 1
            behind_reader, behind = await asyncio.open_unix_connection(self._socket)
            behind.write(begun)
            answered = asyncio.Event()
            answered.set()
            try:
                await pass_both_ways(
                    self._pass_questions(reader, behind, answered), self._pass_answers(behind_reader, writer, answered)
                )
            finally:
                behind.close()
        writer.close()

    async def _pass_questions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answered: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                self.heard += len(data)
                self.turns += answered.is_set()
                answered.clear()
                writer.write(data)

    async def _pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answered: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                answered.set()
                if not self.silent:
                    writer.write(data)
        if self.lingering:
            self.left.set()
            await asyncio.Event().wait()


@contextmanager
def fronted(socket: str, tls: ssl.SSLContext | None = None) -> Iterator[PostgresFront]:
    """Open a front in a thread of its own, so that tests may block."""
    with serving(PostgresFront(socket, tls)) as front:
        yield front
