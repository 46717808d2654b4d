"""`tokenkeep openapi`: the description of the HTTP interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tokenkeep.cli.configured import config_option, read_settings
from tokenkeep.cli.terminal import json_text
from tokenkeep.policies import describe_api


@click.command()
@config_option
def openapi(config: Path | None, **flags: Any) -> None:
    """Print the OpenAPI document of the server with these settings."""
    click.echo(json_text(describe_api(read_settings(config, flags).settings), indent=2))
