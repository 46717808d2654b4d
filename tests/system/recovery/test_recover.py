"""A database that was put back to an older state: refused, and after `tokenkeep recover` nothing of it revives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from tests.system.conftest import SQLITE
from tests.system.server_process import ServerProcess
from tests.system.surroundings.forked import ForkedServer
from tests.system.surroundings.spoken import Said, add_account, say, serve
from tests.system.visitor import Visitor

pytestmark = SQLITE

PASSWORD: Final = "correct-horse-battery"
PUT_BACK: Final = (r"put back", r"tokenkeep recover")
UNMARKED: Final = (r"no high-water mark", *PUT_BACK, r"--allow-unmarked-database on")


@dataclass
class Past:
    """A server whose database was put back, and everything that was handed out before and after the backup."""

    server: ServerProcess
    cookies: list[str]
    tokens: list[str]
    keys: set[str]

    def check_all_dead(self) -> None:
        """Hold the running server to refusing everything that was ever handed out."""
        assert self.cookies
        for cookie in self.cookies:
            answer = self.server.request("POST", "/refresh", headers={"Cookie": f"refreshToken={cookie}"})
            assert answer.status_code == 401, answer.text
        for token in self.tokens:
            answer = self.server.request("GET", "/me", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401, answer.text

    def check_new_beginning(self) -> None:
        """Hold the running server to serving new logins, with new keys only."""
        ada = Visitor(self.server, "Ada", PASSWORD)
        assert ada.login().status_code == 200
        assert ada.signed_in()
        assert ada.refresh().status_code == 200
        assert not keys_of(self.server) & self.keys


def keys_of(server: ServerProcess) -> set[str]:
    """Return the ids of the published keys."""
    return {key["kid"] for key in server.request("GET", "/.well-known/jwks.json").json()["keys"]}


def command(server: ServerProcess, *words: str, typed: str = "") -> Said:
    """Run a command that must succeed."""
    said = say(server, *words, typed=typed)
    assert said.code == 0, said
    return said


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the accounts Ada, Bob and Cleo."""
    with ForkedServer(tmp_path_factory.mktemp("made")) as server:
        server.start()
        for name in ("Ada", "Bob", "Cleo"):
            add_account(server, name, PASSWORD)
        assert server.stop() == 0
    return server.data


