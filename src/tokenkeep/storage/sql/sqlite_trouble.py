"""What the errors of SQLite mean for an operator: the file, what is wrong with it, and what to do, in one line."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

_MEANINGS: Final = {
    sqlite3.SQLITE_BUSY: "another process has begun to write it and does not end; find that with: fuser {path}",
    sqlite3.SQLITE_LOCKED: "another process has begun to write it and does not end; find that with: fuser {path}",
    sqlite3.SQLITE_READONLY: "run this as the owner of file and directory, or mend their permissions",
    sqlite3.SQLITE_CANTOPEN: "run this as the owner of file and directory, or mend their permissions",
    sqlite3.SQLITE_PERM: "run this as the owner of file and directory, or mend their permissions",
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "the disk is full or failing: make room on it, and look into the log of the system",
    sqlite3.SQLITE_CORRUPT: "it is damaged: stop the server, put back a backup, and run: tokenkeep recover",
    sqlite3.SQLITE_NOTADB: "it is damaged: stop the server, put back a backup, and run: tokenkeep recover",
}
_PRIMARY: Final = 0xFF
"""The bits of an error code that hold its kind; those above tell variants apart."""


def explain(path: Path, error: sqlite3.Error) -> str:
    """Return in one line what SQLite says of the database in a file, and what to do where that is known."""
    found = f"SQLite: {path}: {error}"
    # An error that Python's module raises by itself has no code.
    meaning = _MEANINGS.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY)
    return f"{found}; {meaning.format(path=path)}" if meaning else found
