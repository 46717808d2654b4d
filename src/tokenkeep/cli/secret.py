"""`tokenkeep secret`: make server secrets."""

from __future__ import annotations

import secrets

import click

_SIZE = 32


@click.group()
def secret() -> None:
    """Make server secrets."""


@secret.command()
def generate() -> None:
    """Print a new server secret of 32 random bytes, to be kept in TOKENKEEP_SECRET or in a file."""
    click.echo(secrets.token_urlsafe(_SIZE))
