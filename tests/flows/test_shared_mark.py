"""The high-water mark in Redis: it speaks for nodes that have none, and is lost and made anew without harm."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.stage import Stage
from tests.flows.test_keep_history import back_up, put_back
from tests.redis_server import RedisServer
from tests.settable_clock import SettableClock
from tokenkeep.backends import choose_shared
from tokenkeep.domain.history import MarkUnavailable, Position, RolledBack
from tokenkeep.domain.secrets import SecretRing
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.redis_shared import RedisShared

pytestmark = [pytest.mark.xdist_group("redis"), pytest.mark.usefixtures("patient")]


@pytest.fixture
def node(settings: Settings, redis: RedisServer) -> Settings:
    """Settings of a node that uses it."""
    return replace(settings, redis_url=Secret(redis.url), redis_prefix=redis.new_prefix())


@pytest.fixture
async def shared(node: Settings, clock: SettableClock) -> AsyncIterator[RedisShared]:
    """What another process of the node shares."""
    found = choose_shared(node, SecretRing(b"x" * 32), clock)
    assert found is not None
    yield found
    await found.link.close()


def lose_the_file(node: Settings) -> None:
    """Let the node have no mark of its own."""
    (node.data_dir / "high-water-mark").unlink()


async def test_a_node_without_a_mark_is_vouched_for_by_redis(
    node: Settings, clock: SettableClock, tmp_path: Path, redis: RedisServer
):
    """Where only Redis knows the mark, the newest database is served, and an old copy is refused."""
    async with AuthServer(node, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
    back_up(node, tmp_path / "old")
    async with AuthServer(node, clock=clock) as server:
        await Stage(server, clock).logout(pair.refresh_token)
    back_up(node, tmp_path / "new")
    lose_the_file(node)
    put_back(node, tmp_path / "old")
    with pytest.raises(RolledBack, match=r"recover .*in Redis"):
        async with AuthServer(node, clock=clock):
            pass
    put_back(node, tmp_path / "new")
    async with AuthServer(node, clock=clock):
        assert (node.data_dir / "high-water-mark").exists()
    lose_the_file(node)
    redis.ask("FLUSHALL")
    with pytest.raises(RolledBack, match="no high-water mark"):
        async with AuthServer(node, clock=clock):
            pass


@pytest.mark.parametrize("left", ["9" * 5_000 + " x", "\u0663 x", "7 \x1b[31m", "7", "7 " + "x" * 1_000], ids=range(5))
async def test_what_is_no_mark_counts_as_none_and_is_replaced(
    node: Settings, clock: SettableClock, shared: RedisShared, redis: RedisServer, left: str
):
    """Whatever somebody else writes there, a node with a mark of its own starts, and one without believes nothing."""
    async with AuthServer(node, clock=clock):
        position = await shared.mark.read()
        redis.ask("SET", shared.link.name("mark"), left)
    async with AuthServer(node, clock=clock):
        assert await shared.mark.read() == position
    lose_the_file(node)
    redis.ask("SET", shared.link.name("mark"), left)
    with pytest.raises(RolledBack, match="no high-water mark"):
        async with AuthServer(node, clock=clock):
            pass


async def test_what_is_no_text_counts_as_no_mark(
    node: Settings, clock: SettableClock, shared: RedisShared, redis: RedisServer
):
    """A list under the mark's name is no trouble of Redis, which would have every process limit by itself."""
    async with AuthServer(node, clock=clock):
        position = await shared.mark.read()
        redis.ask("DEL", shared.link.name("mark"))
        redis.ask("RPUSH", shared.link.name("mark"), "7 x")
        assert (await shared.mark.read(), shared.link.away) == (None, None)
    async with AuthServer(node, clock=clock):
        assert await shared.mark.read() == position


@pytest.mark.parametrize("left", [("SET", "a\0b"), ("SET", "x" * 1_000), ("SET", ""), ("RPUSH", "x")], ids=range(4))
async def test_an_identity_of_somebody_else_is_replaced(shared: RedisShared, redis: RedisServer, left: tuple[str, str]):
    """Only a name as processes make them goes on into the database; whatever else is there makes way, for all alike."""
    command, value = left
    redis.ask("DEL", shared.link.name("identity"))
    redis.ask(command, shared.link.name("identity"), value)
    named = await shared.identity()
    assert (len(named), shared.link.away) == (12, None)
    assert await shared.identity() == named


