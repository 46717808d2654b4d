"""A database that was put back: noticed at the next start, and made safe by recovering."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.flows.stage import PASSWORD, Stage
from tests.postgres_server import PostgresSchema
from tests.settable_clock import SettableClock
from tokenkeep.domain.errors import InvalidRefreshToken, NoValidRefreshToken, StorageUnavailable
from tokenkeep.domain.history import MarkUnavailable, RolledBack
from tokenkeep.flows import keep_history
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.data_directory import DataDirectoryError
from tokenkeep.storage.high_water_mark import FileMark


def back_up(settings: Settings, directory: Path) -> None:
    """Copy the database of a server that is closed."""
    directory.mkdir()
    for file in settings.data_dir.glob("tokenkeep.db*"):
        shutil.copy(file, directory / file.name)


def put_back(settings: Settings, directory: Path) -> None:
    """Replace the database by its copy; the rest of the data directory stays."""
    for file in settings.data_dir.glob("tokenkeep.db*"):
        file.unlink()
    for file in directory.iterdir():
        shutil.copy(file, settings.data_dir / file.name)


async def test_old_copy_is_not_served(settings: Settings, clock: SettableClock, tmp_path: Path):
    """A database from before a revocation is refused at the start, and the newest state is still accepted."""
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
    back_up(settings, tmp_path / "old")
    async with AuthServer(settings, clock=clock) as server:
        await Stage(server, clock).logout(pair.refresh_token)
        await server.graph.history.keep()
    back_up(settings, tmp_path / "new")
    put_back(settings, tmp_path / "old")
    with pytest.raises(RolledBack, match="recover"):
        async with AuthServer(settings, clock=clock):
            pass
    put_back(settings, tmp_path / "new")
    async with AuthServer(settings, clock=clock) as server:
        assert not Stage(server, clock).accepts(pair)


async def test_history_that_lost_its_end_and_went_on_is_not_served(settings: Settings, clock: SettableClock):
    """A database whose numbers have caught up is refused as well, while it is served and at the next start."""
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        lost, later = await stage.login(), await stage.login()
        await stage.logout(lost.refresh_token)
        await server.graph.history.keep()
        await stage.execute("DELETE FROM revocations")
        await stage.execute("UPDATE revocation_head SET number = 0")
        beside = AuthServer(settings, clock=clock)
        await beside.open_for_commands()
        await Stage(beside, clock).logout(later.refresh_token)  # by a process that has noticed nothing
        await beside.close()
        for _ in range(2):
            with pytest.raises(RolledBack, match="gone on from there"):
                await server.graph.history.keep()
    with pytest.raises(RolledBack, match=r"gone on from there.*recover .*the data directory"):
        async with AuthServer(settings, clock=clock):
            pass
    recovering = AuthServer(settings, clock=clock)
    await recovering.recover()
    async with AuthServer(settings, clock=clock) as server:
        assert await Stage(server, clock).login()


async def test_a_history_without_a_mark_is_not_served(
    settings: Settings, clock: SettableClock, caplog: pytest.LogCaptureFixture
):
    """In a directory that has no mark of it a database with a history is refused, until somebody vouches for it."""
    async with AuthServer(settings, clock=clock) as server:
        await Stage(server, clock).add()
    mark = settings.data_dir / "high-water-mark"
    before = mark.read_text()
    mark.unlink()
    for _ in range(2):
        with pytest.raises(RolledBack, match="--allow-unmarked-database on"):
            async with AuthServer(settings, clock=clock):
                pass
        assert not mark.exists()
    async with AuthServer(replace(settings, allow_unmarked_database=True), clock=clock) as server:
        assert await Stage(server, clock).login()
    assert "UNSAFE, allowed by allow_unmarked_database" in caplog.text
    assert mark.read_text() == before
    async with AuthServer(settings, clock=clock) as server:
        assert await Stage(server, clock).login()


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
async def test_a_new_node_has_to_be_vouched_for(
    tmp_path: Path, postgres_schema: PostgresSchema, caplog: pytest.LogCaptureFixture
):
    """A server process that is new to a PostgreSQL database which others serve starts once with the setting."""
    first = Settings(
        data_dir=tmp_path / "first",
        database_url=Secret(postgres_schema.url),
        secret=Secret("a server secret that is long enough: 5e7d"),
        hash_concurrency=1,
    )
    async with AuthServer(first):
        pass
    second = replace(first, data_dir=tmp_path / "second")
    with pytest.raises(RolledBack, match="--allow-unmarked-database on"):
        async with AuthServer(second):
            pass
    beside = AuthServer(second)
    await beside.open_for_commands()
    await beside.graph.history.keep()
    await beside.close()
    assert not (tmp_path / "second/high-water-mark").exists()
    async with AuthServer(replace(second, allow_unmarked_database=True)):
        assert "UNSAFE, allowed by allow_unmarked_database" in caplog.text
    for node in (first, second):
        async with AuthServer(node):
            pass


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
async def test_a_node_that_can_keep_no_mark_has_to_be_vouched_for_each_time(
    tmp_path: Path, postgres_schema: PostgresSchema
):
    """Where no data directory can be made, each start needs the setting, also the first on a new database."""
    (tmp_path / "file").touch()
    node = Settings(
        data_dir=tmp_path / "file/data",
        database_url=Secret(postgres_schema.url),
        secret=Secret("a server secret that is long enough: 5e7d"),
        hash_concurrency=1,
    )
    for _ in range(2):
        with pytest.raises(DataDirectoryError, match=r"cannot be made: .*--allow-unmarked-database on"):
            async with AuthServer(node):
                pass
        async with AuthServer(replace(node, allow_unmarked_database=True)):
            pass


async def test_commands_do_not_make_a_mark(settings: Settings, clock: SettableClock):
    """What works beside the server moves the mark that is there; it does not vouch for a database that has none."""
    async with AuthServer(settings, clock=clock):
        pass
    mark = settings.data_dir / "high-water-mark"
    mark.unlink()
    for unmarked in (False, True):
        server = AuthServer(replace(settings, allow_unmarked_database=unmarked), clock=clock)
        await server.open_for_commands()
        with nullcontext() if unmarked else pytest.raises(RolledBack):
            await server.graph.history.keep()
        await server.close()
        assert not mark.exists()


@pytest.mark.parametrize("moment", ["before the history is stored", "while the history is stored"])
async def test_a_first_start_that_fails_leaves_no_trap(
    tmp_path: Path, clock: SettableClock, monkeypatch: pytest.MonkeyPatch, moment: str
):
    """No history is stored before its mark, so that a first start that was cut off can be made again."""

    async def fail_to_begin(*_: object) -> None:
        raise StorageUnavailable("it was cut off")

    def fail_to_write(*_: object) -> None:
        raise MarkUnavailable("it was cut off")

    fresh = Settings(data_dir=tmp_path / "fresh", hash_concurrency=1)
    with monkeypatch.context() as patched:
        if moment == "before the history is stored":
            patched.setattr(FileMark, "write", fail_to_write)
        else:
            patched.setattr(keep_history, "_begin", fail_to_begin)
        with pytest.raises((StorageUnavailable, MarkUnavailable), match="cut off"):
            async with AuthServer(fresh, clock=clock):
                pass
    for _ in range(2):
        async with AuthServer(fresh, clock=clock):
            pass


async def test_a_mark_is_read_before_the_database(
    settings: Settings, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
):
    """What the server does while a command looks at both does not make the database look older than its mark."""
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()

        async def read(*steps: Any) -> Any:
            position = await server.graph.storage.read(*steps)
            await stage.logout(pair.refresh_token)
            await server.graph.history.keep()
            return position

        beside = AuthServer(settings, clock=clock)
        await beside.open_for_commands()
        monkeypatch.setattr(beside.graph.history, "_storage", SimpleNamespace(read=read))
        await beside.graph.history.keep()
        await beside.close()


async def test_copy_without_a_revocation_since_is_served(settings: Settings, clock: SettableClock, tmp_path: Path):
    """A copy that revives nothing is no obstacle."""
    async with AuthServer(settings, clock=clock) as server:
        await Stage(server, clock).add()
    back_up(settings, tmp_path / "old")
    put_back(settings, tmp_path / "old")
    async with AuthServer(settings, clock=clock) as server:
        assert await Stage(server, clock).login()


async def test_recovering_revives_nothing(settings: Settings, clock: SettableClock, tmp_path: Path):
    """After recovering no session, refresh token, access token or signing key of the copy is accepted."""
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        ended, alive = await stage.login(), await stage.login()
        kids = {key.kid for key in stage.parts.key_ring.public_keys()}
    back_up(settings, tmp_path / "old")
    async with AuthServer(settings, clock=clock) as server:
        await Stage(server, clock).logout(ended.refresh_token)
        await server.graph.history.keep()
    put_back(settings, tmp_path / "old")
    recovered = await AuthServer(settings, clock=clock).recover()
    assert (recovered.sessions, recovered.accounts, recovered.signing_keys) == (2, 1, 2)
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        for pair in (ended, alive):
            assert not stage.accepts(pair)
            with pytest.raises((NoValidRefreshToken, InvalidRefreshToken)):
                await stage.refresh(pair.refresh_token)
        assert {key.kid for key in stage.parts.key_ring.public_keys()}.isdisjoint(kids)
        assert stage.accepts(await stage.login(password=PASSWORD))
        assert len(await stage.events("recovered")) == 1
