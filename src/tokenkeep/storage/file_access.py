"""Whether what lies on the disk may be believed, and how trouble with it is told: what is so, and what to do.

Not here: which files there are (`storage.data_directory`, `settings.sources`).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_ROOT: Final = 0
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH

_WAYS_OUT: Final = {
    errno.EACCES: "run this as its owner, or mend its permissions",
    errno.EPERM: "run this as its owner, or mend its permissions",
    errno.EROFS: "the file system is read-only: mount it so that it can be written",
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within the quota of the disk",
    errno.EIO: "the disk may be failing: look into the log of the system",
}


class NotTrusted(Exception):
    """A file that somebody else can have written; the text says who, and what to do."""


def explain(path: Path, verb: str, error: OSError) -> str:
    """Return in one line that `path` cannot be read, made or written, why, and what to do where that is known."""
    found = f"{path} cannot be {verb}: {error.strerror}"
    way_out = _WAYS_OUT.get(error.errno or 0)
    return f"{found}; {way_out}" if way_out else found


def check_owner(path: Path) -> None:
    """Return if this user or root has put there what is at `path`, and the link that leads to it.

    Whoever else has would choose the secret, the database or the settings.

    Raises:
        NotTrusted: another user has.
        OSError: it cannot be looked at.
    """
    for status in (path.lstat(), path.stat()):
        _check_owner(path, status)


def read_trusted(path: Path) -> str:
    """Return the text of a file that nobody but this user and root can have written.

    Raises:
        NotTrusted: somebody else can.
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text.
    """
    check_owner(path)
    with path.open(encoding="utf-8") as file:
        # Of the file that is open, since the one of that name may be another by now.
        status = os.fstat(file.fileno())
        _check_owner(path, status)
        if status.st_mode & _WRITABLE_BY_OTHERS:
            raise NotTrusted(f"{path} can be written by other users; close it with: chmod go-w {path}")
        return file.read()


def _check_owner(path: Path, status: os.stat_result) -> None:
    mine = os.geteuid()
    if status.st_uid not in {mine, _ROOT}:
        raise NotTrusted(
            f"{path} belongs to user {status.st_uid}, but this runs as user {mine}: run it as that user, "
            f"or if you trust what is there: chown -h {mine} {path}"
        )
