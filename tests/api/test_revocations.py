"""`GET /revocations`: who may read, what is answered to what is known, and every refusal with its body."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from tests.api.caller import SECURITY_HEADERS, Caller, Login, assert_problem
from tests.api.test_operations import database_of
from tests.settable_clock import SettableClock
from tokenkeep.contract.revocation_feed import FeedDocument, read_feed
from tokenkeep.jose import KeySet
from tokenkeep.observability import set_up_logging
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings

FEED_TOKEN = "a feed token, long enough: 5b8e21d7"
OPS_TOKEN = "an operations token, long enough: 7a3f"
PATIENCE = 10.0


@pytest.fixture
async def call(settings: Settings, clock: SettableClock) -> AsyncIterator[Caller]:
    """A caller of a server with a feed."""
    changed = replace(settings, feed_token=Secret(FEED_TOKEN), ops_token=Secret(OPS_TOKEN))
    async with AuthServer(changed, clock=clock) as server:
        yield Caller(server)


async def ask(call: Caller, *, token: str | None = FEED_TOKEN, **query: object) -> httpx2.Response:
    """Return the answer to a reader with a token."""
    path = "/revocations" + ("?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else "")
    return await asyncio.wait_for(call("GET", path, bearer=token), PATIENCE)


async def read(call: Caller, answer: httpx2.Response) -> FeedDocument:
    """Return what a good answer says, after holding it to its headers and to the published keys."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jwt"
    assert answer.headers["cache-control"] == "no-store"
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value
    keys = KeySet.from_jwks((await call("GET", "/.well-known/jwks.json")).content)
    return read_feed(answer.content, keys, algorithms=["ES256"])


async def revoke(call: Caller) -> Login:
    """Log in and out again; returns what was handed out."""
    session = await call.login()
    assert (await call("POST", "/logout", cookie=session.refresh)).status_code == 200
    return session


async def test_a_newcomer_gets_everything_at_once(call: Caller):
    """Without a position the answer is a snapshot, also for one who would wait."""
    await revoke(call)
    for query in ({}, {"wait": 30}):
        document = await read(call, await ask(call, **query))
        assert (document.after, document.upto, len(document.entries)) == (0, 1, 1)
        assert document.issuer == call.server.settings.issuer


async def test_a_follower_gets_what_is_new(call: Caller):
    """With a position the answer holds what came after it, and nothing if nothing did."""
    await revoke(call)
    first = await read(call, await ask(call))
    await revoke(call)
    second = await read(call, await ask(call, epoch=first.epoch, after=first.upto))
    assert (second.after, second.upto, len(second.entries)) == (1, 2, 1)
    third = await read(call, await ask(call, epoch=first.epoch, after=2, wait=0))
    assert (third.after, third.upto, third.entries) == (2, 2, ())


async def test_a_follower_waits_for_news(call: Caller):
    """With `wait` the answer comes when there is news."""
    first = await read(call, await ask(call))
    waiting = asyncio.create_task(ask(call, epoch=first.epoch, after=first.upto, wait=30))
    while not call.server.graph.publish_revocations.waiting:
        await asyncio.sleep(0)
    await revoke(call)
    document = await read(call, await waiting)
    assert (document.after, document.upto, len(document.entries)) == (0, 1, 1)


async def test_a_wait_has_an_end(call: Caller):
    """When nothing comes the answer says so, a second later."""
    first = await read(call, await ask(call))
    document = await read(call, await ask(call, epoch=first.epoch, after=first.upto, wait=1))
    assert (document.upto, document.entries) == (first.upto, ())


@pytest.mark.parametrize("known", [{"epoch": "another", "after": 1}, {"after": 7}], ids=["epoch", "number"])
async def test_who_is_lost_gets_everything_at_once(call: Caller, known: Mapping[str, Any]):
    """A reader of another history, or one that is ahead of this one, is given a snapshot without waiting."""
    await revoke(call)
    first = await read(call, await ask(call))
    document = await read(call, await ask(call, **{"epoch": first.epoch, **known, "wait": 30}))
    assert (document.after, len(document.entries)) == (0, 1)


@pytest.mark.parametrize(
    "header",
    [
        *("", "Bearer", "Bearer ", "Bearer None", f"Basic {FEED_TOKEN}", FEED_TOKEN, f"bearer  {FEED_TOKEN}"),
        *(f"Bearer {FEED_TOKEN}x", f"Bearer {FEED_TOKEN[:-1]}", f"Bearer {OPS_TOKEN}", "Bearer é"),
    ],
)
async def test_a_wrong_token_reads_nothing(call: Caller, header: str):
    """Only the whole feed token opens the feed; the operations token does not."""
    answer = await call("GET", "/revocations", headers=[(b"Authorization", header.encode("latin-1"))])
    assert_problem(answer, "invalid_feed_token")


