"""What `SqlRevocations` promises, on every engine: an append-only list, numbered without gaps in commit order."""

from __future__ import annotations

import asyncio

import pytest

from tests.storage.contracts import Engine, Processes, execute
from tests.storage.examples import NOW, a_revocation, store_account
from tokenkeep.contract.revocation import RevocationKind
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.domain.history import Position
from tokenkeep.domain.revocations import GREATEST_LEEWAY, NumberedRevocation, Revocation
from tokenkeep.flows.ports import Transaction
from tokenkeep.storage.sql.sqlite import SqliteDatabase
from tokenkeep.storage.sql.stores import SqlStorage

LIFE = 900_000


async def append(storage: SqlStorage, revocation: Revocation | None = None) -> Revocation:
    """Append a revocation and return it."""
    appended = revocation or a_revocation()
    await storage.transact(lambda tx: tx.revocations.append(appended))
    return appended


async def after(storage: SqlStorage, number: int = 0, *, now: int = NOW) -> list[NumberedRevocation]:
    """Return what came after a number."""
    return await storage.read(lambda tx: tx.revocations.after(number, now=now))


async def test_revocations_are_numbered_from_one_and_read_in_order(storage: SqlStorage):
    """Each comes back as it was appended, with its number; a reader goes on from the last number it has."""
    appended = [
        await append(storage),
        await append(storage, a_revocation(kind=RevocationKind.ACCOUNT, value="sub", version=2**40, actor="an-admin")),
        await append(storage, a_revocation(kind=RevocationKind.TOKEN, value="jti", reason="stolen")),
        await append(storage, a_revocation(kind=RevocationKind.KEY, value="kid")),
    ]
    listed = await after(storage)
    assert [each.number for each in listed] == [1, 2, 3, 4]
    assert [each.revocation for each in listed] == appended
    assert [each.number for each in await after(storage, 2)] == [3, 4]
    assert await after(storage, 4) == []


async def test_a_revocation_is_kept_as_long_as_a_token_may_live(storage: SqlStorage):
    """It is kept for the longest access life ever registered and the greatest leeway, counted from the revocation."""
    await storage.transact(lambda tx: tx.revocations.register_access_life(LIFE))
    await append(storage, a_revocation(revoked_at=NOW + 7))
    assert [each.expires_at for each in await after(storage)] == [NOW + 7 + LIFE + GREATEST_LEEWAY]