@pytest.fixture
def server(made: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A running server with those accounts."""
    shutil.copytree(made, tmp_path / "data")
    with ForkedServer(tmp_path) as started:
        started.start()
        yield started


@pytest.fixture(scope="module")
def story(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """A stopped server with yesterday's database: sessions ended, tokens spent, an account disabled since."""
    directory = tmp_path_factory.mktemp("past")
    shutil.copytree(made, directory / "data")
    with ForkedServer(directory) as server:
        server.start()
        people = {name: Visitor(server, name, PASSWORD) for name in ("Ada", "Bob", "Cleo")}
        cookies: list[str | None] = []
        for visitor in people.values():
            assert visitor.login().status_code == 200
            cookies.append(visitor.cookie)
        assert server.stop() == 0
        shutil.copy(server.data / "tokenkeep.db", directory / "backup.db")
        server.start()
        assert people["Ada"].refresh().status_code == 200
        cookies.append(people["Ada"].cookie)
        assert people["Bob"].logout().status_code == 200
        command(server, "users", "disable", "Cleo")
        later = Visitor(server, "Bob", PASSWORD)
        assert later.login().status_code == 200
        cookies.append(later.cookie)
        keys = keys_of(server)
        assert server.stop() == 0
        put_back(server, directory / "backup.db")
        tokens = [text for who in (*people.values(), later) for text in who.handed_out if text.startswith("eyJ")]
        yield Past(server, [cookie for cookie in cookies if cookie], tokens, keys)


@pytest.fixture
def past(story: Past, tmp_path: Path) -> Iterator[Past]:
    """A copy of it."""
    shutil.copytree(story.server.data, tmp_path / "data")
    with ForkedServer(tmp_path) as server:
        # The same port: tokens are good for one issuer only.
        server.port, server.url, server.arguments = (
            story.server.port,
            story.server.url,
            [
                *story.server.arguments,
                "--data-dir",
                str(server.data),
            ],
        )
        yield replace(story, server=server)


def put_back(server: ServerProcess, backup: Path) -> None:
    """Put a backup in the place of the database."""
    for name in ("tokenkeep.db-wal", "tokenkeep.db-shm"):
        (server.data / name).unlink(missing_ok=True)
    shutil.copy(backup, server.data / "tokenkeep.db")


def test_a_database_that_was_put_back_is_refused_by_everything_but_recover(past: Past):
    """`serve`, `doctor` and commands say that it is older than what was served, and none makes it look newer."""
    for _ in range(2):
        serve(past.server).check_refusal(*PUT_BACK)
        say(past.server, "doctor").check_finding(*PUT_BACK)
        for words in (["users", "list"], ["users", "disable", "Ada"], ["users", "set-role", "Bob", "admin"]):
            say(past.server, *words).check_refusal(*PUT_BACK)


def test_after_recover_nothing_is_revived(past: Past):
    """Old cookies, access tokens and keys are dead, accounts are those of the backup, and a new login works."""
    said = command(past.server, "recover", typed="y\n")
    assert "ended 3 sessions and the access tokens of 3 accounts, replaced 2 signing keys" in "\n".join(said.lines)
    past.server.start()
    past.check_all_dead()
    past.check_new_beginning()
    assert Visitor(past.server, "Cleo", PASSWORD).login().status_code == 200
    assert past.server.stop() == 0
    past.server.start()
    past.check_all_dead()
    say(past.server, "doctor")


@pytest.mark.parametrize("typed", ["", "n\n", "\n"], ids=["nothing", "no", "the default"])
def test_recover_asks_before_it_ends_everything(past: Past, typed: str):
    """Without --yes, and without a yes, nothing changes and the exit code is not 0."""
    before = (past.server.data / "tokenkeep.db").read_bytes()
    said = say(past.server, "recover", typed=typed)
    assert said.code == 1
    assert "Everyone will have to log in again" in said.lines[0]
    assert (past.server.data / "tokenkeep.db").read_bytes() == before
    serve(past.server).check_refusal(*PUT_BACK)


def test_recover_is_refused_while_the_server_runs(server: ServerProcess):
    """It names the server that runs, and nobody is logged out."""
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    say(server, "recover", "--yes").check_refusal(rf"another server process uses {server.data}", r"stop it")
    assert ada.signed_in()
    assert ada.refresh().status_code == 200


def test_recover_can_be_repeated(past: Past):
    """A second one ends nothing more than the first, and the server starts after it."""
    for _ in range(2):
        command(past.server, "recover", "--yes")
    past.server.start()
    past.check_all_dead()
    past.check_new_beginning()


def test_a_database_copied_without_its_log_is_refused(server: ServerProcess, tmp_path: Path):
    """What is in the write-ahead log only is missing from such a copy; its absence is noticed."""
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    server.restart()
    assert ada.logout().status_code == 200
    shutil.copy(server.data / "tokenkeep.db", tmp_path / "copy.db")
    assert (server.data / "tokenkeep.db-wal").stat().st_size > 0
    assert server.stop() == 0
    put_back(server, tmp_path / "copy.db")
    serve(server).check_refusal(*PUT_BACK)


def test_what_commands_did_while_no_server_ran_counts_too(server: ServerProcess, tmp_path: Path):
    """A backup from before a command is refused although no server has seen what the command did."""
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    assert server.stop() == 0
    shutil.copy(server.data / "tokenkeep.db", tmp_path / "backup.db")
    command(server, "users", "disable", "Ada")
    put_back(server, tmp_path / "backup.db")
    serve(server).check_refusal(*PUT_BACK)


def test_what_a_server_did_last_counts_too(server: ServerProcess, tmp_path: Path):
    """A backup from before the last logout is refused although the server ended within the same second."""
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    assert server.stop() == 0
    shutil.copy(server.data / "tokenkeep.db", tmp_path / "backup.db")
    server.start()
    assert ada.logout().status_code == 200
    assert server.stop() == 0
    put_back(server, tmp_path / "backup.db")
    serve(server).check_refusal(*PUT_BACK)


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"epoch": "x", "number": "many"}', "\0" * 64])
def test_a_damaged_mark_is_no_way_around_it(past: Past, content: str):
    """A mark that cannot be read stops the server with both ways out; `recover` needs no mark, and writes a new one."""
    mark = past.server.data / "high-water-mark"
    mark.write_text(content)
    serve(past.server).check_refusal(r"high-water-mark is damaged", r"remove the file", r"tokenkeep recover")
    command(past.server, "recover", "--yes")
    assert json.loads(mark.read_text())["number"] >= 0
    past.server.start()
    past.check_all_dead()


def test_a_backup_in_a_new_directory_is_refused_until_recover(past: Past):
    """Where a new machine has the database and the secret, and no mark, nothing but recover works; nothing revives."""
    for name in ("high-water-mark", "high-water-mark.lock", "serve.lock", "worker.lock", ".gitignore"):
        (past.server.data / name).unlink()
    for _ in range(2):
        serve(past.server).check_refusal(*UNMARKED)
        say(past.server, "doctor").check_finding(*UNMARKED)
        for words in (["users", "list"], ["users", "disable", "Ada"]):
            say(past.server, *words).check_refusal(*UNMARKED)
    command(past.server, "recover", "--yes")
    past.server.start()
    past.check_all_dead()
    past.check_new_beginning()


def test_a_lost_mark_has_to_be_vouched_for(server: ServerProcess):
    """A server that lost its mark starts only when somebody says that the database is the newest, and the log tells."""
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    assert server.stop() == 0
    mark = server.data / "high-water-mark"
    before = mark.read_text()
    mark.unlink()
    serve(server).check_refusal(*UNMARKED)
    assert not mark.exists()
    logged = len(server.log)
    server.arguments += ["--allow-unmarked-database", "on"]
    server.start()
    assert "UNSAFE, allowed by allow_unmarked_database" in server.log[logged:]
    assert ada.refresh().status_code == 200
    assert mark.read_text() == before
    assert server.stop() == 0
    del server.arguments[-2:]
    logged = len(server.log)
    server.start()
    assert ada.refresh().status_code == 200
    assert "UNSAFE" not in server.log[logged:]
    assert server.stop() == 0


def test_vouching_is_for_what_has_no_mark(past: Past):
    """A database that the mark gives away is refused whatever anybody says."""
    past.server.arguments += ["--allow-unmarked-database", "on"]
    serve(past.server).check_refusal(*PUT_BACK)
