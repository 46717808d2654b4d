"""`tokenkeep users`: add, list, disable, enable, set a role or a password. Works beside a running server.

Not here: `users import` (`cli.import_users`).
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from rich.table import Column, Table

from tokenkeep.cli.configured import read_settings, run_beside_server, setting_options
from tokenkeep.cli.import_users import import_users
from tokenkeep.cli.terminal import instant_text, json_text, print_table
from tokenkeep.domain.accounts import DEFAULT_ROLE, TEMPORARY_FOR, Account
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.flows.administer_accounts import PAGE_SIZE
from tokenkeep.server import AuthServer

_where = setting_options("data_dir")
_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input (one trailing newline is removed)."
)
_temporary = click.option(
    "--temporary",
    is_flag=True,
    help=f"The first login must replace the password, within {TEMPORARY_FOR // 3_600_000} hours.",
)


@click.group()
def users() -> None:
    """Add and change accounts."""


@users.command()
@click.argument("name")
@click.option("--role", default=DEFAULT_ROLE, show_default=True, help="The role in the account's access tokens.")
@_temporary
@_password_stdin
@_where
def add(name: str, role: str, temporary: bool, password_stdin: bool, config: Path | None, **flags: Any) -> None:
    """Add an account that can log in."""
    settings = read_settings(config, flags).settings
    password = _read_password(from_stdin=password_stdin)
    account = run_beside_server(
        settings,
        lambda server: server.accounts.create(name, password, role=role, actor=OPERATOR, temporary=temporary),
    )
    click.echo(f"added {account.name} ({account.id}) with role {account.role}{_until(account)}")


@users.command("list")
@click.option("--after", default="", metavar="NAME", help="Begin after this name.")
@click.option("--limit", type=click.IntRange(min=1), help="Accounts at most; all of them by default.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_where
def list_users(after: str, limit: int | None, as_json: bool, config: Path | None, **flags: Any) -> None:
    """List accounts in the order of their names."""
    show = _show_lines if as_json else _show_table

    async def show_pages(server: AuthServer) -> str | None:
        """Show a page at a time, and return the name to go on after if the limit came first."""
        last, left, first = after, limit, True
        while True:
            wanted = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
            found = await server.accounts.page(last, limit=wanted + 1)
            page = found[:wanted]
            if page or first:
                show(page, with_head=first)
            if len(found) <= wanted:
                return None
            last, left, first = page[-1].name, None if left is None else left - wanted, False
            if left == 0:
                return last

    reached = run_beside_server(read_settings(config, flags).settings, show_pages)
    if reached is not None:
        click.echo(f"there are more; go on with --after {shlex.quote(reached)}", err=True)


def _show_lines(accounts: list[Account], *, with_head: bool) -> None:  # noqa: ARG001  (as `_show_table` is called)
    for account in accounts:
        click.echo(json_text(_members(account)))


def _show_table(accounts: list[Account], *, with_head: bool) -> None:
    columns = ("name", "role", "state", "created", "last login", Column("id", no_wrap=True, min_width=22))
    table = Table(*columns, box=None, show_header=with_head)
    for account in accounts:
        state = "disabled" if account.disabled else "active"
        created, last = instant_text(account.created_at), instant_text(account.last_login_at, absent="never")
        table.add_row(account.name, account.role, state, created, last, account.id)
    print_table(table)


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
@_temporary
@_password_stdin
@_where
def set_password(name: str, temporary: bool, password_stdin: bool, config: Path | None, **flags: Any) -> None:
    """Replace a password; the account's sessions and access tokens end at once."""
    settings = read_settings(config, flags).settings
    password = _read_password(from_stdin=password_stdin)
    account = run_beside_server(
        settings, lambda server: server.accounts.set_password(name, password, actor=OPERATOR, temporary=temporary)
    )
    click.echo(f"{account.name} has a new password{_until(account)}")


users.add_command(import_users)


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        try:
            return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError:
            raise click.UsageError("the password on standard input is not UTF-8 text") from None
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the password; use --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def _until(account: Account) -> str:
    """Return what is to be said of a temporary password; nothing of one that lasts."""
    if account.password_expires_at is None:
        return ""
    return f"; it is temporary and must be replaced by {instant_text(account.password_expires_at)} UTC"


def _members(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role,
        "disabled": account.disabled,
        "createdAt": account.created_at,
        "lastLoginAt": account.last_login_at,
        "passwordExpiresAt": account.password_expires_at,
    }
