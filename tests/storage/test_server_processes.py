"""What `SqlServerProcesses` promises, on every engine."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.storage.contracts import Engine, Processes
from tokenkeep.domain.server_processes import ServerProcess
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sql.stores import SqlStorage

ONE = ServerProcess("a", "node", "redis", 1_000)
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
