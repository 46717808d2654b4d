"""A database that fails in the middle of a transaction: 503, nothing half done, and the next attempt succeeds."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg.transaction
import httpx2
import pytest

from tests.api.caller import PASSWORD, Caller, Login, assert_problem
from tests.postgres_server import PostgresSchema
from tests.system.conftest import on_postgres, on_sqlite
from tests.system.recovery.consistency import offences
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.storage.sql.postgres_transaction import PostgresChange
from tokenkeep.storage.sql.sqlite import SqliteDatabase
from tokenkeep.storage.sql.stores import SqlStorage

NEW_PASSWORD: Final = "another-horse-battery"
TABLES: Final = ("accounts", "sessions", "revocations", "revocation_head", "signing_keys", "audit_events")


class FailingConnection:
    """A SQLite connection that fails once: at a statement of the next transaction, or just after its commit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._statements = 0
        self._fail_at: int | None = None
        self._fail_after_commit = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Run a statement, or fail."""
        self._statements += 1
        if self._statements == self._fail_at:
            self._fail_at = None
            raise sqlite3.OperationalError("disk I/O error")
        cursor = self._connection.execute(sql, *values)
        if sql == "COMMIT" and self._fail_after_commit:
            self._fail_after_commit = False
            raise sqlite3.OperationalError("disk I/O error")
        return cursor

    def fail_at(self, statement: int) -> None:
        """Fail at that statement from now, BEGIN and COMMIT included."""
        self._statements, self._fail_at = 0, statement

    def fail_after_commit(self) -> None:
        """Make the next commit, and report that it failed."""
        self._fail_after_commit = True

    @property
    def failed(self) -> bool:
        """Whether it has failed as it should."""
        return self._fail_at is None and not self._fail_after_commit


@dataclass(frozen=True)
class Scene:
    """An open server, a caller, and two logins of Ada's."""

    server: AuthServer
    call: Caller
    first: Login
    second: Login

    async def done(self, answer: Awaitable[httpx2.Response]) -> bool:
        """Tell whether a request was done; if not, hold its answer to a refusal that asks to come again."""
        answered = await answer
        if answered.status_code == 200:
            return True
        assert_problem(answered, "storage_unavailable")
        return False

    async def changed(self, change: Awaitable[object]) -> bool:
        """Tell whether a command's change was made."""
        try:
            await change
        except StorageUnavailable:
            return False
        return True

    async def status(self, login: Login) -> int:
        """Return how the access token of a login is answered."""
        return (await self.call("GET", "/me", bearer=login.access)).status_code


Operation = Callable[[Scene], Awaitable[bool]]
"""Does something; tells whether it was done."""


async def log_in(scene: Scene) -> bool:
    """Log in."""
    return await scene.done(scene.call("POST", "/login", json={"name": "Ada", "password": PASSWORD}))


async def log_in_again(scene: Scene) -> bool:
    """Log in in the place of the first login."""
    body = {"name": "Ada", "password": PASSWORD}
    return await scene.done(scene.call("POST", "/login", json=body, cookie=scene.first.refresh))


async def refresh(scene: Scene) -> bool:
    """Refresh the first login."""
    return await scene.done(scene.call("POST", "/refresh", cookie=scene.first.refresh))


async def log_out(scene: Scene) -> bool:
    """Log out of the first login."""
    return await scene.done(scene.call("POST", "/logout", cookie=scene.first.refresh))


async def log_out_everywhere(scene: Scene) -> bool:
    """End all sessions."""
    return await scene.done(scene.call("DELETE", "/sessions", bearer=scene.first.access))


async def change_password(scene: Scene) -> bool:
    """Change the password."""
    body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    return await scene.done(scene.call("POST", "/password", json=body, bearer=scene.first.access))


async def disable(scene: Scene) -> bool:
    """Disable the account."""
    return await scene.changed(scene.server.accounts.disable("Ada", actor="operator"))


async def set_role(scene: Scene) -> bool:
    """Change the account's role."""
    return await scene.changed(scene.server.accounts.set_role("Ada", "editor", actor="operator"))


async def set_password(scene: Scene) -> bool:
    """Set the account's password."""
    return await scene.changed(scene.server.accounts.set_password("Ada", NEW_PASSWORD, actor="operator"))


ENDS: Final[dict[Operation, tuple[int, int]]] = {
    log_in: (200, 200),
    log_in_again: (401, 200),
    refresh: (200, 200),
    log_out: (401, 200),
    log_out_everywhere: (401, 401),
    change_password: (401, 401),
    disable: (401, 401),
    set_role: (401, 401),
    set_password: (401, 401),
}
"""What each does, and how the access tokens of the two logins are answered once it was done."""

on_every_operation = pytest.mark.parametrize("operation", ENDS, ids=[operation.__name__ for operation in ENDS])


async def scene_on(server: AuthServer) -> Scene:
    """Return a scene with its account and logins."""
    call = Caller(server)
    await server.accounts.create("Ada", PASSWORD, role="user", actor="operator")
    return Scene(server, call, await call.login(), await call.login())


@pytest.fixture
async def scene(settings: Settings) -> AsyncIterator[Scene]:
    """A scene on SQLite, in real time."""
    async with AuthServer(settings) as server:
        yield await scene_on(server)


