"""One GET, bounded in size, time and trust: in threads or in an event loop, with the same rules.

Names are resolved here, and only addresses that may answer are connected to, so that no name can lead elsewhere. Not
here: what an answer means (`jwks`). This module loads the HTTP library; it is imported when something is fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, Final

import httpx2

from tokenkeep.verifier.interruption import Interruption
from tokenkeep.verifier.remote import Answer, DownloadFailed, Limits, Target

_OK: Final = 200
_MOST_ADDRESSES: Final = 3
"""How many of a host's addresses are tried."""
_CONNECTED: Final = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})


class Downloader:
    """Asks one target. It keeps no connection, and what it keeps may be used from any thread and event loop."""

    def __init__(self, target: Target, limits: Limits, *, tls: ssl.SSLContext | None = None) -> None:
        """Take the target; `tls` is what trusts its certificate, by default the authorities of this machine."""
        self._target = target
        self._limits = limits
        self._tls = tls

    def get(self, headers: Mapping[str, str], *, interruption: Interruption | None = None) -> Answer:
        """Return the answer to a GET with these headers.

        Args:
            headers: of the request.
            interruption: lets another thread end it.

        Raises:
            DownloadFailed: it did not come whole, in time, within the bound, or from where it may come.
        """
        # In a thread of its own: neither a name being resolved nor a head that trickles in can be given up otherwise.
        connection = _Connection()
        outcome: Future[Answer] = Future()
        if interruption is not None:
            interruption.ends(connection.hang_up, outcome.cancel)
        threading.Thread(
            target=self._settle, args=(outcome, headers, connection), name="tokenkeep download", daemon=True
        ).start()
        try:
            return outcome.result(self._limits.whole)
        except TimeoutError:
            connection.hang_up()
            raise self._late() from None
        except CancelledError:
            raise DownloadFailed("given up") from None

    async def get_async(self, headers: Mapping[str, str]) -> Answer:
        """Return the answer to a GET with these headers.

        Raises:
            DownloadFailed: it did not come whole, in time, within the bound, or from where it may come.
        """
        try:
            async with asyncio.timeout(self._limits.whole):
                return await self._get_async(headers)
        except TimeoutError:
            raise self._late() from None

    def _settle(self, outcome: Future[Answer], headers: Mapping[str, str], connection: _Connection) -> None:
        # It may be cancelled by now: then nobody waits for it.
        with contextlib.suppress(InvalidStateError):
            try:
                outcome.set_result(self._get(headers, connection))
            except BaseException as error:  # noqa: BLE001  (it is raised again where the outcome is waited for)
                outcome.set_exception(error)

    def _get(self, headers: Mapping[str, str], connection: _Connection) -> Answer:
        with _explained():
            found = socket.getaddrinfo(self._target.host, self._target.port, type=socket.SOCK_STREAM)
            *others, last = self._permitted([entry[4][0] for entry in found])
            with httpx2.Client(**self._client_options(len(others) + 1)) as client:
                for address in others:
                    with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                        return self._ask(client, self._request(address, headers, trace=connection.notice))
                return self._ask(client, self._request(last, headers, trace=connection.notice))

    async def _get_async(self, headers: Mapping[str, str]) -> Answer:
        with _explained():
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(self._target.host, self._target.port, type=socket.SOCK_STREAM)
            *others, last = self._permitted([entry[4][0] for entry in found])
            options = await asyncio.to_thread(self._client_options, len(others) + 1)
            async with httpx2.AsyncClient(**options) as client:
                for address in others:
                    with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                        return await self._ask_async(client, self._request(address, headers))
                return await self._ask_async(client, self._request(last, headers))

    def _ask(self, client: httpx2.Client, request: dict[str, Any]) -> Answer:
        with client.stream("GET", **request) as response:
            body = _Body(response, self._limits.size)
            if body.wanted:
                for chunk in response.iter_raw():
                    body.add(chunk)
            return body.answer()

    async def _ask_async(self, client: httpx2.AsyncClient, request: dict[str, Any]) -> Answer:
        async with client.stream("GET", **request) as response:
            body = _Body(response, self._limits.size)
            if body.wanted:
                async for chunk in response.aiter_raw():
                    body.add(chunk)
            return body.answer()

    def _permitted(self, addresses: Sequence[Any]) -> list[str]:
        distinct = list(dict.fromkeys(str(address) for address in addresses))
        permitted = self._target.permitted(distinct)
        if not permitted:
            raise DownloadFailed(f"{self._target.host} leads to addresses that may not answer: {', '.join(distinct)}")
        return permitted[:_MOST_ADDRESSES]

    def _client_options(self, addresses: int) -> dict[str, Any]:
        seconds = self._limits.seconds
        return {
            "verify": self._trust(),
            "trust_env": False,
            "follow_redirects": False,
            # The limit for everything is not kept here, where each step is timed by itself. Connecting ends before it,
            # so that another address can be asked and the failure has its name.
            "timeout": httpx2.Timeout(2 * self._limits.whole, connect=0.8 * seconds / addresses),
        }

    def _trust(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = usual_trust(self._target)
        return self._tls

    def _request(self, address: str, headers: Mapping[str, str], **extensions: Any) -> dict[str, Any]:
        """Return what asks one address for the target, as the host that the target names."""
        url = httpx2.URL(self._target.url)
        return {
            "url": url.copy_with(host=address),
            # What is compressed has no bound.
            "headers": {**headers, "Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"},
            "extensions": {"sni_hostname": self._target.host, **extensions},
        }

    def _late(self) -> DownloadFailed:
        return DownloadFailed(f"no whole answer came within {self._limits.whole:g} seconds")


def usual_trust(target: Target) -> ssl.SSLContext:
    """Return what trusts the certificate of a target if nothing else was given: the authorities of this machine."""
    # Reading them takes a while; without https there is nothing to trust.
    secure = target.url.startswith("https:")
    return httpx2.create_ssl_context(trust_env=False) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Body:
    """What has been read of an answer."""

    def __init__(self, response: httpx2.Response, largest: int) -> None:
        """Look at the head of an answer.

        Raises:
            DownloadFailed: its body is larger than what is read, or compressed.
        """
        self._response = response
        self._largest = largest
        self._read = bytearray()
        self.wanted = response.status_code == _OK
        if self.wanted:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise DownloadFailed("the answer is compressed, which was not asked for")
            declared = response.headers.get("content-length", "0")
            if declared.isdecimal() and int(declared) > largest:
                raise self._too_large()

    def add(self, chunk: bytes) -> None:
        """Take what was read.

        Raises:
            DownloadFailed: that is more than the bound.
        """
        self._read += chunk
        if len(self._read) > self._largest:
            raise self._too_large()

    def answer(self) -> Answer:
        """Return the answer, which has been read to its end."""
        return Answer(self._response.status_code, self._response.headers, bytes(self._read))

    def _too_large(self) -> DownloadFailed:
        return DownloadFailed(f"the answer is larger than {self._largest} bytes")


class _Connection:
    """The connection of a GET in another thread, which can be cut."""

    def __init__(self) -> None:
        self._streams: list[Any] = []
        self._cut = False

    def notice(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of what the HTTP library tells of its work.

        Raises:
            DownloadFailed: nobody waits for the answer any more.
        """
        if event in _CONNECTED:
            self._streams.append(info["return_value"])
        if self._cut:
            # Here, in the thread that reads: the library does not know yet that it has the newest of them.
            for stream in self._streams:
                stream.close()
            raise DownloadFailed("given up")

    def hang_up(self) -> None:
        """Make the other thread end soon, whatever it waits for."""
        self._cut = True
        for stream in self._streams:
            with contextlib.suppress(OSError):
                # The method of plain sockets: that of TLS sockets would take from the other thread what it reads with.
                socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
        # Parts of it may have been written by a stranger: one line, and nothing that moves a cursor.
        told = "".join(letter if letter.isprintable() else "?" for letter in str(error)[:200])
        raise DownloadFailed(f"{type(error).__name__}: {told}" if told else type(error).__name__) from None
