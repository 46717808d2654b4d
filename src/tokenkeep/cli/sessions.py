"""`tokenkeep sessions`: who is logged in, and ending that. Works beside a running server, and at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Column, Table

from tokenkeep.cli.configured import read_settings, run_beside_server, setting_options
from tokenkeep.cli.terminal import instant_text, json_text, print_table
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.errors import NotFound
from tokenkeep.domain.identifiers import SessionId, parse_session_id
from tokenkeep.domain.sessions import Session
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.find_account import by_name
from tokenkeep.server import AuthServer

_BY_OPERATOR = Authority(OPERATOR)
_where = setting_options("data_dir")


@click.group()
def sessions() -> None:
    """List and end sessions."""


@sessions.command("list")
@click.argument("name", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Sessions at most, without a NAME."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_where
def list_sessions(name: str | None, limit: int, as_json: bool, config: Path | None, **flags: Any) -> None:
    """List the live sessions of the account NAME, or of everyone, the last used first."""

    async def find(server: AuthServer) -> list[tuple[Session, Account]]:
        lister = server.graph.services.list_sessions
        return await (lister.latest(limit) if name is None else lister.of_account(by_name(name)))

    found = run_beside_server(read_settings(config, flags).settings, find)
    if as_json:
        for session, account in found:
            click.echo(json_text(_members(session, account)))
        return
    session_id = Column("session", no_wrap=True, min_width=22)
    table = Table("name", session_id, "begun", "last used", "expires", "address", "user agent", box=None)
    for session, account in found:
        instants = map(instant_text, (session.created_at, session.last_used_at, _expiry(session)))
        table.add_row(account.name, session.id, *instants, session.address, session.user_agent)
    print_table(table)


@sessions.command()
@click.argument("name", required=False)
@click.option("--session", "session_id", metavar="ID", help="End this one session only.")
@click.option("--all", "everyones", is_flag=True, help="End everyone's sessions.")
@click.option("--yes", is_flag=True, help="Do not ask, with --all.")
@_where
def revoke(name: str | None, session_id: str | None, everyones: bool, yes: bool, **rest: Any) -> None:
    """End all sessions of the account NAME, one session, or everyone's; their access tokens end at once."""
    if [name is not None, session_id is not None, everyones].count(True) != 1:
        raise click.UsageError("give exactly one of: the NAME of an account, --session ID, --all")
    settings = read_settings(rest.pop("config"), rest).settings
    if everyones and not yes:
        click.confirm("Everyone will have to log in again. Go on?", abort=True)

    async def end(server: AuthServer) -> str:
        expel = server.graph.services.expel
        if everyones:
            return f"ended {await expel.everyone(by=_BY_OPERATOR)} sessions"
        if name is not None:
            return f"ended {await _expel(server, name)} sessions of {name}"
        owner = await expel.from_session(_parse(str(session_id)), by=_BY_OPERATOR)
        return f"ended a session of the account {owner}"

    click.echo(run_beside_server(settings, end))


async def _expel(server: AuthServer, name: str) -> int:
    """End the sessions of an account; returns how many. What may be meant as an id of a session is taken as a name."""
    try:
        return await server.graph.services.expel.from_account(by_name(name), by=_BY_OPERATOR)
    except NotFound as refusal:
        raise NotFound(f"{refusal}; a session is named with --session") from None


def _parse(text: str) -> SessionId:
    try:
        return parse_session_id(text)
    except NotFound:
        raise click.UsageError(
            "--session: an id has 22 letters, digits, - and _; tokenkeep sessions list shows them"
        ) from None


def _members(session: Session, account: Account) -> dict[str, Any]:
    return {
        "id": session.id,
        "accountId": account.id,
        "name": account.name,
        "createdAt": session.created_at,
        "lastUsedAt": session.last_used_at,
        "expiresAt": _expiry(session),
        "delivery": session.delivery.value,
        "address": session.address,
        "userAgent": session.user_agent,
    }


def _expiry(session: Session) -> int:
    return min(session.idle_expires_at, session.expires_at)
