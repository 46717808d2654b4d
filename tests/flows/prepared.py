"""A data directory as a first start leaves it, made once and copied: most tests begin after the first start."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from tests.settable_clock import SettableClock
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings


def prepare(directory: Path) -> Path:
    """Make a data directory with database, secret and signing keys at the path, and return the path."""

    async def open_and_close() -> None:
        async with AuthServer(Settings(data_dir=directory), clock=SettableClock()):
            pass

    asyncio.run(open_and_close())
    return directory


def copy(prepared: Path, directory: Path) -> Path:
    """Copy a prepared data directory to a path, and return the path."""
    shutil.copytree(prepared, directory)
    return directory
