"""A data directory that was made by a server, to be damaged in a copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.surroundings.forked import ForkedServer
from tests.system.surroundings.spoken import add_account

PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a server with the account Ada, which was stopped in good order."""
    with ForkedServer(tmp_path_factory.mktemp("made")) as server:
        server.start()
        add_account(server, "Ada", PASSWORD)
        assert server.stop() == 0
    return server.data


@pytest.fixture
def site(made: Path, tmp_path: Path) -> Iterator[ForkedServer]:
    """A server that has not been started, on a copy of those data."""
    shutil.copytree(made, tmp_path / "data")
    (tmp_path / "data").chmod(0o700)
    server = ForkedServer(tmp_path)
    yield server
    server.kill()
    server.data.chmod(0o700)
