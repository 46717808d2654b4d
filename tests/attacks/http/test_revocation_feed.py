"""Readers of the revocation feed that leave, do not read, send what nobody asked for, or are no readers at all."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from tests.attacks.http.attacker import JSON, NAME, PASSWORD
from tests.attacks.http.conftest import Log, OpenServer
from tests.attacks.http.wire import Target
from tests.system.server_process import ServerProcess, wait_until
from tests.system.workers import workers_of
from tokenkeep.jose.encoding import decode_base64url
from tokenkeep.settings import Secret

TOKEN: Final = "canary-of-the-feed-token-9d0c1b2a3f4e5d6c7b8a"
AUTHORIZED: Final = f"Authorization: Bearer {TOKEN}\r\n".encode()
MEBIBYTE: Final = 1024 * 1024
LONGEST_READING: Final = 30
"""Seconds that a reader waits for news."""
ENTRIES: Final = 40_000
"""Entries of the list: two megabytes of a document."""


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A real server with a feed that is long, and one account."""
    environ = {"TOKENKEEP_FEED_TOKEN": TOKEN}
    with ServerProcess(tmp_path_factory.mktemp("followed"), environ=environ, log_level="debug") as process:
        process.start()
        process.add_user(NAME, PASSWORD)
        process.stop()
        _revoke(process, ENTRIES)
        process.start()
        yield Target(process)


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_readers_that_leave_take_no_place(followed: Target) -> None:
    """Of 200 readers that hang up while they wait, in good order or not, none is waited for any more."""
    dice = random.Random(4)
    seen, ask = len(followed.process.log), _ask(followed)
    for _ in range(200):
        with followed.connect() as connection:
            connection.send(ask)
            if dice.random() < 0.5:
                time.sleep(dice.random() * 0.01)
            connection.hang_up(reset=dice.random() < 0.5)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(followed.connect()).send(ask)
        wait_until(lambda: _waiting(followed) >= 20, "the last twenty wait")
    wait_until(lambda: _waiting(followed) == 0, "nobody waits any more", within=0.8 * LONGEST_READING)
    assert followed.healthy()
    lines = followed.lines(seen)
    assert not [line for line in lines if line["level"] in {"error", "critical"}]
    assert TOKEN[:16] not in json.dumps(lines)


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_readers_that_do_not_read_add_up_to_little(followed: Target) -> None:
    """Fifty readers that ask for two megabytes and take nothing cost neither fifty times that, nor anybody's time."""
    whole = followed.exchange(followed.get("/revocations", fields=AUTHORIZED))
    assert whole is not None
    assert whole.status == 200
    assert len(whole.body) > 2_000_000
    memory = followed.memory()
    with ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(followed.connect(read_buffer=1))
            connection.send(followed.get("/revocations", fields=AUTHORIZED))
        for _ in range(20):
            assert followed.healthy()
            assert followed.memory() - memory < 64 * MEBIBYTE
            time.sleep(0.02)
        again = followed.exchange(followed.get("/revocations", fields=AUTHORIZED))
        assert again is not None
        assert (again.status, len(again.body)) == (200, len(whole.body))
    assert followed.healthy()


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_a_reader_that_sends_a_body_is_answered_all_the_same(followed: Target) -> None:
    """A body that drips in while a reader waits is dropped, and neither kept nor taken for a request."""
    ask = _ask(followed, wait=1)
    for framing, piece in (
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n"),
        (b"Content-Length: 50\r\n", b"hello"),
    ):
        with followed.connect() as connection:
            connection.send(ask[:-2] + framing + b"\r\n")
            for _ in range(5):
                connection.send(piece)
                time.sleep(0.02)
            answer = connection.read_answer()
        assert answer is not None
        assert answer.status == 200
    wait_until(lambda: _waiting(followed) == 0, "nobody waits any more")


