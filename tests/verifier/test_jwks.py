"""Fetching a key set over a network that may be hostile: what is fetched, and what is not believed."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.certificate import Certificate
from tests.verifier.publisher import HUNDRED_MEGABYTES, Publisher, document, publishing
from tests.verifier.requests_to_judge import KEY
from tokenkeep.jose import Key
from tokenkeep.verifier.jwks import (
    LARGEST_KEY_SET,
    KeyFetching,
    KeySetClient,
    KeySetUnavailable,
    Publication,
    fetch_key_set,
)
from tokenkeep.verifier.remote import Target

SOON = timedelta(seconds=0.4)
"""How long answers that never come are waited for."""
LONGEST_TEST = 20.0
"""Seconds after which a test has failed."""
RSA = Key.generate("RS256")
MUCH_LATER = 5.0
"""Seconds after which waiting was not bounded."""

Fetch = Callable[..., Publication]


@pytest.fixture
def fetch(kind: str, publisher: Publisher) -> Fetch:
    """Fetches from the publisher, or from another address: in a thread, or in an event loop."""

    def fetch(
        url: str = publisher.url, etag: str | None = None, *, algorithms: tuple[str, ...] = ("ES256",), **fetching: Any
    ) -> Publication:
        private_network = bool(fetching.get("private_network"))
        target = Target.parse(url, private_network=private_network)
        client = KeySetClient(target, KeyFetching(**fetching), algorithms=frozenset(algorithms))
        return client.fetch(etag) if kind == "threads" else asyncio.run(client.fetch_async(etag))

    return fetch


def refusal(fetch: Fetch, *words: str, **fetching: Any) -> str:
    """Return why a fetch brings nothing."""
    with pytest.raises(KeySetUnavailable) as refused:
        fetch(*words, **fetching)
    return str(refused.value)


def test_key_set_is_fetched(fetch: Fetch):
    """A published set arrives as keys."""
    published = fetch()
    assert published.keys is not None
    assert [key.kid for key in published.keys] == [KEY.kid]
    assert (published.etag, published.age) == (None, None)


def test_people_fetch_a_set_for_themselves(publisher: Publisher):
    """What the command line calls returns whatever set is published, an empty one too."""
    assert [key.kid for key in fetch_key_set(publisher.url)] == [KEY.kid]
    publisher.publish()
    assert list(fetch_key_set(publisher.url)) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(fetch: Fetch, publisher: Publisher, status: int):
    """Whoever controls a redirect does not choose the keys."""
    publisher.status = status
    publisher.headers = {"Location": publisher.url.replace("jwks.json", "elsewhere")}
    assert f"status {status}, and redirects are not followed" in refusal(fetch)
    assert publisher.asked == ["/jwks.json"]


@pytest.mark.parametrize("status", [201, 203, 204, 206, 304, 400, 404, 500, 503])
def test_other_answers_are_no_key_set(fetch: Fetch, publisher: Publisher, status: int):
    """An error page is not read as keys, even if its body is a key set; nor is a part of one, nor "not modified"."""
    publisher.status = status
    if status in {204, 304}:
        publisher.body = b""
    assert f"status {status}" in refusal(fetch)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"not json",
        b'{"keys":{}}',
        b'{"keys":[],"keys":[]}',
        b"<html><body>Sign in to the hotel's network</body></html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"keys":[' + b"{}," * 100 + b"{}]}",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_document_that_is_no_key_set_is_refused(fetch: Fetch, publisher: Publisher, body: bytes):
    """What does not read as a key set, or has more than 100 entries, is one documented error."""
    publisher.body = body
    assert "invalid key set" in refusal(fetch)


def test_large_document_is_not_read_to_its_end(fetch: Fetch, publisher: Publisher):
    """Reading stops at the bound, declared or not; what has just that size is read."""
    good = document(KEY)
    publisher.body = good + b" " * (LARGEST_KEY_SET - len(good))
    assert fetch().keys
    publisher.body += b" "
    assert "larger than 262144 bytes" in refusal(fetch)
    publisher.behaviour = publisher.promise_too_much
    assert "larger than 262144 bytes" in refusal(fetch)


def test_endless_document_costs_little(fetch: Fetch, publisher: Publisher):
    """A hundred megabytes are cut after the bound: neither are they taken from the network, nor kept."""
    assert fetch().keys
    publisher.behaviour = publisher.never_end
    tracemalloc.start()
    try:
        assert "larger than 262144 bytes" in refusal(fetch)
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert publisher.sent < HUNDRED_MEGABYTES / 4  # what the buffers of both ends hold


def test_compressed_document_is_refused(fetch: Fetch, publisher: Publisher):
    """What is compressed has no bound: it is neither asked for nor unpacked."""
    publisher.headers = {"Content-Encoding": "gzip"}
    assert "compressed" in refusal(fetch)
    assert publisher.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("slowness", ["trickle_the_body", "trickle_the_head", "stay_silent"])
def test_whole_answer_must_come_in_time(fetch: Fetch, publisher: Publisher, slowness: str):
    """The limit is for the whole answer: neither a byte now and then, nor none, holds anybody up for longer."""
    assert fetch().keys
    publisher.behaviour = getattr(publisher, slowness)
    began = time.monotonic()
    assert "no whole answer came within 0.4 seconds" in refusal(fetch, timeout=SOON)
    assert time.monotonic() - began < MUCH_LATER
    wait_for_threads("tokenkeep download")


def test_name_that_does_not_resolve_in_time_is_given_up(
    fetch: Fetch, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
):
    """Looking up a name counts too, and what is found out later is not used any more."""
    answered = threading.Event()

    def resolve(_: str, port: int, *__: Any, **___: Any) -> list[Any]:
        answered.wait(LONGEST_TEST)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    timer = threading.Timer(2 * SOON.total_seconds(), answered.set)
    timer.start()
    began = time.monotonic()
    url = publisher.url.replace("127.0.0.1", "localhost")
    assert "no whole answer came within 0.4 seconds" in refusal(fetch, url, timeout=SOON)
    assert time.monotonic() - began < MUCH_LATER
    timer.join()
    wait_for_threads("tokenkeep download")
    assert publisher.asked == []


@pytest.mark.parametrize("rudeness", ["hang_up", "speak_nonsense"])
def test_connection_that_ends_badly_is_unavailable(fetch: Fetch, publisher: Publisher, rudeness: str):
    """A server that hangs up, or speaks something else, is the documented error."""
    publisher.behaviour = getattr(publisher, rudeness)
    assert "RemoteProtocolError" in refusal(fetch)


def test_reason_is_one_short_line(fetch: Fetch, monkeypatch: pytest.MonkeyPatch):
    """Whatever words an error brings along, they neither flood a log nor forge a line of it."""

    def resolve(*_: Any, **__: Any) -> Any:
        raise OSError("no route\n\x1b[31m" + "x" * 5_000)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    told = refusal(fetch, "https://auth.example/jwks.json")
    assert "OSError: no route" in told
    assert told.isprintable()
    assert len(told) < 300


def test_host_that_cannot_be_looked_up_is_unavailable(fetch: Fetch):
    """A name that no resolver takes is the documented error."""
    assert "could not be fetched: UnicodeE" in refusal(fetch, f"https://{'a' * 64}.example/jwks.json")


def test_publisher_that_is_gone_is_unavailable(fetch: Fetch, unused_tcp_port_factory: Callable[[], int]):
    """A connection that is refused is the documented error."""
    url = f"http://127.0.0.1:{unused_tcp_port_factory()}/jwks.json"
    assert "could not be fetched: ConnectError" in refusal(fetch, url)
    with pytest.raises(KeySetUnavailable, match="could not be fetched"):
        fetch_key_set(url, timeout=1.0)


def test_second_address_is_asked_when_the_first_is_silent(
    fetch: Fetch, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
):
    """A host that is also at an address where nobody listens is still reached."""
    port = int(publisher.url.split(":")[2].partition("/")[0])
    resolving(monkeypatch, "127.0.0.2", "127.0.0.1")
    assert fetch(f"http://localhost:{port}/jwks.json").keys
    assert publisher.requests[0].headers["host"] == f"localhost:{port}"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::ffff:10.1.2.3"])
def test_public_name_does_not_lead_into_the_private_network(
    fetch: Fetch, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, address: str
):
    """A name that resolves to this machine or its network is not connected to, whoever changed the name."""
    port = int(publisher.url.split(":")[2].partition("/")[0])
    resolving(monkeypatch, address)
    assert f"auth.example leads to addresses that may not answer: {address}" in refusal(
        fetch, f"https://auth.example:{port}/jwks.json", timeout=SOON
    )
    assert publisher.asked == []


def test_private_network_is_allowed_on_purpose(fetch: Fetch, monkeypatch: pytest.MonkeyPatch):
    """An issuer in a private network is asked if the caller says so, and for people who name it themselves."""
    asked: list[str] = []

    def refuse(address: tuple[str, int], *_: Any, **__: Any) -> Any:
        asked.append(address[0])
        raise ConnectionRefusedError

    async def refuse_async(*, remote_host: str, **_: Any) -> Any:
        asked.append(remote_host)
        raise ConnectionRefusedError

    resolving(monkeypatch, "10.1.2.3", "169.254.169.254")
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("anyio.connect_tcp", refuse_async)
    assert "ConnectError" in refusal(fetch, "https://auth.internal/jwks.json", private_network=True)
    with pytest.raises(KeySetUnavailable, match="ConnectError"):
        fetch_key_set("https://auth.internal/jwks.json")
    assert asked == ["10.1.2.3", "10.1.2.3"]


def test_loopback_name_does_not_lead_elsewhere(fetch: Fetch, monkeypatch: pytest.MonkeyPatch):
    """Clear text is for this machine only, whatever the name of the loopback resolves to."""
    resolving(monkeypatch, "192.0.2.1", "8.8.8.8")
    assert "may not answer" in refusal(fetch, "http://localhost/jwks.json", timeout=SOON)


def test_certificate_must_be_trusted(fetch: Fetch, tmp_path: Path):
    """Over https the publisher is who its certificate says, by whom this machine trusts, or who the caller names."""
    certificate = Certificate(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate.cert, certificate.key)
    with publishing(KEY, tls=serving) as publisher:
        assert "CERTIFICATE_VERIFY_FAILED" in refusal(fetch, publisher.url)
        assert publisher.asked == []
        assert fetch(publisher.url, tls=certificate.context()).keys
        elsewhere = publisher.url.replace("127.0.0.1", "localhost")
        assert "CERTIFICATE_VERIFY_FAILED" in refusal(fetch, elsewhere, tls=certificate.context())
        assert publisher.asked == ["/jwks.json"]


def test_proxies_of_the_environment_are_not_used(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch, unused_tcp_port_factory: Callable[[], int]
):
    """Who may set variables does not choose where keys come from."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_tcp_port_factory()}")
    assert fetch().keys


