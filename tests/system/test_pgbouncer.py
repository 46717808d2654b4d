"""The server behind a PgBouncer in transaction mode, whose connections two processes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pgbouncer import pooled
from tests.postgres_server import PostgresSchema
from tests.system.conftest import SECRET, on_postgres
from tests.system.server_process import ServerProcess, wait_until
from tests.system.test_story import PASSWORD, tell
from tests.system.visitor import Visitor


@pytest.fixture
def server(postgres_schema: PostgresSchema, tmp_path: Path) -> Iterator[ServerProcess]:
    """A running server whose address leads through a PgBouncer."""
    with pooled(postgres_schema) as url:
        environ = {"TOKENKEEP_DATABASE_URL": url, "TOKENKEEP_SECRET": SECRET}
        with ServerProcess(tmp_path, environ=environ) as started:
            started.start()
            yield started


@on_postgres
@pytest.mark.slow
def test_the_story_is_the_same_behind_a_pooler(server: ServerProcess):
    """Login, refresh, logout and what they end, and the commands beside the server; a restart finds all of it."""
    ada, bob = Visitor(server, "Ada", PASSWORD), Visitor(server, "Bob", PASSWORD)
    for _ in tell(server, ada, bob):
        pass
    server.command("sessions", "revoke", "Bob")
    wait_until(lambda: not bob.signed_in(), "the server knows what the command has ended")
    assert bob.refresh().status_code == 401
    server.restart()
    assert bob.login().status_code == 200
    assert server.stop() == 0
    assert '"level": "error"' not in server.log