async def test_the_token_counts_in_its_header_only(attack: OpenServer, log: Log) -> None:
    """In the query, a cookie, a body or another header it opens nothing, and the log shows nothing of it."""
    attacker = await attack(feed_token=Secret(TOKEN), log_level="debug")
    for headers in (
        [("Cookie", f"Authorization=Bearer {TOKEN}")],
        [("X-Feed-Token", TOKEN)],
        [("Proxy-Authorization", f"Bearer {TOKEN}")],
        [("Authorization", f"Token {TOKEN}")],
        [("Authorization", f"Bearer {TOKEN}, Bearer {TOKEN}")],
        [("Authorization", "Bearer x"), ("Authorization", f"Bearer {TOKEN}")],
    ):
        (await attacker.ask("GET", "/revocations", headers=headers)).refused(401, "invalid_feed_token")
    for query in (f"access_token={TOKEN}", f"token={TOKEN}", f"epoch={TOKEN}&after=0"):
        (await attacker.ask("GET", f"/revocations?{query}")).refused(401, "invalid_feed_token")
    good = ("Authorization", f"Bearer {TOKEN}")
    (await attacker.ask("GET", f"/revocations?access_token={TOKEN}", headers=[good])).refused(400, "malformed_request")
    assert (await attacker.ask("GET", f"/revocations?epoch={TOKEN}&after=0", headers=[good])).status == 200
    assert TOKEN[:16] not in json.dumps(log())


async def test_the_feed_is_only_read(attack: OpenServer) -> None:
    """No other method is known, and what is below the path or looks like it is not found."""
    attacker = await attack(feed_public=True)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        (await attacker.ask(method, "/revocations", headers=[JSON], body=b"{}", declared=False)).refused(
            405, "method_not_allowed"
        )
    for path in ("/revocations/", "/revocations/1", "/Revocations", "/revocations%0a", "//revocations"):
        (await attacker.ask("GET", path, declared=False)).refused(404, "not_found")


@pytest.mark.parametrize(
    "query",
    [
        "epoch='%20OR%201=1--&after=0",
        "epoch=%00&after=0",
        "epoch=%0d%0aSet-Cookie:x&after=0",
        "epoch=..%2f..%2fetc%2fpasswd&after=9007199254740992",
        "epoch=%E2%80%AE&after=0",
    ],
)
async def test_an_epoch_is_compared_and_nothing_else(attack: OpenServer, query: str) -> None:
    """Whatever is sent as an epoch is another one: a snapshot comes, in which nothing of it is repeated."""
    attacker = await attack(feed_public=True)
    plain = await attacker.ask("GET", "/revocations")
    reply = await attacker.ask("GET", f"/revocations?{query}&wait=30")
    assert reply.status == 200
    assert reply.body == plain.body
    assert reply.all("set-cookie") == []


async def test_strangers_cost_no_signature_each(attack: OpenServer) -> None:
    """A thousand requests to a public feed within a second, from everywhere and nowhere, cost one signature a start."""
    attacker = await attack(feed_public=True)
    publish = attacker.server.graph.publish_revocations
    for number in range(1_000):
        known = f"?epoch=made-up-{number}&after={number}" if number % 2 else ""
        assert (await attacker.ask("GET", f"/revocations{known}", client=f"203.0.113.{number % 250}")).status == 200
    assert publish.signed == 1


def _ask(target: Target, *, wait: int = LONGEST_READING) -> bytes:
    """Return the request of a reader that knows all there is, and waits."""
    answer = target.exchange(target.get("/revocations", fields=AUTHORIZED))
    assert answer is not None
    payload = answer.body.split(b".")[1]
    document: dict[str, Any] = json.loads(decode_base64url(payload))
    query = f"epoch={document['epoch']}&after={document['to']}&wait={wait}"
    return target.get(f"/revocations?{query}", fields=AUTHORIZED)


def _waiting(target: Target) -> int:
    with workers_of(target.process) as workers:
        return int(sum(worker.metric("tokenkeep_feed_waiting") for worker in workers))


def _revoke(process: ServerProcess, count: int) -> None:
    """Fill the list of a server that is stopped."""
    connection = sqlite3.connect(process.data / "tokenkeep.db")
    now = int(time.time() * 1000)
    with connection:
        connection.executemany(
            "INSERT INTO revocations (number, kind, value, version, revoked_at, expires_at, reason, actor) "
            "VALUES (?, 'jti', ?, NULL, ?, ?, 'operator', 'operator')",
            ((number, f"token-{number}", now, now + 3_600_000) for number in range(1, count + 1)),
        )
        connection.execute("UPDATE revocation_head SET number = ?", (count,))
    connection.close()