def test_tag_is_asked_with_and_spares_the_document(fetch: Fetch, publisher: Publisher):
    """What the asker has is named, and "not modified" says for how long it is good from now."""
    publisher.headers = {"ETag": '"one"', "Cache-Control": "max-age=60"}
    first = fetch()
    assert (first.etag, first.age) == ('"one"', 60.0)
    again = fetch(etag=first.etag)
    assert again == Publication(None, '"one"', 60.0)
    assert [request.headers.get("if-none-match") for request in publisher.requests] == [None, '"one"']
    assert fetch(etag='"other"').keys


@pytest.mark.parametrize("tag", ['"' + "x" * 300 + '"', "unquoted", '"a", "b"', '"a\x01"', "*", ""])
def test_tag_that_is_none_is_not_sent_back(fetch: Fetch, publisher: Publisher, tag: str):
    """A publisher cannot make the asker send what it likes."""
    publisher.headers = {"ETag": tag}
    assert fetch().etag is None


@pytest.mark.parametrize(
    ("headers", "age"),
    [
        ({}, None),
        ({"Cache-Control": "public, max-age=300"}, 300.0),
        ({"Cache-Control": "PUBLIC,MAX-AGE=300"}, 300.0),
        ({"Cache-Control": 'max-age="300"'}, 300.0),
        ({"Cache-Control": "max-age=300, max-age=60"}, 60.0),
        ({"Cache-Control": "max-age=0"}, 0.0),
        ({"Cache-Control": "max-age=300, no-cache"}, 0.0),
        ({"Cache-Control": "no-store"}, 0.0),
        ({"Cache-Control": "s-maxage=300"}, None),
        ({"Cache-Control": "max-age=-5"}, None),
        ({"Cache-Control": "max-age=soon"}, None),
        ({"Cache-Control": "max-age"}, None),
        ({"Cache-Control": "max-age=300", "Age": "120"}, 180.0),
        ({"Cache-Control": "max-age=300", "Age": "500"}, 0.0),
        ({"Cache-Control": "max-age=300", "Age": "old"}, 300.0),
        ({"Age": "120"}, None),
        ({"Cache-Control": "max-age=" + "9" * 500}, 9_999_999_999.0),
        ({"Cache-Control": "max-age=300", "Age": "9" * 500}, 0.0),
    ],
    ids=str,
)
def test_age_is_what_is_left_of_it(fetch: Fetch, publisher: Publisher, headers: dict[str, str], age: float | None):
    """How long a set may be kept is read as RFC 9111 says, and what a cache on the way took of it is gone."""
    publisher.headers = headers
    assert fetch().age == age


