"""A database that was put back: noticed at the next start, and made safe by recovering."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.flows.stage import PASSWORD, Stage
from tests.settable_clock import SettableClock
from tokenkeep.domain.errors import InvalidRefreshToken, NoValidRefreshToken
from tokenkeep.domain.history import RolledBack
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings


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
