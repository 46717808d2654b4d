"""Redis down, slow, flushed, full, read-only, closed to us: attempts are limited all the same, and it is told once."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.certificate import Certificate
from tests.redis_front import fronted
from tests.redis_server import PROGRAMS, RedisServer
from tests.settable_clock import SettableClock
from tokenkeep.domain.limits import FREE_FAILURES, Quota
from tokenkeep.flows.ports import RateLimiter
from tokenkeep.storage import redis as redis_link
from tokenkeep.storage.fallback_limiter import FallbackLimiter
from tokenkeep.storage.memory import MemoryLimiter
from tokenkeep.storage.redis import ANSWER_TIMEOUT, ASKING_TIMEOUT, RedisLink
from tokenkeep.storage.redis_address import RedisAddress
from tokenkeep.storage.redis_limiter import RedisLimiter
from tokenkeep.storage.redis_outages import RedisAway

QUOTA = Quota("few", 3, 60)
PASSWORD = "canary-of-the-redis-password"
RIGHTS = (
    "resetchannels ~tokenkeep-test:* &tokenkeep-test:* -@all "
    "+eval +evalsha +get +set +del +time +publish +subscribe +ping +info +select"
)
pytestmark = [pytest.mark.xdist_group("redis"), pytest.mark.usefixtures("patient")]

Connect = Callable[..., RedisLink]
"""Makes a link, closed in the end."""


@pytest.fixture(scope="module", params=PROGRAMS)
def own_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis that the tests of this module may do to what they like; each leaves it as it was."""
    with RedisServer.running(program=request.param) as server:
        yield server


@contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    """Let it neither answer nor hang up for a while, in which nobody has much patience."""
    with server.frozen(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_link, "ANSWER_TIMEOUT", ANSWER_TIMEOUT)
        patch.setattr(redis_link, "ASKING_TIMEOUT", ANSWER_TIMEOUT)
        yield


def test_a_silent_redis_has_a_moment():
    """An attempt waits a quarter of a second for an answer, and whoever asks whether it is there two seconds."""
    assert (ANSWER_TIMEOUT, ASKING_TIMEOUT) == (0.25, 2.0)


@pytest.fixture
async def connect(own_server: RedisServer) -> AsyncIterator[Connect]:
    """Makes links to it, or to another address."""
    links: list[RedisLink] = []

    def make(address: RedisAddress | None = None) -> RedisLink:
        links.append(RedisLink(address or own_server.address, prefix=own_server.new_prefix(), consequence="so be it"))
        return links[-1]

    yield make
    for link in links:
        await link.close()


def limiter_over(link: RedisLink, clock: SettableClock) -> RateLimiter:
    """Return the limiter of a process."""
    return FallbackLimiter(RedisLimiter(link, key=b"key"), MemoryLimiter(clock))


