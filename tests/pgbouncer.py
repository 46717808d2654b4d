"""A real PgBouncer in transaction mode before a PostgreSQL that listens on a unix socket; skips where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ports import free_port
from tests.postgres_server import PostgresSchema

LONGEST_START: Final = 30.0
SESSIONS: Final = 3
"""Connections to the database that all transactions share: few, so that each of ours gets another's."""


def program() -> str:
    """Return the program; skips the test if it is not installed."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip("pgbouncer is not installed")
    return found


@contextmanager
def pooled(schema: PostgresSchema, *, sessions: int = SESSIONS, first: str = "") -> Iterator[str]:
    """Run a PgBouncer before a schema, and give the address that leads through it.

    Args:
        first: what it does in each connection to the database before anybody may use it.
    """
    command = program()
    place = parse_qs(urlsplit(schema.url).query).get("host")
    if place is None:
        pytest.skip("the server is reached over TCP")
    port = free_port()
    # Whoever may read the server's socket; as root it would refuse to run.
    owner = Path(place[0], ".s.PGSQL.5432").owner()
    with tempfile.TemporaryDirectory(prefix="tokenkeep-") as name:
        directory = Path(name)
        settings = directory / "pgbouncer.ini"
        settings.write_text(f"""
[databases]
pooled = host={place[0]} dbname=postgres user=postgres connect_query='SET search_path TO {schema.name}; {first}'

[pgbouncer]
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 500
auth_type = any
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
""")
        directory.chmod(0o755)
        settings.chmod(0o644)
        user = ["--user", owner] if os.geteuid() == 0 else []
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([command, *user, str(settings)], stdout=log, stderr=log)
        try:
            _wait_for(port, process, directory / "log")
            yield f"postgresql://somebody@127.0.0.1:{port}/pooled?pgbouncer=true"
        finally:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LONGEST_START
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
