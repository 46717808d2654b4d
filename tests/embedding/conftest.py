"""An application of somebody else, and the server that it embeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows import prepared
from tests.quick_hashes import quick_hashes
from tests.settable_clock import SettableClock
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

PASSWORD = "correct-horse-battery"
PREFIX = "/auth"

Embedded = Callable[..., AuthServer]


@pytest.fixture(autouse=True)
def passwords_in_no_time() -> Iterator[None]:
    """Servers in the process of the tests hash passwords in no time; what that costs is tested elsewhere."""
    with quick_hashes():
        yield


@pytest.fixture(scope="session")
def prepared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory after the first start, to be copied."""
    return prepared.prepare(tmp_path_factory.mktemp("prepared") / "data")


@pytest.fixture
def embedded(prepared_directory: Path, tmp_path: Path, clock: SettableClock) -> Embedded:
    """Makes a server that is not open yet, for an application that serves it under /auth."""

    def make(*, claims: Any = None, issuer: str = "http://127.0.0.1:8000" + PREFIX, **changes: Any) -> AuthServer:
        directory = prepared.copy(prepared_directory, tmp_path / "data")
        settings = Settings(issuer=issuer, data_dir=directory, **changes)
        return AuthServer(settings, clock=clock, claims=claims)

    return make
