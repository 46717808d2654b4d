"""Options that every command takes to find its settings, and how a command opens the server beside a running one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tokenkeep.assembly import CANNOT_SERVE
from tokenkeep.server import AuthServer
from tokenkeep.settings import Loaded, Settings, load
from tokenkeep.settings.options import OPTIONS, Option

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """Add `--config`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Settings file; by default tokenkeep.toml here, if it exists.",
    )(command)


def setting_options(*names: str) -> Callable[[F], F]:
    """Add flags for the settings named, or for all that are not secret."""

    def decorate(command: F) -> F:
        for option in reversed([OPTIONS[name] for name in names] if names else list(OPTIONS.values())):
            if not option.kind.secret:
                command = _flag(option)(command)
        return config_option(command)

    return decorate


def read_settings(config: Path | None, flags: dict[str, Any]) -> Loaded:
    """Return the settings that file, environment and the flags given add up to."""
    return load(config=config, environ=os.environ, flags=flags)


def run_beside_server(settings: Settings, work: Callable[[AuthServer], Awaitable[T]]) -> T:
    """Open what a server has made, say where, run `work`, and close it."""
    name_data_directory(settings)
    return asyncio.run(_open_and_run(settings, work))


def name_data_directory(settings: Settings) -> None:
    """Say which data directory is used: for the database, for the server secret, or for the high-water mark."""
    if settings.database_url is None or settings.secret is None or settings.data_dir.is_dir():
        click.echo(f"data directory: {settings.data_dir.absolute()}", err=True)


async def _open_and_run(settings: Settings, work: Callable[[AuthServer], Awaitable[T]]) -> T:
    server = AuthServer(settings)
    await server.open_for_commands()
    try:
        await server.graph.history.check()
        result = await work(server)
        try:
            await server.graph.history.keep()
        except CANNOT_SERVE as error:
            # The work is done and durable; a failure would make people do it again.
            click.echo(f"tokenkeep: done, but the high-water mark was not moved: {error}", err=True)
        return result
    finally:
        await server.close()


def _flag(option: Option) -> Callable[[F], F]:
    shown = option.show(option.default)
    return click.option(
        option.flag, option.name, metavar=option.kind.word.upper(), help=f"{option.help}  [default: {shown}]"
    )
