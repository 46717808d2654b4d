"""One version replaces another while people use it: the next one expands the database, the one before goes on.

The next version is made up: the present one, with migrations that it does not know.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.settable_clock import SettableClock
from tests.storage.contracts import execute, rows
from tests.system.server_process import ServerProcess, wait_until
from tests.system.surroundings.spoken import serve
from tests.system.visitor import Visitor
from tokenkeep.storage.sql import migrate as migrations
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.migrate import EXPANDING, Migration, known_migrations, migrate
from tokenkeep.storage.sql.postgres import PostgresDatabase
from tokenkeep.storage.sql.sqlite import SqliteDatabase

PASSWORD: Final = "correct-horse-battery"
CROWD: Final = 4
ROUNDS: Final = 3
"""How often each of them goes round before, and again after something happens."""
KNOWN: Final = known_migrations()
NEXT: Final = KNOWN[-1].number + 1
EXPANSION: Final = Migration(
    NEXT,
    f"{NEXT:04}_devices{EXPANDING}",
    """
CREATE TABLE devices (id TEXT NOT NULL PRIMARY KEY, account_id TEXT NOT NULL);

ALTER TABLE sessions ADD COLUMN device TEXT;

ALTER TABLE accounts ADD COLUMN devices BIGINT NOT NULL DEFAULT 0;

CREATE INDEX sessions_by_device ON sessions (device);
""",
)
CONTRACTION: Final = Migration(
    NEXT + 1, f"{NEXT + 1:04}_no_fingerprints", "ALTER TABLE sessions DROP COLUMN fingerprint;\n"
)


@contextmanager
def beside(server: ServerProcess) -> Iterator[tuple[asyncio.Runner, Database]]:
    """The database of a running server, opened beside it."""
    url = server._environ.get("TOKENKEEP_DATABASE_URL")
    embedded = SqliteDatabase(server.data / "tokenkeep.db", SettableClock())
    database: Database = PostgresDatabase(url) if url else embedded
    with asyncio.Runner() as runner:
        runner.run(database.open())
        yield runner, database
        runner.run(database.close())


def upgrade(server: ServerProcess, monkeypatch: pytest.MonkeyPatch, *steps: Migration) -> None:
    """Do to the database what a version that has these migrations too does when it starts."""
    with beside(server) as (runner, database), monkeypatch.context() as version:
        version.setattr(migrations, "known_migrations", lambda: [*KNOWN, *steps])
        assert runner.run(migrate(database))[-1] == steps[-1]


class Crowd:
    """People who log in, refresh and use their tokens again and again, until they may stop."""

    def __init__(self, visitors: list[Visitor]) -> None:
        self.visitors = visitors
        self.answers: Counter[tuple[str, int]] = Counter()
        self.rounds = [0] * len(visitors)
        self._stop = threading.Event()
        self._counting = threading.Lock()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Have them go round meanwhile; they stop when it is over, and none of them may have met an error."""
        with ThreadPoolExecutor(len(self.visitors)) as threads:
            going = [threads.submit(self._go_round, number) for number in range(len(self.visitors))]
            try:
                self.go_on()
                yield
                self.go_on()
            finally:
                self._stop.set()
            for each in going:
                each.result()

    def go_on(self) -> None:
        """Return when everyone has gone round some more times."""
        goals = [done + ROUNDS for done in self.rounds]
        wait_until(
            lambda: all(done >= goal for done, goal in zip(self.rounds, goals, strict=True)), "everyone has gone on"
        )

    def _go_round(self, number: int) -> None:
        visitor = self.visitors[number]
        while not self._stop.is_set():
            self._note("refresh", visitor.refresh())
            self._note("me", visitor.get("/me"))
            if self.rounds[number] % ROUNDS == 0:
                self._note("login", visitor.login())
            self.rounds[number] += 1

    def _note(self, kind: str, answer: Any) -> None:
        with self._counting:
            self.answers[kind, answer.status_code] += 1


@pytest.fixture
def crowd(server: ServerProcess) -> Crowd:
    """People who have logged in."""
    visitors = [Visitor(server, f"Visitor {number}", PASSWORD) for number in range(CROWD)]
    for visitor in visitors:
        server.add_user(visitor.name, PASSWORD)
        assert visitor.login().status_code == 200
    return Crowd(visitors)


@pytest.mark.slow
def test_people_do_not_notice_that_the_next_version_expands_the_database(
    server: ServerProcess, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
):
    """While the next version adds tables, columns and an index, every request to this one is answered as ever."""
    with crowd.busy():
        upgrade(server, monkeypatch, EXPANSION)
    assert {status for _, status in crowd.answers} == {200}, crowd.answers
    assert {kind for kind, _ in crowd.answers} == {"refresh", "me", "login"}
    assert '"level": "error"' not in server.log


@pytest.mark.slow
def test_the_version_before_starts_again_on_the_expanded_database(
    server: ServerProcess, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
):
    """The way back: this version serves what the next one has expanded and written, commands included, and keeps it."""
    upgrade(server, monkeypatch, EXPANSION)
    with beside(server) as (runner, database):
        assert runner.run(execute(database, "UPDATE sessions SET device = 'laptop'")) == CROWD
    server.restart()
    for visitor in crowd.visitors:
        assert visitor.refresh().status_code == 200
        assert visitor.get("/me").status_code == 200
    server.add_user("Late", PASSWORD)
    assert Visitor(server, "Late", PASSWORD).login().status_code == 200
    with beside(server) as (runner, database):
        kept = "SELECT count(*) AS kept FROM sessions WHERE device = 'laptop' AND generation > 0"
        assert runner.run(rows(database, kept)) == [{"kept": CROWD}]
    assert server.command("migrate").splitlines()[-1] == "the database is up to date"


@pytest.mark.slow
def test_the_version_before_does_not_start_on_what_was_contracted(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
):
    """A step that takes away what this version needs ends the way back: it says which, and that the newer is to run."""
    assert server.stop() == 0
    upgrade(server, monkeypatch, EXPANSION, CONTRACTION)
    refusal = rf"migration {CONTRACTION.number}, this version knows up to {KNOWN[-1].number}"
    serve(server).check_refusal(refusal, r"run the newer tokenkeep")
    told = server.run("users", "list")
    assert told.returncode == 1
    assert "run the newer tokenkeep" in told.stderr
