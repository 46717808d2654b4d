"""The data directory: made by `serve` only, closed to others, and held by one server at a time.

It holds the embedded database and the generated server secret, each readable by its owner only.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

from tokenkeep.storage.durable_file import replace_durably
from tokenkeep.storage.file_access import NotTrusted, check_owner, explain

PUT_BACK: Final = (
    "put the secret back, or set TOKENKEEP_SECRET to it (if it is lost for good: tokenkeep secret generate, "
    "then tokenkeep recover)"
)
"""What to do about a server secret that is not the one of the data."""

_SECRET_SIZE: Final = 32


class DataDirectoryError(Exception):
    """The data directory cannot be used; the text says why, and what to do."""


class DataDirectory:
    """One data directory, by its absolute path."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._locks: list[int] = []

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

    def exists(self) -> bool:
        """Tell whether anything is in the place of the directory."""
        return os.path.lexists(self.path)

    def create(self) -> None:
        """Make the directory if it is not there, and check that it is ours and closed to others.

        Raises:
            DataDirectoryError: it cannot be made or written, is another user's, or others may read it.
        """
        if not self.exists():
            try:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise DataDirectoryError(
                    f"data directory {explain(self.path, 'made', error)}; another one can be named with --data-dir"
                ) from None
        # Nothing is written into a directory that somebody else has put there.
        self.check_closed()
        ignore = self.path / ".gitignore"
        if not ignore.exists():
            try:
                replace_durably(ignore, "*\n")
            except OSError as error:
                raise DataDirectoryError(f"data directory {explain(self.path, 'written', error)}") from None

    def check_closed(self) -> None:
        """Return if it is a directory of the user who runs this, and nobody else can look into it.

        Raises:
            DataDirectoryError: it is not.
        """
        if self.exists() and not self.path.is_dir():
            raise DataDirectoryError(
                f"data directory {self.path} is not a directory: move that away, or name another with --data-dir"
            )
        for path, mode in ((self.path, 700), (self.secret, 600), (self.database, 600)):
            try:
                check_owner(path)
                opened = path.stat().st_mode & 0o077
            except FileNotFoundError:
                continue
            except NotTrusted as error:
                raise DataDirectoryError(str(error)) from None
            except OSError as error:
                raise DataDirectoryError(f"data directory {explain(self.path, 'opened', error)}") from None
            if opened:
                raise DataDirectoryError(f"{path} is open to other users; close it with: chmod {mode} {path}")

    def require(self) -> None:
        """Return if the directory is there, ours, and closed to others.

        Raises:
            DataDirectoryError: it is not; only `serve` makes one.
        """
        if not self.exists():
            raise DataDirectoryError(
                f"no data directory at {self.path}; start the server once with: tokenkeep serve "
                "(or name the right one with --data-dir)"
            )
        self.check_closed()

    def read_secret(self) -> str | None:
        """Return the generated server secret, if there is one.

        Raises:
            DataDirectoryError: it cannot be read, or is empty.
        """
        try:
            text = self.secret.read_text("utf-8").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataDirectoryError(f"server secret {explain(self.secret, 'read', error)}") from None
        except UnicodeDecodeError:
            raise DataDirectoryError(f"server secret {self.secret} cannot be read: it is no text; {PUT_BACK}") from None
        if not text:
            raise DataDirectoryError(f"server secret {self.secret} is empty; {PUT_BACK}")
        return text

    def require_secret(self) -> str:
        """Return the generated server secret.

        Raises:
            DataDirectoryError: it is missing, cannot be read, or is empty.
        """
        text = self.read_secret()
        if text is None:
            raise DataDirectoryError(f"server secret {self.secret} is missing; {PUT_BACK}")
        return text

    def create_secret(self, database: Path) -> str:
        """Generate the server secret, once, durably; returns it.

        Args:
            database: the file of the database that it is to protect.

        Raises:
            DataDirectoryError: that database is there, but its secret is gone; or the file cannot be written.
        """
        if database.exists():
            return self.require_secret()
        text = secrets.token_urlsafe(_SECRET_SIZE)
        try:
            replace_durably(self.secret, text + "\n")
        except OSError as error:
            raise DataDirectoryError(f"server secret {explain(self.secret, 'written', error)}") from None
        return text

    def has_node(self) -> bool:
        """Tell whether a server of a database elsewhere has been at work from here."""
        return (self.path / "node").exists()

    def node(self) -> str:
        """Return what names this directory among those that serve one database, making it if it is not there.

        Raises:
            DataDirectoryError: the file cannot be read or written.
        """
        path = self.path / "node"
        try:
            if not path.exists():
                replace_durably(path, secrets.token_urlsafe(12) + "\n")
            return path.read_text("utf-8").strip()
        except OSError as error:
            raise DataDirectoryError(explain(path, "written", error)) from None

    def lock(self) -> None:
        """Become the one server of this directory, until `unlock` or the end of the process.

        Raises:
            DataDirectoryError: another process is, or a worker of one that was killed has not ended yet.
        """
        self._locks.append(self._take("serve.lock", fcntl.LOCK_EX))
        try:
            os.close(self._take("worker.lock", fcntl.LOCK_EX))
        except DataDirectoryError:
            self.unlock()
            raise

    def lock_for_worker(self) -> None:
        """Keep other servers away as a worker of the one server, until the end of the process.

        A worker outlives a server that is killed by a second. It does not rely on a lock that it may have inherited:
        whether it has depends on how processes are started here.

        Raises:
            DataDirectoryError: a server is just starting.
        """
        self._locks.append(self._take("worker.lock", fcntl.LOCK_SH))

    def unlock(self) -> None:
        """Let another process serve."""
        while self._locks:
            os.close(self._locks.pop())

    def _take(self, name: str, kind: int) -> int:
        try:
            handle = os.open(self.path / name, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataDirectoryError(explain(self.path / name, "written", error)) from None
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise DataDirectoryError(
                f"another server process uses {self.path}; stop it, or give this one its own --data-dir "
                "(several processes on one database need PostgreSQL and Redis)"
            ) from None
        return handle
