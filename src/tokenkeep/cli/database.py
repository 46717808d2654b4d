"""`tokenkeep migrate`, `recover` and `purge`: bring the database up to date, make an old copy safe, clean up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from tokenkeep.cli.configured import name_data_directory, read_settings, run_beside_server, setting_options
from tokenkeep.server import AuthServer


@click.command()
@setting_options("data_dir")
def migrate(config: Path | None, **flags: Any) -> None:
    """Bring the database to the schema of this version; `serve` does the same when it starts."""
    settings = read_settings(config, flags).settings
    name_data_directory(settings)
    applied = asyncio.run(AuthServer(settings).migrate())
    for migration in applied:
        click.echo(f"applied {migration.name}")
    if not applied:
        click.echo("the database is up to date")


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@setting_options("data_dir")
def recover(yes: bool, config: Path | None, **flags: Any) -> None:
    """Make a database that was put back from a backup safe to serve. The server must be stopped.

    Ends all sessions and access tokens and replaces all signing keys, so that nothing that ended since the backup
    comes back. Accounts, passwords and roles stay as the backup has them.
    """
    settings = read_settings(config, flags).settings
    name_data_directory(settings)
    if not yes:
        click.confirm("Everyone will have to log in again. Go on?", abort=True)
    recovered = asyncio.run(AuthServer(settings).recover())
    click.echo(
        f"ended {recovered.sessions} sessions and the access tokens of {recovered.accounts} accounts, "
        f"replaced {recovered.signing_keys} signing keys; passwords and roles are those of the backup"
    )


@click.command()
@setting_options("data_dir")
def purge(config: Path | None, **flags: Any) -> None:
    """Forget expired sessions, expired revocations and old audit events; `serve` does so every hour."""
    purged = run_beside_server(read_settings(config, flags).settings, lambda server: server.graph.purge.purge())
    click.echo(
        f"forgot {purged.sessions} sessions, {purged.revocations} revocations and {purged.audit_events} audit events"
    )