async def test_a_mark_that_redis_has_lost_is_made_anew(
    node: Settings, clock: SettableClock, shared: RedisShared, redis: RedisServer
):
    """After a flush it is there again at the next turn, although nothing was revoked meanwhile."""
    async with AuthServer(node, clock=clock) as server:
        position = await shared.mark.read()
        assert position is not None
        redis.ask("FLUSHALL")
        assert await shared.mark.read() is None
        await server.graph.history.keep()
        assert await shared.mark.read() == position


async def test_it_is_moved_on_and_never_back(shared: RedisShared):
    """Whoever comes late with an earlier position changes nothing."""
    await shared.mark.begin(Position("epoch", 5))
    for number, kept in ((4, 5), (6, 6), (5, 6), (10, 10), (9, 10)):
        await shared.mark.advance(Position("epoch", number))
        assert await shared.mark.read() == Position("epoch", kept)


async def test_another_epoch_is_replaced_by_who_stays_only(shared: RedisShared):
    """Old data with which Redis came back is replaced at the second turn; one turn is not enough for anybody."""
    await shared.mark.begin(Position("old", 50))
    await shared.mark.advance(Position("new", 1))
    assert await shared.mark.read() == Position("old", 50)
    await shared.mark.advance(Position("new", 1))
    assert await shared.mark.read() == Position("new", 1)
    await shared.mark.begin(Position("newest", 0))
    await shared.mark.advance(Position("new", 2))
    assert await shared.mark.read() == Position("newest", 0)


@pytest.mark.parametrize("left", ["", "x", "5", " epoch", "-1 epoch"])
async def test_what_is_no_mark_counts_as_none(shared: RedisShared, redis: RedisServer, left: str):
    """Something else in its place is replaced."""
    redis.ask("SET", shared.link.name("mark"), left)
    assert await shared.mark.read() is None
    await shared.mark.advance(Position("epoch", 1))
    assert await shared.mark.read() == Position("epoch", 1)


async def test_a_node_starts_and_keeps_its_mark_without_redis(node: Settings, clock: SettableClock, redis: RedisServer):
    """While Redis is away the mark in the data directory is what counts."""
    async with AuthServer(node, clock=clock):
        pass
    redis.stop()
    try:
        async with AuthServer(node, clock=clock) as server:
            await server.graph.history.keep()
        lose_the_file(node)
        with pytest.raises(RolledBack, match="no high-water mark"):
            async with AuthServer(node, clock=clock):
                pass
    finally:
        redis.start()


async def test_recovering_replaces_it(node: Settings, clock: SettableClock, shared: RedisShared, redis: RedisServer):
    """After it the server starts on the new history; while Redis is away nothing is recovered, and it is said why."""
    async with AuthServer(node, clock=clock) as server:
        await Stage(server, clock).add()
        before = await shared.mark.read()
    redis.stop()
    try:
        with pytest.raises(MarkUnavailable, match="redis_url"):
            await AuthServer(node, clock=clock).recover()
    finally:
        redis.start()
    async with AuthServer(node, clock=clock):
        assert await shared.link.ask() is None
        assert await shared.mark.read() == before
    await AuthServer(node, clock=clock).recover()
    after = await shared.mark.read()
    assert after is not None
    assert before is not None
    assert after.epoch != before.epoch
    async with AuthServer(node, clock=clock):
        assert (await shared.mark.read() or before).epoch == after.epoch


async def test_after_recovering_the_other_nodes_give_up_their_own_marks(node: Settings, clock: SettableClock):
    """A node that was stopped meanwhile refuses the new history and says what to do; then Redis vouches for it."""
    async with AuthServer(node, clock=clock) as server:
        await Stage(server, clock).add()
    of_another_node = (node.data_dir / "high-water-mark").read_bytes()
    await AuthServer(node, clock=clock).recover()
    (node.data_dir / "high-water-mark").write_bytes(of_another_node)
    with pytest.raises(RolledBack, match=r"run on another node, remove the high-water mark .*in the data directory"):
        async with AuthServer(node, clock=clock):
            pass
    lose_the_file(node)
    async with AuthServer(node, clock=clock):
        assert (node.data_dir / "high-water-mark").read_bytes() != of_another_node
