"""The thread that makes waiting transactions durable together, each still by itself in success and failure."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.storage.sql.sqlite_thread import MOST_TOGETHER, ConnectionThread


class Refused(Exception):
    """What a flow raises inside its transaction."""


class Shelf:
    """A thread on a file with one table, every statement of which is noted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.statements: list[str] = []
        self.thread = ConnectionThread(path, self._connect, begin="BEGIN IMMEDIATE", name="shelf")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS books (title TEXT PRIMARY KEY)")
        connection.set_trace_callback(self.statements.append)
        return connection

    def titles(self) -> set[str]:
        """Return what another connection sees."""
        connection = sqlite3.connect(self.path)
        try:
            return {title for (title,) in connection.execute("SELECT title FROM books")}
        finally:
            connection.close()

    async def all_at_once(self, *works) -> list[object]:
        """Run works that all wait behind one that is held up, and return their results or errors."""
        held = threading.Event()
        first = asyncio.ensure_future(self.thread.run(lambda _: held.wait(10), transaction=False))
        rest = [asyncio.ensure_future(self.thread.run(work)) for work in works]
        await asyncio.sleep(0)  # every work is in the queue
        held.set()
        await first
        return await asyncio.gather(*rest, return_exceptions=True)


def put(title: str):
    """Return a transaction that stores a title."""
    return lambda connection: connection.execute("INSERT INTO books VALUES (?)", (title,)).rowcount


def put_and_refuse(title: str):
    """Return a transaction that stores a title and then fails."""

    def work(connection: sqlite3.Connection) -> None:
        put(title)(connection)
        raise Refused(title)

    return work


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    """A started thread."""
    shelf = Shelf(tmp_path / "shelf.db")
    await shelf.thread.start()
    yield shelf
    await shelf.thread.stop()


async def test_transactions_that_wait_share_one_commit(shelf: Shelf):
    """Ten transactions that wait together cost one commit, and all are stored."""
    assert await shelf.all_at_once(*(put(f"book {number}") for number in range(10))) == [1] * 10
    assert shelf.statements.count("COMMIT") == 1
    assert len(shelf.titles()) == 10


async def test_one_transaction_needs_no_savepoint(shelf: Shelf):
    """A transaction that waits for nobody pays for nothing but itself."""
    await shelf.thread.run(put("alone"))
    assert [statement.split()[0] for statement in shelf.statements] == ["BEGIN", "INSERT", "COMMIT"]


async def test_what_fails_in_a_batch_fails_alone(shelf: Shelf):
    """One that refuses and one that breaks a rule of the table leave nothing behind, and harm no other."""
    results = await shelf.all_at_once(put("one"), put_and_refuse("two"), put("one"), put("three"))
    assert results[0] == results[3] == 1
    assert isinstance(results[1], Refused)
    assert isinstance(results[2], sqlite3.IntegrityError)
    assert shelf.titles() == {"one", "three"}


async def test_a_failing_transaction_by_itself_is_rolled_back(shelf: Shelf):
    """A refusal takes back what it did, and the next transaction finds an open connection."""
    with pytest.raises(Refused):
        await shelf.thread.run(put_and_refuse("gone"))
    await shelf.thread.run(put("kept"))
    assert shelf.titles() == {"kept"}


async def test_nothing_is_answered_before_the_commit(shelf: Shelf):
    """When the shared commit fails, every transaction of the batch is refused and none is stored."""

    def spoil(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("CREATE TABLE IF NOT EXISTS loans (title TEXT REFERENCES books (title))")
        connection.execute("INSERT INTO loans VALUES ('no such book')")

    await shelf.thread.run(lambda connection: connection.execute("PRAGMA foreign_keys = ON"), transaction=False)
    results = await shelf.all_at_once(put("one"), spoil, put("two"))
    assert all(isinstance(result, sqlite3.IntegrityError) for result in results), results
    assert shelf.titles() == set()


async def test_a_transaction_that_sqlite_gave_up_takes_its_batch_along(shelf: Shelf):
    """When SQLite has rolled everything back, nobody in the batch is told that it is stored."""
    results = await shelf.all_at_once(put("one"), lambda connection: connection.execute("ROLLBACK"), put("two"))
    assert all(isinstance(result, StorageUnavailable) for result in results), results
    assert shelf.titles() == set()
    await shelf.thread.run(put("afterwards"))
    assert shelf.titles() == {"afterwards"}


async def test_a_batch_is_bounded(shelf: Shelf):
    """More transactions than may share a commit are spread over several, in order."""
    works = [put(f"book {number:03}") for number in range(2 * MOST_TOGETHER + 1)]
    assert await shelf.all_at_once(*works) == [1] * len(works)
    assert shelf.statements.count("COMMIT") == 3


async def test_what_is_no_transaction_stays_outside_of_one(shelf: Shelf):
    """A question between transactions is asked outside of any, in its place in the order."""
    held = threading.Event()
    first = asyncio.ensure_future(shelf.thread.run(lambda _: held.wait(10), transaction=False))
    before = asyncio.ensure_future(shelf.thread.run(put("before")))
    asked = asyncio.ensure_future(shelf.thread.run(lambda connection: connection.in_transaction, transaction=False))
    after = asyncio.ensure_future(shelf.thread.run(put("after")))
    await asyncio.sleep(0)
    held.set()
    assert await asyncio.gather(first, before, asked, after) == [True, 1, False, 1]
    assert shelf.statements.count("COMMIT") == 2


async def test_nobody_waiting_any_more_is_no_trouble(shelf: Shelf):
    """A caller that was cancelled does not keep its transaction, or the next, from being done."""
    held = threading.Event()
    first = asyncio.ensure_future(shelf.thread.run(lambda _: held.wait(10), transaction=False))
    cancelled = asyncio.ensure_future(shelf.thread.run(put("cancelled")))
    await asyncio.sleep(0)
    cancelled.cancel()
    held.set()
    await first
    await shelf.thread.run(put("next"))
    assert "next" in shelf.titles()


async def test_a_thread_that_ended_takes_nothing_any_more(tmp_path: Path):
    """Before its start and after its end the database is not open; what was asked before the end is done."""
    shelf = Shelf(tmp_path / "shelf.db")
    with pytest.raises(StorageUnavailable):
        await shelf.thread.run(put("early"))
    await shelf.thread.start()
    waiting = asyncio.ensure_future(shelf.thread.run(put("in time")))
    await asyncio.sleep(0)
    await shelf.thread.stop()
    assert await waiting == 1
    with pytest.raises(StorageUnavailable):
        await shelf.thread.run(put("late"))
    assert shelf.titles() == {"in time"}


async def test_a_connection_that_cannot_be_made_is_told(tmp_path: Path):
    """The start fails with the reason, and may be tried again."""
    shelf = Shelf(tmp_path / "not there" / "shelf.db")
    with pytest.raises(StorageUnavailable, match="unable to open"):
        await shelf.thread.start()
    shelf.path.parent.mkdir()
    await shelf.thread.start()
    await shelf.thread.stop()
