"""The high-water mark: how far the list of revocations had come, kept outside the database.

A database that is behind it has been put back to an older state. The mark is written after the commit it tells of,
so that it is never ahead of a database that was only stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenkeep.domain.history import MarkUnavailable, Position
from tokenkeep.storage.durable_file import replace_durably
from tokenkeep.storage.file_access import explain


class FileMark:
    """The mark in a file of the data directory, for the server and the commands beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Position | None:
        """Return the mark; None if there is none yet.

        Raises:
            MarkUnavailable: the file cannot be read, or does not hold a mark.
        """
        try:
            members = json.loads(self._path.read_text("utf-8"))
            return Position(str(members["epoch"]), int(members["number"]), str(members.get("last", "")))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MarkUnavailable(explain(self._path, "read", error)) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise MarkUnavailable(
                f"{self._path} is damaged: if the database was put back to an older state, run: tokenkeep recover; "
                "if it is the newest one, remove the file and start once with: --allow-unmarked-database on"
            ) from None

    def write(self, position: Position) -> None:
        """Replace the mark, whole or not at all; within an epoch it never moves back, whoever else writes it.

        Raises:
            MarkUnavailable: the file cannot be written.
        """
        try:
            with self._held():
                if not self._is_past(position):
                    members = {"epoch": position.epoch, "number": position.number, "last": position.last}
                    replace_durably(self._path, json.dumps(members) + "\n")
        except OSError as error:
            raise MarkUnavailable(explain(self._path, "written", error)) from None

    def _is_past(self, position: Position) -> bool:
        try:
            known = self.read()
        except MarkUnavailable:
            return False
        return known is not None and known.epoch == position.epoch and known.number > position.number

    @contextmanager
    def _held(self) -> Iterator[None]:
        handle = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class MemoryMark:
    """The mark where there is no directory to keep it in: it ends with the process."""

    def __init__(self) -> None:
        self._position: Position | None = None

    def read(self) -> Position | None:
        """Return the mark; None if there is none yet."""
        return self._position

    def write(self, position: Position) -> None:
        """Replace the mark."""
        self._position = position
