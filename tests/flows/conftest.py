"""The stage on which flows are tested: a real server on SQLite, and a clock to set."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.flows import prepared
from tests.flows.stage import Stage
from tests.quick_hashes import quick_hashes
from tests.settable_clock import SettableClock
from tokenkeep.domain.accounts import Account
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings


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
def settings(prepared_directory: Path, tmp_path: Path) -> Settings:
    """Settings of a server on SQLite that has been started once before."""
    return Settings(data_dir=prepared.copy(prepared_directory, tmp_path / "data"), hash_concurrency=1)


@pytest.fixture
def stage(server: AuthServer, clock: SettableClock) -> Stage:
    """An open server with an empty database."""
    return Stage(server, clock)


@pytest.fixture
async def ada(stage: Stage) -> Account:
    """The account Ada."""
    return await stage.add("Ada")


@pytest.fixture
async def command(stage: Stage, settings: Settings) -> AsyncIterator[AuthServer]:
    """A command that runs beside the server, on the same database."""
    beside = AuthServer(settings, clock=stage.clock)
    await beside.open_for_commands()
    yield beside
    await beside.close()