def test_private_and_symmetric_keys_are_left_out(fetch: Fetch, publisher: Publisher):
    """A set that publishes what must not be published verifies nothing with it, and says so."""
    secret = Key.generate("HS256").to_jwk(private=True)
    publisher.publish(KEY.to_jwk(private=True), secret, KEY)
    keys = fetch().keys
    assert keys is not None
    assert [(key.kid, key.is_private) for key in keys] == [(KEY.kid, False)]
    assert [sentence.partition(": invalid key: ")[2] for sentence in keys.skipped] == [
        "private keys are not taken from a published set",
        "symmetric keys are not taken from a published set",
    ]


USELESS = {
    "nothing": [],
    "a symmetric key": [Key.generate("HS256").to_jwk(private=True)],
    "a private key": [KEY.to_jwk(private=True)],
    "a weak key": [{"kty": "RSA", "alg": "RS256", "kid": "weak", "n": "w" * 171, "e": "AQAB"}],
    "a key for encryption": [{**KEY.public().to_jwk(), "use": "enc"}],
    "a key of another algorithm": [Key.generate("ES384")],
    "a key of an unknown kind": [{"kty": "PQ", "kid": "new"}],
    "no objects": [7, None, "key", []],
}


@pytest.mark.parametrize("keys", USELESS.values(), ids=USELESS.keys())
def test_set_without_a_usable_key_is_an_error(fetch: Fetch, publisher: Publisher, keys: list[Any]):
    """A set with no key for the accepted algorithms is no set: it says what was found instead."""
    publisher.body = json.dumps({"keys": [key.to_jwk() if isinstance(key, Key) else key for key in keys]}).encode()
    told = refusal(fetch)
    assert told.startswith("the key set has no key for ES256, but ")
    assert told.endswith("no key at all") is (keys == [])


