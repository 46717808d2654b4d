"""What the errors of SQLite are told as: real ones, each with its file, its cause and what to do."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tokenkeep.storage.sql.sqlite_trouble import explain


def held(path: Path) -> None:
    """Write while another connection does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        write(sqlite3.connect(path, timeout=0))


def read_only(path: Path) -> None:
    """Write to what may only be read."""
    write(sqlite3.connect(f"file:{path}?mode=ro", uri=True))


def full(path: Path) -> None:
    """Write more than there is room for."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA max_page_count = 1")
    write(connection, "x" * 100_000)


def missing(path: Path) -> None:
    """Open what is not there and cannot be made."""
    write(sqlite3.connect(path / "below a file"))


def cut_off(path: Path) -> None:
    """Read what has lost its second page."""
    os.truncate(path, 4096)
    write(sqlite3.connect(path))


def overwritten(path: Path) -> None:
    """Read what is no database any more."""
    path.write_bytes(b"\xff" * 4096)
    write(sqlite3.connect(path))


def write(connection: sqlite3.Connection, text: str = "x") -> None:
    """Try to write a row."""
    with closing(connection):
        connection.execute("INSERT INTO things VALUES (?)", [text])


@pytest.mark.parametrize(
    ("happen", "words"),
    [
        (held, ("locked", "another process", "fuser")),
        (read_only, ("readonly", "owner", "permissions")),
        (full, ("full", "make room")),
        (missing, ("unable to open", "owner")),
        (cut_off, ("malformed", "put back a backup", "tokenkeep recover")),
        (overwritten, ("not a database", "put back a backup", "tokenkeep recover")),
    ],
)
def test_an_error_is_told_with_its_file_and_a_way_out(
    tmp_path: Path, happen: Callable[[Path], None], words: tuple[str, ...]
):
    """One line names the file, says what SQLite says, and what to do."""
    path = tmp_path / "tokenkeep.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things (text TEXT)")
    with pytest.raises(sqlite3.DatabaseError) as caught:
        happen(path)
    told = explain(path, caught.value)
    assert told.startswith(f"SQLite: {path}: {caught.value}; ")
    assert [word for word in words if word not in told] == []
    assert "\n" not in told


def test_a_failing_disk_is_told():
    """An input/output error, in any of its variants, is the disk's."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    assert "the disk is full or failing" in explain(Path("x.db"), error)


def test_other_errors_are_told_as_they_are():
    """Where SQLite has nothing to say about the surroundings, no way out is made up."""
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("SELECT * FROM absent")
    assert explain(Path("x.db"), caught.value) == "SQLite: x.db: no such table: absent"
    assert explain(Path("x.db"), sqlite3.OperationalError("as it is")) == "SQLite: x.db: as it is"