async def test_the_longest_access_life_never_shrinks(storage: SqlStorage):
    """A shorter life configured later changes nothing for tokens that are about; a longer one counts from now on."""
    assert await storage.read(lambda tx: tx.revocations.longest_access_life()) == 0
    expiries: list[int] = []
    for life in (LIFE, LIFE // 3, LIFE * 2, 1):
        await storage.transact(lambda tx, life=life: tx.revocations.register_access_life(life))
        await append(storage)
        expiries.append((await after(storage))[-1].expires_at - NOW - GREATEST_LEEWAY)
    assert expiries == [LIFE, LIFE, LIFE * 2, LIFE * 2]
    assert await storage.read(lambda tx: tx.revocations.longest_access_life()) == LIFE * 2


async def test_what_cannot_matter_any_more_is_not_read(storage: SqlStorage):
    """An entry is read until the last millisecond before its expiry; the numbers of the others stay."""
    for revoked_at in (NOW, NOW + 100, NOW + 50):
        await append(storage, a_revocation(revoked_at=revoked_at))
    last = NOW + GREATEST_LEEWAY
    assert [each.number for each in await after(storage, now=last - 1)] == [1, 2, 3]
    assert [each.number for each in await after(storage, now=last)] == [2, 3]
    assert [each.number for each in await after(storage, now=last + 50)] == [2]
    assert await after(storage, now=last + 100) == []


async def test_a_transaction_that_is_undone_leaves_no_gap(storage: SqlStorage):
    """The number of a revocation that was not committed goes to the next one."""

    async def change_of_mind(tx: Transaction) -> None:
        await tx.revocations.append(a_revocation())
        await tx.revocations.append(a_revocation())
        raise ValueError("changed my mind")

    first = await append(storage)
    with pytest.raises(ValueError, match="changed my mind"):
        await storage.transact(change_of_mind)
    second = await append(storage)
    assert [(each.number, each.revocation) for each in await after(storage)] == [(1, first), (2, second)]


async def test_a_revocation_and_its_cause_are_one(storage: SqlStorage):
    """When the change that a revocation tells of is undone, so is the revocation."""
    ada = await store_account(storage)

    async def disable_and_fail(tx: Transaction) -> None:
        await tx.accounts.disable(ada.id, now=NOW)
        await tx.revocations.append(a_revocation())
        raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed my mind"):
        await storage.transact(disable_and_fail)
    assert await storage.read(lambda tx: tx.accounts.find(ada.id)) == ada
    assert await after(storage) == []


async def test_a_reader_that_follows_many_writers_misses_nothing(storage: SqlStorage, processes: Processes):
    """Whoever reads on from the last number it saw gets every number in turn, while three processes append.

    Transactions that fail are among them. A number that could be seen before a smaller one would be lost for good.
    """
    writers = [storage, await processes.storage(), await processes.storage()]
    reader = await processes.storage()
    count = 60

    async def write(through: SqlStorage, turn: int) -> bool:
        async def steps(tx: Transaction) -> None:
            await tx.revocations.append(a_revocation(value=f"value-{turn}"))
            if turn % 4 == 0:
                raise ValueError("undone")

        try:
            await through.transact(steps)
        except ValueError:
            return False
        return True

    async def follow(done: asyncio.Event) -> list[int]:
        seen: list[int] = []
        while True:
            finished = done.is_set()
            seen.extend(each.number for each in await after(reader, seen[-1] if seen else 0))
            if finished:
                return seen

    done = asyncio.Event()
    following = asyncio.create_task(follow(done))
    written = await asyncio.gather(*(write(writers[turn % 3], turn) for turn in range(count)))
    done.set()
    assert sum(written) == count * 3 // 4
    assert await following == list(range(1, sum(written) + 1))


async def test_a_writer_waits_for_the_one_before_it(storage: SqlStorage, processes: Processes, engine: Engine):
    """A number is given out only when the one before it is committed or free again."""
    other = await processes.storage()
    gate = engine.gate()

    async def append_slowly(tx: Transaction) -> None:
        await tx.revocations.append(a_revocation(value="first"))
        await gate.hold()

    first = asyncio.create_task(storage.transact(append_slowly))
    await gate.arrived()
    second = asyncio.create_task(append(other, a_revocation(value="second")))
    await engine.wait_until_blocked()
    assert await after(storage) == []
    gate.open()
    await asyncio.gather(first, second)
    assert [each.revocation.value for each in await after(storage)] == ["first", "second"]


async def test_the_revision_changes_when_anyone_has_revoked(storage: SqlStorage, processes: Processes):
    """After a revocation by this or another process the revision is another one; it stays while nobody writes."""
    other = await processes.storage()
    seen = await storage.revision()
    for writer in (other, storage, other):
        assert await storage.revision() == seen
        await append(writer)
        changed = await storage.revision()
        assert changed != seen
        seen = changed


async def test_the_revision_changes_when_a_number_is_given_to_another(storage: SqlStorage, processes: Processes):
    """Where the last revocation was lost, and its number went to another one before anybody looked, that is seen."""
    await append(storage, a_revocation(value="lost"))
    seen = await storage.revision()
    other = await processes.storage()
    for statement in ("DELETE FROM revocations", "UPDATE revocation_head SET number = number - 1"):
        assert await execute(other._database, statement) == 1
    await append(other, a_revocation(value="later"))
    assert await storage.revision() != seen


async def test_the_position_tells_how_far_the_history_has_come(storage: SqlStorage, processes: Processes):
    """A new database has no epoch and no number; both are the same for every process, and undone with their change."""
    other = await processes.storage()

    async def position(through: SqlStorage) -> Position:
        return await through.read(lambda tx: tx.revocations.position())

    async def begin_and_fail(tx: Transaction) -> None:
        await tx.revocations.begin_epoch("undone")
        await tx.revocations.append(a_revocation())
        raise ValueError("undone")

    assert await position(storage) == Position("", 0)
    await storage.transact(lambda tx: tx.revocations.begin_epoch("first"))
    await append(other)
    with pytest.raises(ValueError, match="undone"):
        await storage.transact(begin_and_fail)
    assert await position(storage) == await position(other) == Position("first", 1)


async def test_a_list_without_its_head_is_no_list(storage: SqlStorage, processes: Processes):
    """If the one row with the number is lost, nothing can be appended or told, and whoever asks hears why."""
    database = await processes.database()
    assert await execute(database, "DELETE FROM revocation_head") == 1
    with pytest.raises(StorageUnavailable, match="revocation_head has lost its row"):
        await append(storage)
    with pytest.raises(StorageUnavailable, match="revocation_head has lost its row"):
        await storage.read(lambda tx: tx.revocations.position())
    with pytest.raises(StorageUnavailable, match="revocation_head has lost its row"):
        await storage.read(lambda tx: tx.revocations.longest_access_life())
    if not isinstance(database, SqliteDatabase):  # which counts commits instead
        with pytest.raises(StorageUnavailable, match="revocation_head has lost its row"):
            await storage.revision()


async def test_what_has_expired_is_forgotten_and_its_numbers_are_not_given_again(storage: SqlStorage):
    """`purge` forgets at most so many entries that expired before an instant; the numbers after them go on."""
    for revoked_at in (NOW, NOW + 1, NOW + 2, NOW + 3):
        await append(storage, a_revocation(revoked_at=revoked_at))
    last = NOW + 3 + GREATEST_LEEWAY
    forgotten = [
        await storage.transact(lambda tx: tx.revocations.purge(before=last, limit=2)),
        await storage.transact(lambda tx: tx.revocations.purge(before=last, limit=2)),
        await storage.transact(lambda tx: tx.revocations.purge(before=last, limit=2)),
        await storage.transact(lambda tx: tx.revocations.purge(before=last + 1, limit=2)),
    ]
    assert forgotten == [2, 1, 0, 1]
    await append(storage)
    assert [each.number for each in await after(storage, now=0)] == [5]


async def test_a_history_is_begun_once(storage: SqlStorage):
    """Of several processes that find a new database one names its history, and the others take that name."""
    begun = [await storage.transact(lambda tx, epoch=epoch: tx.revocations.begin_first_epoch(epoch)) for epoch in "ab"]
    assert begun == [True, False]
    assert await storage.read(lambda tx: tx.revocations.position()) == Position("a", 0)