@pytest.fixture
def failing(scene: Scene) -> FailingConnection:
    """The writing connection, which can be made to fail."""
    storage = scene.server.graph.storage
    assert isinstance(storage, SqlStorage)
    database = storage._database
    assert isinstance(database, SqliteDatabase)
    connection = FailingConnection(database._writer._connection)  # type: ignore[arg-type]
    database._writer._connection = connection  # type: ignore[assignment]
    return connection


@pytest.fixture
def stored(scene: Scene) -> Iterator[sqlite3.Connection]:
    """A connection of the test's own, to look at what is stored."""
    # Through SQLite, never as a file: closing that would take away the locks of the server in this process.
    path: Path = scene.server.settings.data_dir / "tokenkeep.db"
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def contents(connection: sqlite3.Connection) -> list[list[Any]]:
    """Return every row that matters."""
    return [connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall() for table in TABLES]


@on_sqlite
@on_every_operation
async def test_a_failure_at_any_statement_leaves_nothing_behind(
    scene: Scene, failing: FailingConnection, stored: sqlite3.Connection, operation: Operation
):
    """Whichever statement fails, everything stays as it was and tokens as good as they were, until an attempt works."""
    before = contents(stored)
    statement = 1
    failing.fail_at(statement)
    while not await operation(scene):
        assert failing.failed
        assert contents(stored) == before
        assert [await scene.status(login) for login in (scene.first, scene.second)] == [200, 200]
        statement += 1
        failing.fail_at(statement)
    assert statement > 3
    assert (await scene.status(scene.first), await scene.status(scene.second)) == ENDS[operation]
    assert list(offences(stored)) == []
    assert contents(stored) != before


@on_sqlite
@on_every_operation
async def test_a_commit_that_only_seems_to_fail_is_whole(
    scene: Scene, failing: FailingConnection, stored: sqlite3.Connection, operation: Operation
):
    """What was committed although it was answered with 503 is wholly there, and known to every token check soon."""
    failing.fail_after_commit()
    assert not await operation(scene)
    assert failing.failed
    assert list(offences(stored)) == []
    await scene.server.graph.follow_revocations.poll()
    assert (await scene.status(scene.first), await scene.status(scene.second)) == ENDS[operation]
    if operation in {refresh, log_out}:
        assert await operation(scene)


@on_sqlite
async def test_a_refresh_after_a_commit_that_only_seemed_to_fail_gets_the_lost_answer(
    scene: Scene, failing: FailingConnection
):
    """The client tries again with the token it has, and gets the successor that is stored; nobody is logged out."""
    failing.fail_after_commit()
    assert not await refresh(scene)
    again = await scene.call("POST", "/refresh", cookie=scene.first.refresh)
    assert again.status_code == 200
    successor = Login.of(again)
    assert (await scene.call("POST", "/refresh", cookie=successor.refresh)).status_code == 200


@pytest.fixture
async def postgres_scene(postgres_settings: Settings) -> AsyncIterator[Scene]:
    """A scene on PostgreSQL."""
    async with AuthServer(postgres_settings) as server:
        yield await scene_on(server)


def fail_next_commit(monkeypatch: pytest.MonkeyPatch, *, late: bool) -> None:
    """Let PostgreSQL's next commit of a writing transaction break its connection, before or after it is done.

    A transaction of one change is committed by the statement that makes it.
    """
    name = "_Transaction__commit"
    commit, execute = getattr(asyncpg.transaction.Transaction, name), PostgresChange.execute

    async def fail(connection: Any, committing: Awaitable[Any]) -> None:
        monkeypatch.setattr(asyncpg.transaction.Transaction, name, commit)
        monkeypatch.setattr(PostgresChange, "execute", execute)
        with closing(committing):  # type: ignore[type-var]
            if late:
                await committing
        connection.terminate()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    async def fail_commit(transaction: Any) -> None:
        if transaction._readonly:
            await commit(transaction)
        else:
            await fail(transaction._connection, commit(transaction))

    async def fail_change(change: PostgresChange, sql: str, *values: Any) -> int:
        await fail(change._connection, execute(change, sql, *values))
        raise AssertionError

    monkeypatch.setattr(asyncpg.transaction.Transaction, name, fail_commit)
    monkeypatch.setattr(PostgresChange, "execute", fail_change)


@on_postgres
@on_every_operation
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
async def test_a_connection_that_breaks_at_the_commit_leaves_nothing_half_done(
    postgres_scene: Scene,
    postgres_schema: PostgresSchema,
    monkeypatch: pytest.MonkeyPatch,
    operation: Operation,
    late: bool,
):
    """On PostgreSQL too it is all or nothing, the answer is 503, and the next attempt uses a new connection."""
    scene = postgres_scene
    before = await rows(postgres_schema)
    fail_next_commit(monkeypatch, late=late)
    assert not await operation(scene)
    await scene.server.graph.follow_revocations.poll()
    if late:
        assert await rows(postgres_schema) != before
    else:
        assert await rows(postgres_schema) == before
        assert (await scene.status(scene.first), await scene.status(scene.second)) == (200, 200)
        assert await operation(scene)
    assert (await scene.status(scene.first), await scene.status(scene.second)) == ENDS[operation]


async def rows(schema: PostgresSchema) -> list[list[Any]]:
    """Return every row that matters."""
    found = [await schema.run(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]
    return [[tuple(row) for row in table] for table in found]
