"""The high-water mark: how far the list of revocations had come, kept outside the database.

A database that is behind it has been put back to an older state. The mark is written after the commit it tells of,
so that it is never ahead of a database that was only stopped.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenkeep.domain.history import Position
from tokenkeep.storage.data_directory import DataDirectoryError
from tokenkeep.storage.durable_file import replace_durably


class FileMark:
    """The mark in a file of the data directory (port `HighWaterMark`)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Position | None:
        """Return the mark; None if there is none yet.

        Raises:
            DataDirectoryError: the file cannot be read, or does not hold a mark.
        """
        try:
            members = json.loads(self._path.read_text("utf-8"))
            return Position(str(members["epoch"]), int(members["number"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError):
            raise DataDirectoryError(
                f"{self._path} is damaged. If the database was not put back to an older state, remove the file; "
                "otherwise run: tokenkeep recover"
            ) from None

    def write(self, position: Position) -> None:
        """Replace the mark, whole or not at all.

        Raises:
            DataDirectoryError: the file cannot be written.
        """
        try:
            replace_durably(self._path, json.dumps({"epoch": position.epoch, "number": position.number}) + "\n")
        except OSError as error:
            raise DataDirectoryError(f"{self._path} cannot be written: {error.strerror}") from None


class MemoryMark:
    """The mark where there is no directory to keep it in: it ends with the process (port `HighWaterMark`)."""

    def __init__(self) -> None:
        self._position: Position | None = None

    def read(self) -> Position | None:
        """Return the mark; None if there is none yet."""
        return self._position

    def write(self, position: Position) -> None:
        """Replace the mark."""
        self._position = position
