"""`tokenkeep keys`: the signing keys, their timetable, and their end. Works beside a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
from rich.table import Column, Table

from tokenkeep.cli.configured import read_settings, run_beside_server, setting_options
from tokenkeep.cli.terminal import instant_text, json_text, print_table
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.errors import NotFound
from tokenkeep.domain.key_rotation import PlannedKey, RotationPlan
from tokenkeep.domain.signing_keys import KeyState, parse_key_id
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.revoke_key import RevokedKey
from tokenkeep.flows.rotate_keys import Rotated
from tokenkeep.jose import Key
from tokenkeep.server import AuthServer

_BY_OPERATOR: Final = Authority(OPERATOR)
_where = setting_options("data_dir")

LONGEST_LINE: Final = 150
"""Characters that the timetable of keys needs beside each other."""


def _key_id(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    if given is None:
        return None
    try:
        return parse_key_id(given)
    except NotFound:
        raise click.BadParameter("a kid has 43 letters, digits, - and _; tokenkeep keys list shows them") from None


class _TakesKid(click.Command):
    """A command whose argument is a kid, also where that begins with a hyphen as options do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        kids = [each for each in args if each.startswith("-") and _is_key_id(each)]
        if kids and "--" not in args:
            args = [*(each for each in args if each not in kids), "--", *kids]
        return super().parse_args(ctx, args)


def _is_key_id(text: str) -> bool:
    try:
        return bool(parse_key_id(text))
    except NotFound:
        return False


@click.group()
def keys() -> None:
    """List, rotate, revoke and export signing keys."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_where
def list_keys(as_json: bool, config: Path | None, **flags: Any) -> None:
    """List the signing keys and when they change by themselves, those that ended too."""
    plan = run_beside_server(
        read_settings(config, flags).settings,
        lambda server: server.graph.services.list_keys.timetable(by=_BY_OPERATOR),
    )
    if as_json:
        for planned in plan.keys:
            click.echo(json_text(_members(planned)))
        return
    _show(plan)


@keys.command()
@click.option("--plan", "only_plan", is_flag=True, help="Show when what would happen, and change nothing.")
@click.option(
    "--verifiers-ready",
    is_flag=True,
    help="Every verifier accepts the algorithm of the next key; needed once, when signing_algorithm has changed.",
)
@_where
def rotate(only_plan: bool, verifiers_ready: bool, config: Path | None, **flags: Any) -> None:
    """Have the next key sign as soon as every verifier knows it; its tokens of before stay good.

    If that is later, the running server does it by itself then.
    """
    settings = read_settings(config, flags).settings
    if only_plan:
        _show(run_beside_server(settings, lambda server: server.graph.services.list_keys.preview()))
        click.echo("nothing was changed")
        return
    rotated = run_beside_server(
        settings, lambda server: server.graph.rotate_keys.rotate(by=_BY_OPERATOR, verifiers_ready=verifiers_ready)
    )
    _show(rotated.plan)
    click.echo(_rotation_told(rotated))


@keys.command(cls=_TakesKid)
@click.argument("kid", callback=_key_id)
@click.option("--yes", is_flag=True, help="Do not ask.")
@_where
def revoke(kid: str, yes: bool, config: Path | None, **flags: Any) -> None:
    """Revoke a signing key that may have become known; every token that it signed is refused at once."""
    settings = read_settings(config, flags).settings
    if not yes:
        click.confirm(f"Every access token that {kid} signed is refused from then on. Go on?", abort=True)
    revoked = run_beside_server(settings, lambda server: server.graph.services.revoke_key.revoke(kid, by=_BY_OPERATOR))
    for line in _revocation_told(revoked):
        click.echo(line)


@keys.command()
@click.option("--kid", callback=_key_id, help="This key only; by default all that are published.")
@_where
def export(kid: str | None, config: Path | None, **flags: Any) -> None:
    """Print the public keys that are published, as PEM; which is which is said on the error output."""

    async def published(server: AuthServer) -> list[Key]:
        await server.graph.key_ring.reload()
        return list(server.graph.key_ring.public_keys())

    found = run_beside_server(read_settings(config, flags).settings, published)
    wanted = [key for key in found if kid in {None, key.kid}]
    if not wanted:
        raise click.ClickException(
            "no key is published: tokens are signed with a shared secret, or not at all"
            if kid is None
            else f"no key {kid} is published; tokenkeep keys list shows them, and a shared secret is never published"
        )
    for key in wanted:
        click.echo(f"{key.kid} {key.alg}", err=True)
        click.echo(key.public().to_pem().decode("ascii"), nl=False)


def _show(plan: RotationPlan) -> None:
    kid = Column("kid", no_wrap=True, min_width=43)
    table = Table(kid, "alg", "state", "created", "signs from", "signs until", "in the key set until", box=None)
    for planned in plan.keys:
        instants = (planned.key.created_at, planned.signs_from, planned.signs_until, planned.leaves_at)
        table.add_row(planned.key.id, planned.key.algorithm, planned.key.state, *map(instant_text, instants))
    # Instants that are cut short say nothing: a narrow terminal wraps the lines instead.
    print_table(table, least_width=LONGEST_LINE)
    if plan.waits_for is not None:
        click.echo(
            f"the upcoming key waits until every verifier accepts {plan.waits_for}; then run: "
            "tokenkeep keys rotate --verifiers-ready"
        )


def _rotation_told(rotated: Rotated) -> str:
    plan = rotated.plan
    if rotated.promoted:
        signer = plan.active.id if plan.active is not None else ""
        return f"{signer} signs from now on; the key before it stays in the key set as long as its tokens live"
    upcoming = plan.upcoming.id if plan.upcoming is not None else ""
    return f"{upcoming} will sign from {instant_text(plan.promotion_at)} UTC, when every verifier knows it"


def _revocation_told(revoked: RevokedKey) -> list[str]:
    if revoked.was is KeyState.REVOKED:
        return [f"{revoked.key_id} was revoked before; nothing was changed"]
    told = [f"revoked {revoked.key_id}, which was {revoked.was}, and every token that it signed"]
    if revoked.was is KeyState.ACTIVE and revoked.signer is not None:
        told.append(f"{revoked.signer.id} ({revoked.signer.algorithm}) signs from now on")
        if not revoked.signer_known:
            told.append("it is new to verifiers, which fetch it with its first token; some answer 503 for seconds")
    return told


def _members(planned: PlannedKey) -> dict[str, Any]:
    key = planned.key
    return {
        "kid": key.id,
        "alg": key.algorithm,
        "state": key.state.value,
        "createdAt": key.created_at,
        "signsFrom": planned.signs_from,
        "signsUntil": planned.signs_until,
        "leavesAt": planned.leaves_at,
        "requestedAt": key.requested_at,
        "endedAt": key.ended_at,
    }
