"""`tokenkeep settings`: the values in force and where each came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tokenkeep.cli.configured import config_option, read_settings
from tokenkeep.cli.terminal import json_text, one_line, print_table
from tokenkeep.settings.options import OPTIONS


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@config_option
def settings(as_json: bool, config: Path | None, **flags: Any) -> None:
    """Show the value of every setting and where it came from; secrets are masked."""
    loaded = read_settings(config, flags)
    rows = {
        option.name: {
            "value": option.show(getattr(loaded.settings, option.name)),
            "from": loaded.origins.get(option.name, "default"),
        }
        for option in OPTIONS.values()
    }
    if as_json:
        click.echo(json_text(rows, indent=2))
        return
    table = Table("setting", "value", "from", box=None)
    for name, row in rows.items():
        table.add_row(name, one_line(row["value"]), one_line(row["from"]))
    print_table(table)
    click.echo(f"data directory: {loaded.settings.data_dir.absolute()}", err=True)