async def let_in(limiter: RateLimiter, key: str = "key") -> int:
    """Return how many of ten attempts at once are let in."""
    return [await limiter.spend(QUOTA, key) for _ in range(10)].count(0)


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    """Let nothing listen for a while; what it kept is lost."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def full(server: RedisServer) -> Iterator[None]:
    """Let it have no memory left for a while."""
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")


@contextmanager
def replica(server: RedisServer) -> Iterator[None]:
    """Let it be a replica for a while: of nobody that is there, and so it can only be read."""
    server.ask("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        server.ask("REPLICAOF", "NO", "ONE")


@contextmanager
def without_rights(server: RedisServer) -> Iterator[None]:
    """Let users run no script for a while."""
    server.ask("ACL", "SETUSER", "default", "-@scripting")
    try:
        yield
    finally:
        server.ask("ACL", "SETUSER", "default", "+@all")


@contextmanager
def with_a_password(server: RedisServer) -> Iterator[None]:
    """Let new connections give a password, and end the others, for a while."""
    with server.client() as client:
        client.execute_command("CONFIG", "SET", "requirepass", PASSWORD)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        try:
            yield
        finally:
            client.execute_command("CONFIG", "SET", "requirepass", "")


OUTAGES = [
    (stopped, "nothing answers"),
    (frozen, "does not answer in time"),
    (full, "memory is full"),
    (replica, "name the primary"),
    (without_rights, "rights"),
    (with_a_password, "password"),
]


@pytest.mark.parametrize("trouble", OUTAGES, ids=[outage.__name__ for outage, _ in OUTAGES])
async def test_an_outage_is_bridged_and_told_once(
    trouble: tuple[Callable[[RedisServer], contextmanager], str],
    own_server: RedisServer,
    connect: Connect,
    clock: SettableClock,
    caplog: pytest.LogCaptureFixture,
):
    """Within it the process limits by itself, at once; after it counts are shared again. Each change is one line."""
    caplog.set_level(logging.INFO)
    outage, said = trouble
    link = connect()
    limiter = limiter_over(link, clock)
    assert await let_in(limiter, "before") == QUOTA.count
    with outage(own_server):
        began = time.monotonic()
        assert await let_in(limiter) == QUOTA.count
        assert time.monotonic() - began < 9 * ANSWER_TIMEOUT, "ten attempts wait once"
        assert [await limiter.begin("Ada") for _ in range(FREE_FAILURES + 2)] == [0] * (FREE_FAILURES + 1) + [1]
        await limiter.forgive("Ada")
        assert await limiter.begin("Ada") == 0
        await limiter.take_back("Ada")
        await limiter.refund(QUOTA, "key")
        assert await let_in(limiter) == 1
        assert said in str(await link.ask())
        for _ in range(3):
            assert await link.ask() == link.away
        # The end of a connection is told at first, where that is how it begins.
        told = [record.getMessage() for record in caplog.records if "connection was lost" not in record.getMessage()]
        assert len(told) == 1
        assert said in told[0]
        assert "so be it" in told[0]
    assert await link.ask() is None
    assert [record.levelname for record in caplog.records if record.levelname != "ERROR"] == ["INFO"]
    assert await let_in(limiter, "after") == QUOTA.count
    assert "Traceback" not in caplog.text


async def test_a_flush_forgets_counts_and_nothing_else(
    own_server: RedisServer, connect: Connect, clock: SettableClock, caplog: pytest.LogCaptureFixture
):
    """After it everybody begins anew, as after a restart of a process; it is no outage."""
    limiter = limiter_over(connect(), clock)
    assert await let_in(limiter) == QUOTA.count
    own_server.ask("FLUSHALL")
    assert await let_in(limiter) == QUOTA.count
    assert caplog.records == []


async def never_asked(*_command: object) -> None:
    """Stand for a command that nobody may give."""
    raise AssertionError("Redis was asked")


async def test_a_crowd_waits_for_a_silent_redis_once(own_server: RedisServer, connect: Connect, clock: SettableClock):
    """Many attempts at once, more than there are connections, are all answered after one wait, and none after it."""
    link = connect()
    limiter = limiter_over(link, clock)
    await let_in(limiter)
    with frozen(own_server):
        began = time.monotonic()
        waits = await asyncio.gather(*(limiter.spend(QUOTA, "crowd") for _ in range(100)))
        assert waits.count(0) == QUOTA.count
        assert time.monotonic() - began < 40 * ANSWER_TIMEOUT, "a hundred attempts wait once"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RedisLink, "_run", never_asked)
            await asyncio.gather(*(limiter.begin(f"{number}") for number in range(100)))
    assert await link.ask() is None
    waits = await asyncio.gather(*(limiter.spend(QUOTA, "after") for _ in range(100)))
    assert waits.count(0) == QUOTA.count


async def test_a_redis_that_is_not_there_at_first_is_found_later(
    own_server: RedisServer, connect: Connect, clock: SettableClock
):
    """A process that starts without it limits by itself, and shares its counts as soon as it is there."""
    own_server.stop()
    try:
        link = connect()
        assert "nothing answers" in str(await link.ask())
        assert await let_in(limiter_over(link, clock)) == QUOTA.count
    finally:
        own_server.start()
    assert await link.ask() is None


async def test_connections_that_redis_has_closed_are_replaced(
    own_server: RedisServer, connect: Connect, clock: SettableClock, caplog: pytest.LogCaptureFixture
):
    """An idle connection that was closed on the other side is no outage."""
    limiter = limiter_over(connect(), clock)
    assert await let_in(limiter, "one") == QUOTA.count
    own_server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.05)  # the end of the connection is on its way
    assert await let_in(limiter, "other") == QUOTA.count
    assert caplog.records == []


@pytest.fixture
def named_user(own_server: RedisServer) -> Iterator[RedisAddress]:
    """The address of a user with the rights of the documentation, and no other."""
    own_server.ask("ACL", "SETUSER", "tokenkeep", "on", f">{PASSWORD}", *RIGHTS.split())
    yield RedisAddress.parse(own_server.url.replace("redis://", f"redis://tokenkeep:{PASSWORD}@"))
    own_server.ask("ACL", "DELUSER", "tokenkeep")


async def test_the_rights_of_the_documentation_are_enough(
    named_user: RedisAddress, connect: Connect, clock: SettableClock, caplog: pytest.LogCaptureFixture
):
    """With them everything is done that Tokenkeep does, under its prefix only."""
    link = connect(named_user)
    limiter = limiter_over(link, clock)
    assert await link.ask() is None
    assert await let_in(limiter) == QUOTA.count
    await limiter.refund(QUOTA, "key")
    await limiter.begin("Ada")
    await limiter.take_back("Ada")
    await limiter.forgive("Ada")
    await link.publish(link.name("read-now"), "")
    assert "redis_version" in await link.describe()
    async for _ in link.listen(link.name("read-now")):
        break
    assert caplog.records == []


@pytest.mark.parametrize("wrong", [{"password": "wrong-" + PASSWORD}, {"user": "nobody"}, {"password": None}])
async def test_a_wrong_password_is_told_without_it(
    named_user: RedisAddress, connect: Connect, wrong: dict[str, str | None], caplog: pytest.LogCaptureFixture
):
    """The line says which setting to correct; neither user nor password are in it, nor in any repr."""
    address = replace(named_user, **wrong)
    link = connect(address)
    assert await link.ask() is not None
    assert "redis_url" in caplog.text or "rights" in caplog.text
    for text in (caplog.text, repr(link), repr(address), str(link.away)):
        assert PASSWORD not in text


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A certificate for the address of this machine."""
    return Certificate(tmp_path)


