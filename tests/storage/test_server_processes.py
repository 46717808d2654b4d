"""What `SqlServerProcesses` promises, on every engine."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.storage.contracts import Engine, Processes
from tokenkeep.domain.server_processes import NO_REDIS, Accord, ServerProcess
from tokenkeep.flows.ports import Transaction
from tokenkeep.flows.serve_together import ServeTogether
from tokenkeep.storage.sql.database import SqlTransaction
from tokenkeep.storage.sql.stores import SqlStorage

ACCORD = Accord("https://auth.example.com", "ES256")
ONE = ServerProcess("a", "node", "redis", 1_000, ACCORD)
TWO = ServerProcess("b", "node", "", 2_000)


async def listed(storage: SqlStorage) -> list[ServerProcess]:
    """Return who is stored."""
    return await storage.read(lambda tx: tx.server_processes.all())


async def test_processes_are_noted_and_forgotten(storage: SqlStorage):
    """Each has one row, which tells when it was last seen; the lost go together, and one that leaves goes alone."""
    for process in (TWO, ONE, replace(ONE, redis="another", seen_at=3_000)):
        await storage.transact(lambda tx, process: tx.server_processes.note(process), process)
    assert await listed(storage) == [replace(ONE, redis="another", seen_at=3_000), TWO]
    assert await storage.transact(lambda tx: tx.server_processes.forget_lost(before=2_000)) == 0
    assert await storage.transact(lambda tx: tx.server_processes.forget_lost(before=2_001)) == 1
    await storage.transact(lambda tx: tx.server_processes.forget("nobody"))
    assert len(await listed(storage)) == 1
    await storage.transact(lambda tx: tx.server_processes.forget("a"))
    assert await listed(storage) == []


async def test_the_version_before_notes_itself_too(storage: SqlStorage):
    """A row that was written without what a later version adds is read, and tells nothing of it."""
    before = """
        INSERT INTO server_processes (id, node, redis, seen_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE SET redis = excluded.redis, seen_at = excluded.seen_at
    """
    for seen_at in (1_000, 2_000):

        async def note(tx: SqlTransaction, seen_at: int = seen_at) -> int:
            return await tx.execute(before, "c", "node", "redis", seen_at)

        await storage._database.transact(note)
    assert await listed(storage) == [ServerProcess("c", "node", "redis", 2_000, None)]


async def test_turns_are_taken_one_after_the_other(processes: Processes, engine: Engine):
    """Who has taken a turn is alone with what it reads and writes: the next one sees it."""
    first, second = await processes.storage(), await processes.storage()
    gate = engine.gate()

    async def hold(tx: Transaction) -> None:
        await tx.server_processes.take_turn()
        await gate.hold()
        await tx.server_processes.note(ONE)

    async def follow(tx: Transaction) -> list[ServerProcess]:
        await tx.server_processes.take_turn()
        return await tx.server_processes.all()

    holding = asyncio.create_task(first.transact(hold))
    await gate.arrived()
    following = asyncio.create_task(second.transact(follow))
    await engine.wait_until_blocked()
    gate.open()
    await holding
    assert await following == [ONE]


async def test_of_nodes_that_begin_at_once_without_redis_one_serves(processes: Processes):
    """However their transactions fall, one joins; the others have seen it and wait."""

    async def no_redis() -> str:
        return NO_REDIS

    nodes = [
        ServeTogether(await processes.storage(), node=f"node {number}", redis=no_redis, accord=ACCORD)
        for number in range(5)
    ]
    joining = [asyncio.create_task(node.join()) for node in nodes]
    joined, waiting = await asyncio.wait(joining, timeout=1)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*joining, return_exceptions=True)
    assert len(joined) == 1
    assert joined.pop().exception() is None
