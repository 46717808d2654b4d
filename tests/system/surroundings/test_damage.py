"""Data that cannot be served: `serve` and `doctor` name the cause and the way out, and touch nothing."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.another_user import give_away
from tests.system.conftest import SQLITE
from tests.system.server_process import ServerProcess
from tests.system.surroundings.spoken import say, serve

pytestmark = SQLITE

PAGE: Final = 4096
KEPT: Final = ("secret", "tokenkeep.db", "high-water-mark")
"""The files that no refusal may change."""

DAMAGED: Final = (r"tokenkeep\.db", r"not a database|malformed|damaged", r"backup", r"tokenkeep recover")
CLOSED: Final = (r"permission|read-?only", r"owner|chmod|permissions")


def damage_the_header(data: Path) -> None:
    """Overwrite the first bytes of the database."""
    with (data / "tokenkeep.db").open("r+b") as file:
        file.write(b"\xff" * 64)


def damage_the_middle(data: Path) -> None:
    """Overwrite every page but the first two, as a dying disk might."""
    database = data / "tokenkeep.db"
    with database.open("r+b") as file:
        file.seek(2 * PAGE)
        file.write(b"\xa5" * (database.stat().st_size - 2 * PAGE))


def cut_off_the_end(data: Path) -> None:
    """Leave two pages and a bit of the database, as an interrupted copy would."""
    os.truncate(data / "tokenkeep.db", 2 * PAGE + 100)


def put_a_letter_in_its_place(data: Path) -> None:
    """Put text where the database should be."""
    (data / "tokenkeep.db").write_text("Dear operator, how are you?\n" * 1000)


def upgrade(data: Path) -> None:
    """Leave the trace of a later version's migration."""
    connection = sqlite3.connect(data / "tokenkeep.db")
    with connection:
        connection.execute("INSERT INTO migrations (number, name, checksum, applied_at) VALUES (9999, 'later', 'x', 0)")
    connection.close()


def damage_the_mark(data: Path) -> None:
    """Cut the high-water mark."""
    (data / "high-water-mark").write_text('{"epoch": "')


def lose_the_secret(data: Path) -> None:
    """Remove the generated secret."""
    (data / "secret").unlink()


def empty_the_secret(data: Path) -> None:
    """Leave the generated secret's file, and nothing in it."""
    (data / "secret").write_text("")


def cut_the_secret(data: Path) -> None:
    """Lose the second half of the generated secret."""
    secret = data / "secret"
    secret.write_text(secret.read_text()[:20])


def replace_the_secret(data: Path) -> None:
    """Put another secret in the place of the right one."""
    (data / "secret").write_text(secrets.token_urlsafe(32))


def scramble_the_secret(data: Path) -> None:
    """Put something that is no text in the place of the secret."""
    (data / "secret").write_bytes(b"\xff\xfe" * 20)


def open_the_directory(data: Path) -> None:
    """Let others look into the directory."""
    data.chmod(0o755)


def open_the_secret(data: Path) -> None:
    """Let others read the secret."""
    (data / "secret").chmod(0o644)


def open_the_database(data: Path) -> None:
    """Let others read the database."""
    (data / "tokenkeep.db").chmod(0o640)


def close_the_secret(data: Path) -> None:
    """Let nobody read the secret."""
    (data / "secret").chmod(0)


def close_the_directory(data: Path) -> None:
    """Let nobody into the directory."""
    data.chmod(0)


def make_the_database_read_only(data: Path) -> None:
    """Let nobody write the database."""
    (data / "tokenkeep.db").chmod(0o400)


def make_the_directory_read_only(data: Path) -> None:
    """Let nobody make files in the directory."""
    data.chmod(0o500)


def put_a_file_in_its_place(data: Path) -> None:
    """Put a file where the directory should be."""
    shutil.rmtree(data)
    data.write_text("")