@pytest.fixture
def tls_port(own_server: RedisServer, certificate: Certificate) -> Iterator[int]:
    """Where the Redis is reached over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    with fronted(own_server.port, context) as front:
        yield front.port


async def test_tls_is_verified(tls_port: int, certificate: Certificate, connect: Connect, clock: SettableClock):
    """An authority that is named is trusted, for the name of its certificate only; nobody else is."""
    trusted = f"?ssl_ca_certs={certificate.cert}"
    link = connect(RedisAddress.parse(f"rediss://127.0.0.1:{tls_port}/0{trusted}"))
    assert await link.ask() is None
    assert await let_in(limiter_over(link, clock)) == QUOTA.count
    for url in (f"rediss://localhost:{tls_port}{trusted}", f"rediss://127.0.0.1:{tls_port}"):
        assert "certificate is not accepted" in str(await connect(RedisAddress.parse(url)).ask())


async def test_tls_with_a_redis_that_speaks_none_is_an_outage(
    own_server: RedisServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
):
    """It is told as one, and nothing is sent in clear text."""
    monkeypatch.setattr(redis_link, "ASKING_TIMEOUT", ANSWER_TIMEOUT)
    assert "does not answer" in str(await connect(RedisAddress.parse(f"rediss://127.0.0.1:{own_server.port}")).ask())


async def test_protected_mode_is_told_as_such(own_server: RedisServer, connect: Connect):
    """A Redis as it comes, which refuses other machines, is named with what its operator has to do."""

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What it says before it hangs up. The one of the tests knows only this machine, which it lets in.
        writer.write(b"-DENIED Redis is running in protected mode because protected mode is enabled and no password")
        writer.write(b" is set for the default user. In this mode connections are only accepted from loopback.\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1")
    async with server:
        link = connect(replace(own_server.address, port=server.sockets[0].getsockname()[1]))
        assert "user default off resetpass" in str(await link.ask())


async def test_a_listener_notices_a_silent_redis(
    own_server: RedisServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
):
    """A connection on which nothing comes any more is tried, and given up when there is no answer."""
    monkeypatch.setattr("tokenkeep.storage.redis.LISTENING_PAUSE", 0.05)
    with fronted(own_server.port) as front:
        link = connect(replace(own_server.address, port=front.port))
        calls = link.listen("channel")
        assert await anext(calls) is None
        waiting = asyncio.ensure_future(anext(calls))
        await asyncio.sleep(0.3)
        assert not waiting.done(), "pings are answered"
        front.silent = True
        async with asyncio.timeout(10):
            with pytest.raises(RedisAway):
                await waiting
