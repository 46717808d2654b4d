"""The data directory: made by `serve` only, closed to others, and held by one server process at a time.

It holds the embedded database and the generated server secret, each readable by its owner only.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

from tokenkeep.storage.durable_file import replace_durably

_SECRET_SIZE: Final = 32


class DataDirectoryError(Exception):
    """The data directory cannot be used; the text says why, and what to do."""


class DataDirectory:
    """One data directory, by its absolute path."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    @property
    def database(self) -> Path:
        """The file of the embedded database."""
        return self.path / "tokenkeep.db"

    @property
    def secret(self) -> Path:
        """The file of the generated server secret."""
        return self.path / "secret"

    @property
    def mark(self) -> Path:
        """The file of the high-water mark."""
        return self.path / "high-water-mark"

    def create(self) -> None:
        """Make the directory if it is not there, and check that it is closed to others.

        Raises:
            DataDirectoryError: it cannot be made or written, or others may read it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", "utf-8")
        except OSError as error:
            raise DataDirectoryError(f"data directory {self.path} cannot be written: {error.strerror}") from None
        self.check_closed()

    def check_closed(self) -> None:
        """Return if nobody but its owner can look into the directory, and at the secret in it.

        Raises:
            DataDirectoryError: somebody can.
        """
        for path, mode in ((self.path, 700), (self.secret, 600), (self.database, 600)):
            if path.exists() and path.stat().st_mode & 0o077:
                raise DataDirectoryError(f"{path} is open to other users; close it with: chmod {mode} {path}")

    def require(self) -> None:
        """Return if the directory is there.

        Raises:
            DataDirectoryError: it is not; only `serve` makes one.
        """
        if not self.path.is_dir():
            raise DataDirectoryError(
                f"no data directory at {self.path}; start the server once with: tokenkeep serve "
                "(or name the right one with --data-dir)"
            )

    def read_secret(self) -> str | None:
        """Return the generated server secret, if there is one.

        Raises:
            DataDirectoryError: it cannot be read.
        """
        try:
            return self.secret.read_text("utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DataDirectoryError(f"server secret {self.secret} cannot be read: {type(error).__name__}") from None

    def create_secret(self, database: Path) -> str:
        """Generate the server secret, once, durably; returns it.

        Args:
            database: the file of the database that it is to protect.

        Raises:
            DataDirectoryError: that database is there, but its secret is gone; or the file cannot be written.
        """
        if database.exists():
            raise DataDirectoryError(
                f"{database} exists, but its server secret {self.secret} is missing: put the secret back, or "
                "set TOKENKEEP_SECRET to it; a new one could not open the stored signing keys"
            )
        text = secrets.token_urlsafe(_SECRET_SIZE)
        try:
            replace_durably(self.secret, text + "\n")
        except OSError as error:
            raise DataDirectoryError(f"server secret {self.secret} cannot be written: {error.strerror}") from None
        return text

    def lock(self) -> None:
        """Become the one server process of this directory, until `unlock` or the end of the process.

        Raises:
            DataDirectoryError: another process is.
        """
        try:
            handle = os.open(self.path / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataDirectoryError(f"{self.path / 'serve.lock'} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise DataDirectoryError(
                f"another server process uses {self.path}; stop it, or give this one its own --data-dir "
                "(several processes need PostgreSQL)"
            ) from None
        self._lock = handle

    def unlock(self) -> None:
        """Let another process serve."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