CASES: Final[list[tuple[Callable[[Path], None], tuple[str, ...]]]] = [
    (damage_the_header, DAMAGED),
    (damage_the_middle, DAMAGED),
    (cut_off_the_end, DAMAGED),
    (put_a_letter_in_its_place, DAMAGED),
    (upgrade, (r"migration 9999", r"newer tokenkeep")),
    (damage_the_mark, (r"high-water-mark is damaged", r"remove the file", r"tokenkeep recover")),
    (lose_the_secret, (r"data/secret is missing", r"put the secret back")),
    (empty_the_secret, (r"data/secret is (missing|empty)", r"put the secret back")),
    (cut_the_secret, (r"data/secret", r"32 bytes", r"put .*back")),
    (replace_the_secret, (r"signing key", r"secret", r"put .*back|previous_secrets", r"tokenkeep recover")),
    (scramble_the_secret, (r"data/secret cannot be read", r"put .*back")),
    (open_the_directory, (r"open to other users", r"chmod 700 .*/data")),
    (open_the_secret, (r"open to other users", r"chmod 600 .*/data/secret")),
    (open_the_database, (r"open to other users", r"chmod 600 .*/data/tokenkeep\.db")),
    (close_the_secret, (r"data/secret", *CLOSED)),
    (close_the_directory, (r"/data", *CLOSED)),
    (make_the_database_read_only, (r"tokenkeep\.db", *CLOSED)),
    (make_the_directory_read_only, (r"/data", *CLOSED)),
    (put_a_file_in_its_place, (r"/data", r"not a directory", r"--data-dir|data_dir")),
]


def digests(data: Path) -> dict[str, str]:
    """Return the digest of each file that no refusal may change."""
    return {name: hashlib.sha256((data / name).read_bytes()).hexdigest() for name in KEPT if (data / name).is_file()}


@pytest.mark.parametrize(("damage", "words"), CASES, ids=[damage.__name__ for damage, _ in CASES])
def test_serve_and_doctor_tell_what_is_wrong_and_what_to_do(
    site: ServerProcess, damage: Callable[[Path], None], words: tuple[str, ...]
):
    """Both say it in words that an operator can act on, end with 1, and leave secret, database and mark alone."""
    damage(site.data)
    mode = site.data.stat().st_mode & 0o777
    before = digests(site.data)
    serve(site, powerless=True).check_refusal(*words)
    say(site, "doctor", powerless=True).check_finding(*words)
    assert digests(site.data) == before
    assert site.data.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_data_of_another_user_are_not_touched(site: ServerProcess, monkeypatch: pytest.MonkeyPatch):
    """A data directory that somebody else has put there is neither believed nor written, by anything."""
    give_away(site.data, monkeypatch)
    (site.data / ".gitignore").unlink()
    before = sorted(site.data.iterdir())
    told = (r"/data belongs to user", r"run it as that user")
    serve(site).check_refusal(*told)
    for words in (["users", "list"], ["migrate"], ["recover", "--yes"]):
        say(site, *words).check_refusal(*told)
    say(site, "doctor").check_finding(*told)
    assert sorted(site.data.iterdir()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_settings_of_another_user_are_not_believed(site: ServerProcess, monkeypatch: pytest.MonkeyPatch):
    """A settings file that somebody else has put where a command is run ends the command."""
    planted = site.directory / "tokenkeep.toml"
    planted.write_text('log_level = "error"')
    give_away(planted, monkeypatch)
    told = (r"settings file tokenkeep\.toml belongs to user", r"run it as that user")
    serve(site).check_refusal(*told)
    for words in (["users", "list"], ["doctor"], ["recover", "--yes"]):
        say(site, *words).check_refusal(*told)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path):
    """Where the data directory cannot be made, its path and the reason are said, and nothing is left behind."""
    site = ServerProcess(tmp_path)
    tmp_path.chmod(0o500)
    try:
        serve(site, powerless=True).check_refusal(r"/data cannot be (made|written)", r"permission", r"--data-dir|owner")
    finally:
        tmp_path.chmod(0o700)
    assert not site.data.exists()


def test_commands_beside_no_server_leave_nothing_behind(tmp_path: Path):
    """Before the first start, no command makes a directory or a database; they say how to make one."""
    site = ServerProcess(tmp_path, environ={"TOKENKEEP_SECRET": secrets.token_urlsafe(32)})
    say(site, "users", "list").check_refusal(r"no data directory at .*/data", r"tokenkeep serve")
    assert not site.data.exists()
    site.data.mkdir(mode=0o700)
    for words in (["users", "list"], ["recover", "--yes"]):
        say(site, *words).check_refusal(r"no database at .*/data/tokenkeep\.db", r"tokenkeep serve")
    say(site, "doctor")
    assert not (site.data / "tokenkeep.db").exists()


def test_what_was_said_is_enough_to_mend_it(site: ServerProcess):
    """After the permissions are set as the message says, the server starts."""
    site.data.chmod(0o755)
    (site.data / "secret").chmod(0o644)
    for _ in range(2):
        said = serve(site)
        said.check_refusal(r"chmod")
        mode, path = said.lines[0].split()[-2:]
        Path(path).chmod(int(mode, 8))
    site.start()
    assert site.stop() == 0
