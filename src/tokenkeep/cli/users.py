"""`tokenkeep users`: add, list, disable, enable, set a role or a password. Works beside a running server."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from tokenkeep.cli.configured import read_settings, run_beside_server, setting_options
from tokenkeep.cli.terminal import json_text
from tokenkeep.domain.accounts import DEFAULT_ROLE, Account
from tokenkeep.domain.audit import OPERATOR

_where = setting_options("data_dir")
_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input (one trailing newline is removed)."
)


@click.group()
def users() -> None:
    """Add and change accounts."""


@users.command()
@click.argument("name")
@click.option("--role", default=DEFAULT_ROLE, show_default=True, help="The role in the account's access tokens.")
@_password_stdin
@_where
def add(name: str, role: str, password_stdin: bool, config: Path | None, **flags: Any) -> None:
    """Add an account that can log in."""
    settings = read_settings(config, flags).settings
    password = _read_password(from_stdin=password_stdin)
    account = run_beside_server(
        settings, lambda server: server.accounts.create(name, password, role=role, actor=OPERATOR)
    )
    click.echo(f"added {account.name} ({account.id}) with role {account.role}")


@users.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_where
def list_users(as_json: bool, config: Path | None, **flags: Any) -> None:
    """List all accounts."""
    accounts = run_beside_server(read_settings(config, flags).settings, lambda server: server.accounts.list())
    if as_json:
        for account in accounts:
            click.echo(json_text(_members(account)))
        return
    table = Table("name", "role", "state", "created", "last login", Column("id", no_wrap=True, min_width=22), box=None)
    for account in accounts:
        state = "disabled" if account.disabled else "active"
        table.add_row(
            account.name, account.role, state, _instant(account.created_at), _instant(account.last_login_at), account.id
        )
    Console(markup=False, highlight=False, emoji=False).print(table)


@users.command()
@click.argument("name")
@_where
def disable(name: str, config: Path | None, **flags: Any) -> None:
    """Disable an account; its sessions and access tokens end at once."""
    settings = read_settings(config, flags).settings
    account = run_beside_server(settings, lambda server: server.accounts.disable(name, actor=OPERATOR))
    click.echo(f"{account.name} is disabled")


@users.command()
@click.argument("name")
@_where
def enable(name: str, config: Path | None, **flags: Any) -> None:
    """Let a disabled account log in again; its old sessions stay ended."""
    settings = read_settings(config, flags).settings
    account = run_beside_server(settings, lambda server: server.accounts.enable(name, actor=OPERATOR))
    click.echo(f"{account.name} is enabled")


@users.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_where
def delete(name: str, yes: bool, config: Path | None, **flags: Any) -> None:
    """Delete an account for good; its sessions and access tokens end at once."""
    settings = read_settings(config, flags).settings
    if not yes:
        click.confirm(f"Delete {name} for good?", abort=True)
    account = run_beside_server(settings, lambda server: server.accounts.delete(name, actor=OPERATOR))
    click.echo(f"{account.name} is deleted")


@users.command("set-role")
@click.argument("name")
@click.argument("role")
@_where
def set_role(name: str, role: str, config: Path | None, **flags: Any) -> None:
    """Give an account another role; its access tokens end at once, the next refresh carries the new one."""
    settings = read_settings(config, flags).settings
    account = run_beside_server(settings, lambda server: server.accounts.set_role(name, role, actor=OPERATOR))
    click.echo(f"{account.name} has role {account.role}")


@users.command("set-password")
@click.argument("name")
@_password_stdin
@_where
def set_password(name: str, password_stdin: bool, config: Path | None, **flags: Any) -> None:
    """Replace a password; the account's sessions and access tokens end at once."""
    settings = read_settings(config, flags).settings
    password = _read_password(from_stdin=password_stdin)
    account = run_beside_server(settings, lambda server: server.accounts.set_password(name, password, actor=OPERATOR))
    click.echo(f"{account.name} has a new password")


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        try:
            return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError:
            raise click.UsageError("the password on standard input is not UTF-8 text") from None
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the password; use --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def _members(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role,
        "disabled": account.disabled,
        "createdAt": account.created_at,
        "lastLoginAt": account.last_login_at,
    }


def _instant(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "never"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
