"""A small HTTP/1.1 client that keeps its connections, so that the server under load is what is measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Connection:
    """One connection to a server on this machine; a server that closes it is connected to again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, body: bytes = b"", headers: Sequence[str] = ()) -> Answer:
        """Send a request and return its answer."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", f"Content-Length: {len(body)}", *headers]
        if body:
            lines.append("Content-Type: application/json")
        message = "\r\n".join([*lines, "", ""]).encode() + body
        try:
            return await self._exchange(message)
        except (ConnectionError, asyncio.IncompleteReadError):
            await self.close()
            return await self._exchange(message)

    async def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _exchange(self, message: bytes) -> Answer:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(message)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in head[1:]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            await self.close()
        return Answer(int(head[0].split(" ")[1]), headers, body)


async def run_for(seconds: float, steps: Sequence[Callable[[], Awaitable[None]]]) -> tuple[list[float], float]:
    """Repeat each step, all at the same time, for some seconds; returns every step's duration and the time in all."""
    durations: list[float] = []
    started = time.perf_counter()

    async def repeat(step: Callable[[], Awaitable[None]]) -> None:
        while (begun := time.perf_counter()) - started < seconds:
            await step()
            durations.append(time.perf_counter() - begun)

    await asyncio.gather(*(repeat(step) for step in steps))
    return durations, time.perf_counter() - started


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
