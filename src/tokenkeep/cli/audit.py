"""`tokenkeep audit`: what happened, newest last."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tokenkeep.cli.configured import read_settings, run_beside_server, setting_options
from tokenkeep.cli.terminal import json_text, one_line
from tokenkeep.domain.audit import Event, EventFilter, EventKind
from tokenkeep.settings.kinds import parse_duration

_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
_limit_option = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Events at most."
)


@click.group()
def audit() -> None:
    """Read the audit log."""


@audit.command()
@_limit_option
@_json_option
@setting_options("data_dir")
def tail(limit: int, as_json: bool, config: Path | None, **flags: Any) -> None:
    """Show the newest events, the newest last."""
    _show(EventFilter(limit=limit), as_json=as_json, config=config, flags=flags)


@audit.command()
@click.option("--kind", type=click.Choice([kind.value for kind in EventKind]), help="What happened.")
@click.option("--actor", help="Who did it: the id of an account, operator, system or anyone.")
@click.option("--account", help="The id of the account concerned.")
@click.option("--session", help="The id of the session concerned.")
@click.option("--address", help="The client's address.")
@click.option("--within", metavar="DURATION", help="Not longer ago than this, such as 12h or 7d.")
@_limit_option
@_json_option
@setting_options("data_dir")
def search(limit: int, as_json: bool, config: Path | None, **wanted: Any) -> None:
    """Show the events that fit, the newest last."""
    since = None
    if wanted["within"] is not None:
        try:
            since = int((datetime.now(UTC) - parse_duration(wanted["within"])).timestamp() * 1000)
        except (ValueError, OverflowError) as error:
            raise click.UsageError(f"--within: {error}") from None
    event_filter = EventFilter(
        kind=EventKind(wanted["kind"]) if wanted["kind"] else None,
        actor=wanted["actor"],
        account_id=wanted["account"],
        session_id=wanted["session"],
        address=wanted["address"],
        since=since,
        limit=limit,
    )
    _show(event_filter, as_json=as_json, config=config, flags={"data_dir": wanted["data_dir"]})


def _show(wanted: EventFilter, *, as_json: bool, config: Path | None, flags: dict[str, Any]) -> None:
    settings = read_settings(config, flags).settings
    events = run_beside_server(settings, lambda server: server.graph.audit.search(wanted))
    for event in reversed(events):
        click.echo(_as_json(event) if as_json else _as_text(event))


def _as_text(event: Event) -> str:
    parts = [
        datetime.fromtimestamp(event.at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        event.kind.value,
        f"account={event.account_id}" if event.account_id else "",
        f"session={event.session_id}" if event.session_id else "",
        f"by={event.actor}",
        f"from={event.address}" if event.address else "",
        f"({event.detail})" if event.detail else "",
    ]
    return one_line("  ".join(part for part in parts if part))


def _as_json(event: Event) -> str:
    members = {
        "at": datetime.fromtimestamp(event.at / 1000, UTC).isoformat(),
        "event": event.kind.value,
        "outcome": event.kind.outcome.value,
        "actor": event.actor,
        "accountId": event.account_id,
        "sessionId": event.session_id,
        "address": event.address,
        "userAgent": event.user_agent,
        "detail": event.detail,
    }
    return json_text(members)
