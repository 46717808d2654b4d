"""Fetching a key set over a network that may be hostile: what is fetched, and what is not believed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tokenkeep.jose import Key, KeySet
from tokenkeep.verifier.jwks import LARGEST_KEY_SET, KeySetUnavailable, check_key_set_url, fetch_key_set

KEY = Key.generate("ES256")
DOCUMENT = json.dumps(KeySet([KEY.public()]).to_jwks()).encode()


@dataclass
class Publisher:
    """A server on loopback that answers every request in one way, and remembers the paths asked for."""

    url: str
    status: int = 200
    body: bytes = DOCUMENT
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """A publisher of a good key set."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.asked.append(self.path)
            self.send_response(published.status)
            for name, value in published.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(published.body)

        def log_message(self, *arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        published = Publisher(f"http://127.0.0.1:{server.server_port}/jwks.json")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield published
        server.shutdown()
        thread.join()


def test_key_set_is_fetched(publisher: Publisher):
    """A published set arrives as keys."""
    assert [key.kid for key in fetch_key_set(publisher.url)] == [KEY.kid]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(publisher: Publisher, status: int):
    """Whoever controls a redirect does not choose the keys."""
    publisher.status = status
    publisher.headers = {"Location": publisher.url.replace("jwks.json", "elsewhere")}
    with pytest.raises(KeySetUnavailable, match=str(status)):
        fetch_key_set(publisher.url)
    assert publisher.asked == ["/jwks.json"]


@pytest.mark.parametrize("status", [204, 304, 400, 404, 500, 503])
def test_other_answers_are_no_key_set(publisher: Publisher, status: int):
    """An error page is not read as keys, even if its body is a key set."""
    publisher.status = status
    if status in {204, 304}:
        publisher.body = b""
    with pytest.raises(KeySetUnavailable):
        fetch_key_set(publisher.url)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"not json", b'{"keys":{}}', b'{"keys":[],"keys":[]}', b"<html>", b"\xff\xfe"],
    ids=repr,
)
def test_document_that_is_no_key_set_is_refused(publisher: Publisher, body: bytes):
    """What does not read as a key set is one documented error."""
    publisher.body = body
    with pytest.raises(KeySetUnavailable):
        fetch_key_set(publisher.url)


def test_endless_document_is_not_read_to_its_end(publisher: Publisher):
    """Reading stops at the bound, declared or not."""
    publisher.body = b" " * (LARGEST_KEY_SET + 1)
    with pytest.raises(KeySetUnavailable, match="larger"):
        fetch_key_set(publisher.url)


def test_private_and_symmetric_keys_are_left_out(publisher: Publisher):
    """A set that publishes what must not be published verifies nothing with it."""
    secret = Key.generate("HS256").to_jwk(private=True)
    publisher.body = json.dumps({"keys": [KEY.to_jwk(private=True), secret, KEY.public().to_jwk()]}).encode()
    assert [(key.kid, key.is_private) for key in fetch_key_set(publisher.url)] == [(KEY.kid, False)]


def test_publisher_that_is_gone_is_unavailable(publisher: Publisher, unused_tcp_port_factory: Callable[[], int]):
    """A connection that is refused is the documented error."""
    with pytest.raises(KeySetUnavailable, match="could not be fetched"):
        fetch_key_set(f"http://127.0.0.1:{unused_tcp_port_factory()}/jwks.json", timeout=1.0)


@pytest.mark.parametrize(
    "url",
    [
        "https://auth.example/.well-known/jwks.json",
        "https://auth.example:8443/jwks.json",
        "http://127.0.0.1:8000/jwks.json",
        "http://[::1]:8000/jwks.json",
        "http://localhost/jwks.json",
    ],
)
def test_keys_come_over_https_or_from_this_machine(url: str):
    """https from anywhere, and http from loopback only."""
    assert check_key_set_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://auth.example/jwks.json",
        "http://127.0.0.1.evil.example/jwks.json",
        "http://localhost.evil.example/jwks.json",
        "http://localhost@evil.example/jwks.json",
        "https://user:password@auth.example/jwks.json",
        "https://auth.example/jwks.json#fragment",
        "http://10.0.0.1/jwks.json",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "ftp://auth.example/jwks.json",
        "auth.example/jwks.json",
        "https:///jwks.json",
        "",
    ],
)
def test_other_addresses_are_refused(url: str):
    """Keys are fetched neither in clear text nor from what is no web address."""
    with pytest.raises(ValueError, match="key"):
        check_key_set_url(url)
