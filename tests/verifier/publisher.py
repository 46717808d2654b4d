"""A server on loopback that publishes a key set: well, badly, slowly, or not at all, as a test tells it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tokenkeep.jose import Key

Handler = BaseHTTPRequestHandler
PACE: Final = 0.02
"""Seconds between two bytes of an answer that trickles in."""
HUNDRED_MEGABYTES: Final = 100 * 1024 * 1024


@dataclass
class Asked:
    """A request that came."""

    path: str
    headers: dict[str, str]


@dataclass
class Publisher:
    """What is published at `url`; each attribute may be changed while it is asked."""

    url: str
    status: int = 200
    body: bytes = b'{"keys":[]}'
    headers: dict[str, str] = field(default_factory=dict)
    #: Answers instead of status, body and headers.
    behaviour: Callable[[Handler], None] | None = None
    requests: list[Asked] = field(default_factory=list)
    #: Set when the server ends: nothing waits any longer.
    ended: threading.Event = field(default_factory=threading.Event)
    #: How many bytes of an endless answer were taken.
    sent: int = 0

    @property
    def asked(self) -> list[str]:
        """The paths asked for."""
        return [request.path for request in self.requests]

    def publish(self, *keys: Key | dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Publish these keys, with these headers, from now on."""
        self.behaviour = None
        self.status = 200
        self.headers = headers or {}
        self.body = document(*keys)

    def answer(self, handler: Handler) -> None:
        """Answer one request."""
        self.requests.append(Asked(handler.path, {name.lower(): value for name, value in handler.headers.items()}))
        if self.behaviour is not None:
            self.behaviour(handler)
            return
        self.send(handler)

    def send(self, handler: Handler) -> None:
        """Answer one request with what is published."""
        tag = self.headers.get("ETag")
        unchanged = self.status == 200 and tag is not None and handler.headers.get("If-None-Match") == tag
        handler.send_response(304 if unchanged else self.status)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if not unchanged:
            handler.wfile.write(self.body)

    def trickle_the_body(self, handler: Handler) -> None:
        """Send a good head, then the body a byte at a time."""
        handler.send_response(200)
        handler.end_headers()
        self._trickle(handler, self.body)

    def trickle_the_head(self, handler: Handler) -> None:
        """Send everything a byte at a time, with a head that takes longer than anybody waits."""
        self._trickle(handler, b"HTTP/1.1 200 OK\r\n" + b"X-Pad: x\r\n" * 2_000 + b"\r\n" + self.body)

    def stay_silent(self, _: Handler) -> None:
        """Take the request and never answer."""
        self.ended.wait()

    def never_end(self, handler: Handler) -> None:
        """Send a hundred megabytes of white space, as long as somebody takes it."""
        handler.send_response(200)
        handler.end_headers()
        chunk = b" " * 65_536
        while self.sent < HUNDRED_MEGABYTES and not self.ended.is_set():
            self.sent += handler.wfile.write(chunk)

    def promise_too_much(self, handler: Handler) -> None:
        """Announce a large answer, and send none of it."""
        handler.send_response(200)
        handler.send_header("Content-Length", str(HUNDRED_MEGABYTES))
        handler.end_headers()
        self.ended.wait()

    def hang_up(self, handler: Handler) -> None:
        """Close the connection instead of an answer."""
        handler.close_connection = True

    def speak_nonsense(self, handler: Handler) -> None:
        """Answer with what is no HTTP."""
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n")

    def _trickle(self, handler: Handler, text: bytes) -> None:
        for byte in text:
            handler.wfile.write(bytes([byte]))
            if self.ended.wait(PACE):
                return


def document(*keys: Key | dict[str, Any]) -> bytes:
    """Return the JWK Set of some keys; those that are no `Key` are taken as they are."""
    return json.dumps({"keys": [key if isinstance(key, dict) else key.public().to_jwk() for key in keys]}).encode()


@contextmanager
def publishing(*keys: Key, tls: ssl.SSLContext | None = None) -> Iterator[Publisher]:
    """Run a publisher of some keys on a free port."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                publisher.answer(self)
            except OSError:  # whoever asked has hung up
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *arguments: object) -> None:
            return

    with Server(("127.0.0.1", 0), Answering) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        publisher = Publisher(f"{scheme}://127.0.0.1:{server.server_port}/jwks.json")
        publisher.publish(*keys)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield publisher
        finally:
            publisher.ended.set()
            server.shutdown()
            thread.join()
