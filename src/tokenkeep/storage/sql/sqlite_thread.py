"""A thread with a SQLite connection of its own; transactions that wait together are made durable together.

Synchronising the disk and waking another thread cost more than the statements of a transaction. Under load both are
paid once for all that came meanwhile; each transaction still succeeds or fails by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.storage.sql.sqlite_trouble import explain

T = TypeVar("T")

BUSY_TIMEOUT: Final = 5.0
"""Seconds a transaction waits for another process's before it gives up."""
MOST_TOGETHER: Final = 32
"""Transactions that share a commit at most, so that the first need not wait long for the last."""


@dataclass(slots=True, eq=False)
class _Job:
    """Something to be done on the connection, and what came of it."""

    work: Callable[[sqlite3.Connection], Any]
    transaction: bool
    answer: asyncio.Future[Any]
    asked_at: float = field(default_factory=time.monotonic)
    result: Any = None
    error: BaseException | None = None

    def attempt(self, connection: sqlite3.Connection) -> None:
        """Do it, and keep what comes of it."""
        try:
            self.result = self.work(connection)
        except BaseException as error:  # noqa: BLE001  (whoever asked is told)
            self.error = error

    def settle(self) -> None:
        """Tell whoever asked, unless nobody waits any more."""
        if self.answer.done():
            return
        if self.error is None:
            self.answer.set_result(self.result)
        else:
            self.answer.set_exception(self.error)


class ConnectionThread:
    """Does what it is asked to on one connection, in the order in which it was asked."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection], *, begin: str, name: str) -> None:
        """Prepare the thread.

        Args:
            path: the file of the database.
            connect: opens the connection; called inside the thread.
            begin: the statement that begins a transaction.
            name: what the thread is called.
        """
        self._path = path
        self._connect = connect
        self._begin = begin
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._ahead: list[_Job | None] = []
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start the thread; returns when it is connected.

        Raises:
            StorageUnavailable: it cannot connect.
        """
        self._loop = asyncio.get_running_loop()
        opening = _Job(_nothing, transaction=False, answer=self._loop.create_future())
        self._thread = threading.Thread(target=self._live, args=(opening,), name=self._name, daemon=True)
        self._thread.start()
        try:
            await self._translated(opening.answer)
        except BaseException:
            self._thread = None
            raise

    async def stop(self) -> None:
        """Disconnect and end the thread, after what it was asked before."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    async def run(self, work: Callable[[sqlite3.Connection], T], *, transaction: bool = True) -> T:
        """Return the result of `work(connection)`, once what it did in its transaction is durable.

        Raises:
            StorageUnavailable: the database is not open or did not do it; nothing of it remains.
        """
        if self._thread is None or self._loop is None:
            raise StorageUnavailable("the database is not open")
        job = _Job(work, transaction, self._loop.create_future())
        self._jobs.put(job)
        return cast("T", await self._translated(job.answer))

    async def _translated(self, answer: Awaitable[T]) -> T:
        """Return the answer; trouble of the database becomes the error that flows know."""
        try:
            return await answer
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.NotSupportedError):
            raise  # a mistake in a statement, and no trouble of the database
        except sqlite3.DatabaseError as error:
            raise StorageUnavailable(explain(self._path, error)) from error

    # -- inside the thread ---------------------------------------------------------------------------------------

    def _live(self, opening: _Job) -> None:
        try:
            self._connection = self._connect()
            self._opened = self._place()
        except BaseException as error:  # noqa: BLE001  (whoever started the thread is told)
            opening.error = error
            self._settle([opening])
            return
        self._settle([opening])
        while batch := self._next_batch():
            if batch[0].transaction:
                self._commit_together(self._connection, batch)
            else:
                self._do_alone(self._connection, batch[0])
            self._settle(batch)
        self._connection.close()

    def _next_batch(self) -> list[_Job]:
        """Wait for a job; returns it with the transactions that wait behind it, and nothing at the end."""
        first = self._ahead.pop() if self._ahead else self._jobs.get()
        if first is None:
            return []
        batch = [first]
        while first.transaction and len(batch) < MOST_TOGETHER and not self._jobs.empty():
            job = self._jobs.get()
            if job is None or not job.transaction:
                self._ahead.append(job)
                break
            batch.append(job)
        return batch

    def _commit_together(self, connection: sqlite3.Connection, batch: list[_Job]) -> None:
        try:
            self._require_file()
            self._begin_patiently(connection, batch[0].asked_at)
            for job in batch:
                _run_step(connection, job, alone=len(batch) == 1)
            connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001  (everybody in the batch is told)
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            for job in batch:
                job.error = job.error or error

    def _do_alone(self, connection: sqlite3.Connection, job: _Job) -> None:
        try:
            self._require_file()
        except StorageUnavailable as error:
            job.error = error
        else:
            job.attempt(connection)

    def _require_file(self) -> None:
        """Refuse to go on with a file that has no name any more: what is written there would be gone after a restart.

        Raises:
            StorageUnavailable: another file is under the path, or none.
        """
        if self._place() != self._opened:
            raise StorageUnavailable(
                f"SQLite: {self._path} was moved or replaced while it was open: stop the server before you put a "
                "database back, then run: tokenkeep recover"
            )

    def _place(self) -> tuple[int, int] | None:
        """Return which file is under the path; None if there is none."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _begin_patiently(self, connection: sqlite3.Connection, asked_at: float) -> None:
        """Begin; those who waited in the queue while another program held the database do not begin to wait anew."""
        patience = max(0.0, BUSY_TIMEOUT - (time.monotonic() - asked_at))
        if patience >= BUSY_TIMEOUT - 1:
            connection.execute(self._begin)
            return
        connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        try:
            connection.execute(self._begin)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")

    def _settle(self, batch: list[_Job]) -> None:
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        with contextlib.suppress(RuntimeError):  # the loop is closed; nobody waits any more
            loop.call_soon_threadsafe(_settle_all, batch)


def _run_step(connection: sqlite3.Connection, job: _Job, *, alone: bool) -> None:
    """Run one transaction of a batch; what fails by itself is taken back by itself.

    Raises:
        BaseException: whatever ended the whole batch.
    """
    if not alone:
        connection.execute("SAVEPOINT step")
    job.attempt(connection)
    if not connection.in_transaction:  # SQLite takes back everything after some errors, such as a full disk
        raise job.error or StorageUnavailable("SQLite ended the transaction by itself")
    if alone:
        if job.error is not None:
            raise job.error
        return
    if job.error is not None:
        connection.execute("ROLLBACK TO step")
    connection.execute("RELEASE step")


def _settle_all(batch: list[_Job]) -> None:
    for job in batch:
        job.settle()


def _nothing(_: sqlite3.Connection) -> None:
    """Be done as soon as there is a connection."""
