"""A PostgreSQL whose every connection is taken: requests are told to come again, and none hangs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.api.caller import PASSWORD, Caller, assert_problem
from tests.postgres_server import PostgresSchema
from tokenkeep.flows.ports import Transaction
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.sql import postgres

pytestmark = [pytest.mark.postgres, pytest.mark.xdist_group("postgres")]

CONNECTIONS = 10
"""As many as a process takes at most."""


async def test_requests_get_no_connection_and_are_answered_in_time(
    postgres_schema: PostgresSchema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With all connections held for longer than the deadline: 503 with Retry-After, soon; then all is as before."""
    settings = Settings(
        database_url=Secret(postgres_schema.url),
        secret=Secret("a secret of thirty-two bytes, or more"),
        data_dir=tmp_path / "data",
        hash_concurrency=1,
    )
    async with AuthServer(settings) as server:
        call = Caller(server)
        await server.accounts.create("Ada", PASSWORD, role="user", actor="operator")
        session = await call.login()
        all_held, gate = asyncio.Barrier(CONNECTIONS + 1), asyncio.Event()

        async def hold(_tx: Transaction) -> None:
            await all_held.wait()
            await gate.wait()

        holding = [asyncio.create_task(server.graph.storage.transact(hold)) for _ in range(CONNECTIONS)]
        await all_held.wait()
        monkeypatch.setattr(postgres, "CONNECT_TIMEOUT", 0.2)
        asked_at = time.monotonic()
        *answers, ready = await asyncio.gather(
            *(call("POST", "/refresh", cookie=session.refresh) for _ in range(20)), call("GET", "/readyz")
        )
        assert time.monotonic() - asked_at < 5
        for answer in answers:
            assert_problem(answer, "storage_unavailable")
        assert_problem(ready, "storage_unavailable", missing=["database"])
        gate.set()
        await asyncio.gather(*holding)
        assert (await call("POST", "/refresh", cookie=session.refresh)).status_code == 200
        assert (await call("GET", "/readyz")).status_code == 200