async def test_no_token_or_two_read_nothing(call: Caller):
    """Without a token there is nothing to read, nor with the right one beside another."""
    assert_problem(await ask(call, token=None), "invalid_feed_token")
    good = ("Authorization", f"Bearer {FEED_TOKEN}")
    for headers in ([good, good], [good, ("Authorization", "Bearer x")], [("Authorization", "Bearer x"), good]):
        assert_problem(await call("GET", "/revocations", headers=headers), "invalid_feed_token")


async def test_the_token_is_asked_for_first(call: Caller):
    """A stranger learns nothing by what it asks for, and waits for nothing."""
    for query in ({"wait": 30}, {"wait": 31}, {"epoch": "x"}, {"nothing": 1}):
        assert_problem(await ask(call, token="x", **query), "invalid_feed_token")


async def test_the_feed_token_opens_nothing_else(call: Caller):
    """It is no access token, and opens no metrics; an access token opens no feed."""
    assert_problem(await call("GET", "/me", bearer=FEED_TOKEN), "invalid_token", reason="JsonWebTokenError")
    assert_problem(await call("GET", "/metrics", bearer=FEED_TOKEN), "not_found")
    root = await call.login("Root")
    assert_problem(await ask(call, token=root.access), "invalid_feed_token")


@pytest.mark.parametrize("query", ["epoch=x", "after=1", "epoch=x&wait=5", "after=0&wait=5"])
async def test_half_a_position_is_none(call: Caller, query: str):
    """A reader that says only half of what it knows is told so, rather than given everything again and again."""
    answer = await call("GET", f"/revocations?{query}", bearer=FEED_TOKEN)
    assert_problem(answer, "malformed_request", "epoch and after belong together")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("wait=1&wait=1", "A query parameter is there twice"),
        ("epoch=x&epoch=y&after=1", "A query parameter is there twice"),
        ("since=1", "Unknown query parameter"),
        ("epoch", "The query is malformed"),
        ("&", "The query is malformed"),
        ("epoch=%FF&after=1", "The query is malformed"),
        ("epoch=" + "x" * 5_000, "The query is too long"),
    ],
    ids=["twice", "two epochs", "unknown", "no value", "nothing", "no text", "long"],
)
async def test_a_query_that_cannot_be_read_is_refused(call: Caller, query: str, sentence: str):
    """A parameter that is unknown, there twice or malformed is named as the mistake it is."""
    answer = await call("GET", f"/revocations?{query}", bearer=FEED_TOKEN)
    assert_problem(answer, "malformed_request", sentence)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *((f"epoch=x&after=1&wait={value}", "wait") for value in ("31", "-1", "1.5", "x", "", "NaN", "9" * 30)),
        *((f"epoch=x&after={value}", "after") for value in ("-1", "x", "", "1.5", "9" * 30)),
        *((f"epoch={value}&after=1", "epoch") for value in ("", "x" * 65)),
    ],
)
async def test_a_value_that_no_rule_accepts_is_refused(call: Caller, query: str, field: str):
    """Numbers are whole and within their bounds, and an epoch is a short text."""
    answer = await call("GET", f"/revocations?{query}", bearer=FEED_TOKEN)
    assert_problem(answer, "invalid_field", "The field has the wrong type or value", field=field)


async def test_a_feed_that_nobody_set_up_is_not_there(settings: Settings, clock: SettableClock):
    """Without `feed_token` and `feed_public` there is no such path, whoever asks; nor is it described."""
    async with AuthServer(settings, clock=clock) as server:
        call = Caller(server)
        for token in (None, FEED_TOKEN, "", "None"):
            assert_problem(await ask(call, token=token), "not_found")
        assert "/revocations" not in (await call("GET", "/openapi.json")).json()["paths"]


async def test_a_shared_secret_has_no_feed(clock: SettableClock, tmp_path):
    """Where whoever can verify can also sign, nothing is published."""
    changed = Settings(
        data_dir=tmp_path / "shared", signing_algorithm="HS256", feed_token=Secret(FEED_TOKEN), feed_public=True
    )
    async with AuthServer(changed, clock=clock) as server:
        assert_problem(await ask(Caller(server)), "not_found")


