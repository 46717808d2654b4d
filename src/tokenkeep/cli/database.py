"""`tokenkeep migrate`: bring the database to the schema of this version."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from tokenkeep.cli.configured import read_settings, setting_options
from tokenkeep.server import AuthServer


@click.command()
@setting_options("data_dir")
def migrate(config: Path | None, **flags: Any) -> None:
    """Bring the database to the schema of this version; `serve` does the same when it starts."""
    settings = read_settings(config, flags).settings
    applied = asyncio.run(AuthServer(settings).migrate())
    for migration in applied:
        click.echo(f"applied {migration.name}")
    if not applied:
        click.echo("the database is up to date")
