"""A server with two accounts, as requests see it: Ada, a user, and Root, an administrator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.caller import PASSWORD, Caller
from tests.flows import prepared
from tests.quick_hashes import quick_hashes
from tests.settable_clock import SettableClock
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings


@pytest.fixture(autouse=True)
def passwords_in_no_time() -> Iterator[None]:
    """Servers in the process of the tests hash passwords in no time; what that costs is tested elsewhere."""
    with quick_hashes():
        yield


@pytest.fixture(scope="session")
def prepared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with both accounts, to be copied."""
    directory = prepared.prepare(tmp_path_factory.mktemp("prepared") / "data")

    async def add_accounts() -> None:
        async with AuthServer(Settings(data_dir=directory), clock=SettableClock()) as server:
            await server.accounts.create("Ada", PASSWORD, role="user", actor="operator")
            await server.accounts.create("Root", PASSWORD, role="admin", actor="operator")

    with quick_hashes():
        asyncio.run(add_accounts())
    return directory


@pytest.fixture
def settings(prepared_directory: Path, tmp_path: Path) -> Settings:
    """Settings of a server whose database holds both accounts."""
    return Settings(data_dir=prepared.copy(prepared_directory, tmp_path / "data"), hash_concurrency=1)


@pytest.fixture
def call(server: AuthServer) -> Caller:
    """A caller from elsewhere."""
    return Caller(server)