def test_two_keys_with_one_kid_are_an_error(fetch: Fetch, publisher: Publisher):
    """Nobody knows which one is meant."""
    publisher.publish(KEY, Key.generate("ES256", kid=KEY.kid))
    assert "two keys have the same kid" in refusal(fetch)


@pytest.mark.parametrize(
    ("algorithms", "alg"),
    [
        (("RS256",), "RS256"),
        (("PS256",), "PS256"),
        (("PS256", "RS256", "ES256"), "RS256"),
        (("ES256", "RS512"), "RS512"),
    ],
)
def test_key_of_rsa_need_not_say_its_algorithm(
    fetch: Fetch, publisher: Publisher, algorithms: tuple[str, ...], alg: str
):
    """Keys of issuers that leave `alg` out are for the accepted algorithm of RSA, and for RS256 among several."""
    jwk = RSA.public().to_jwk()
    del jwk["alg"]
    publisher.publish(jwk)
    keys = fetch(algorithms=algorithms).keys
    assert keys is not None
    assert [key.alg for key in keys] == [alg]


def test_importing_loads_no_http_library():
    """Services that are given their keys do not pay for what fetches them."""
    program = """
import sys
from tokenkeep.verifier import AsyncTokenVerifier
AsyncTokenVerifier(issuer="https://auth.example", audience="https://api.example", algorithms=["ES256"])
print("httpx2" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize(
    "fetching",
    [
        {"timeout": timedelta(0)},
        {"timeout": timedelta(seconds=61)},
        {"cooldown": timedelta(seconds=0.9)},
        {"cooldown": timedelta(seconds=21)},
        {"stale_limit": timedelta(seconds=-1)},
        {"stale_limit": timedelta(days=2)},
    ],
    ids=repr,
)
def test_policy_without_bounds_cannot_be_made(fetching: dict[str, timedelta]):
    """Nobody waits for ever, asks without a pause, or relies on old keys for long."""
    with pytest.raises(ValueError, match="is "):
        KeyFetching(**fetching)


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have every name resolve to these addresses."""

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port))
            for family, address in zip(families, addresses, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def wait_for_threads(name: str) -> None:
    """Wait until no thread of that name is left."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(LONGEST_TEST)
            assert not thread.is_alive()


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
    assert Target.parse(url).url == url


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
        Target.parse(url)