async def test_a_public_feed_needs_no_token(settings: Settings, clock: SettableClock):
    """With `feed_public` anyone reads, with a token or without."""
    async with AuthServer(replace(settings, feed_public=True), clock=clock) as server:
        call = Caller(server)
        await revoke(call)
        for token in (None, "x", FEED_TOKEN):
            assert len((await read(call, await ask(call, token=token))).entries) == 1


async def test_no_database_is_told_as_such(call: Caller):
    """While the database does not answer, a reader is to come back, and is not told that it has everything."""
    first = await read(call, await ask(call))
    await database_of(call.server).close()
    for query in ({}, {"epoch": first.epoch, "after": first.upto}, {"epoch": first.epoch, "after": 0, "wait": 30}):
        answer = await ask(call, **query)
        assert_problem(answer, "storage_unavailable")
        assert answer.headers["retry-after"] == "1"
    await database_of(call.server).open()
    assert (await ask(call)).status_code == 200


async def test_a_stale_list_is_not_published(call: Caller, clock: SettableClock, monkeypatch: pytest.MonkeyPatch):
    """A process that has not read the list for too long vouches for nothing."""

    async def look() -> None:
        """See nothing."""

    monkeypatch.setattr(call.server.graph.follow_revocations, "look", look)
    monkeypatch.setattr(call.server.graph.follow_revocations, "_read_on", look)
    assert (await ask(call)).status_code == 200
    clock.elapse(5.0)
    assert_problem(await ask(call), "unavailable")


async def test_who_leaves_frees_its_place(call: Caller):
    """A reader that goes away while it waits is forgotten at once."""
    publish = call.server.graph.publish_revocations
    first = await read(call, await ask(call))
    waiting = asyncio.create_task(ask(call, epoch=first.epoch, after=first.upto, wait=30))
    while not publish.waiting:
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert publish.waiting == 0

    gone = asyncio.Event()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/revocations",
        "raw_path": b"/revocations",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "query_string": f"epoch={first.epoch}&after={first.upto}&wait=30".encode(),
        "headers": [(b"host", b"127.0.0.1:8000"), (b"authorization", f"Bearer {FEED_TOKEN}".encode())],
        "client": ("192.0.2.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    asking = asyncio.create_task(call.server.app(scope, receive, send))
    while not publish.waiting:
        await asyncio.sleep(0)
    gone.set()
    await asyncio.wait_for(asking, PATIENCE)
    assert publish.waiting == 0
    assert publish.signed <= 2


async def test_the_log_tells_the_path_and_no_token(call: Caller):
    """A reader leaves one line without its query and its token; one without the right token leaves why."""
    stream = io.StringIO()
    set_up_logging(level="debug", stream=stream)
    await ask(call, epoch="canary", after=1)
    await ask(call, token="canary-token-of-a-stranger-0123456789")
    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    lines = [line for line in written if line["logger"].startswith("tokenkeep")]
    told = [(line["path"], line["status"], line.get("refused")) for line in lines if line["event"] == "request"]
    assert told == [("/revocations", 200, None), ("/revocations", 401, "invalid_feed_token")]
    assert "canary" not in str(lines)
    assert FEED_TOKEN not in str(lines)


async def test_metrics_count_readers_and_documents(call: Caller):
    """How many readers wait, and how many documents were signed, is told to operators."""
    first = await read(call, await ask(call))
    waiting = asyncio.create_task(ask(call, epoch=first.epoch, after=first.upto, wait=30))
    while not call.server.graph.publish_revocations.waiting:
        await asyncio.sleep(0)
    text = (await call("GET", "/metrics", bearer=OPS_TOKEN)).text
    assert "tokenkeep_feed_waiting 1.0" in text
    assert "tokenkeep_feed_signed 1.0" in text
    call.server.drain()
    await waiting


async def test_draining_ends_waits_and_keeps_the_server_open(call: Caller):
    """A server that is told that it will end answers who waits, and goes on to answer."""
    first = await read(call, await ask(call))
    waiting = asyncio.create_task(ask(call, epoch=first.epoch, after=first.upto, wait=30))
    while not call.server.graph.publish_revocations.waiting:
        await asyncio.sleep(0)
    call.server.drain()
    assert (await read(call, await waiting)).entries == ()
    assert (await ask(call, epoch=first.epoch, after=first.upto, wait=30)).status_code == 200
    await revoke(call)
    assert (await read(call, await ask(call))).upto == 1
