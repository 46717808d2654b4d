"""`tokenkeep token`: explain a token to a person, check one against a key, revoke one. Tokens are sent nowhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Column, Table

from tokenkeep.cli.configured import read_settings, run_beside_server, setting_options
from tokenkeep.cli.explanations import MEANING, explain
from tokenkeep.cli.key_file import read_keys
from tokenkeep.cli.terminal import REFUSED, json_text, one_line, print_table
from tokenkeep.contract.access_token import AccessToken
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.flows.authority import Authority
from tokenkeep.jose import Key, KeySet, TokenError, UsageError, jwt
from tokenkeep.jose.claims import checked_token_type
from tokenkeep.server import AuthServer
from tokenkeep.settings.kinds import parse_duration
from tokenkeep.verifier.jwks import KeySetUnavailable, fetch_key_set

_INSTANTS: Final = frozenset({"exp", "nbf", "iat", "auth_time"})


def _not_empty(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """Refuse an empty value: a script whose variable is not set would compare nothing, and call every token good."""
    if given == "":
        raise click.BadParameter("is empty")
    return given


_text_argument = click.argument("text", metavar="[TOKEN]", required=False)
_json_option = click.option("--json", "as_json", is_flag=True, help="As one JSON object.")


@click.group()
def token() -> None:
    """Explain, check and revoke tokens.

    Give the token on standard input: arguments are seen by others on the machine and kept by the shell.
    """


@token.command()
@_text_argument
@_json_option
def inspect(text: str | None, as_json: bool) -> None:
    """Show header, claims and times of a token, WITHOUT checking its signature."""
    unverified = jwt.decode_unverified(_read(text))
    header, claims = _plain(unverified.header), _plain(unverified.claims)
    if as_json:
        _print_json({"verified": False, "header": header, "claims": claims})
        return
    now = time.time()
    _print_table(header, claims, now)
    click.echo(f"\n{_life(claims, now)}\nThe signature has NOT been checked: anyone can write such a token.")


@token.command()
@_text_argument
@click.option("--key", "key_file", type=click.Path(path_type=Path, dir_okay=False), help="PEM, JWK or JWK Set file.")
@click.option("--jwks", "jwks_url", metavar="URL", help="Fetch the key set from there.")
@click.option("--alg", callback=_not_empty, help="The algorithm to accept; needed with a PEM file.")
@click.option("--issuer", callback=_not_empty, help="The iss to accept; without it, iss is not compared.")
@click.option("--audience", callback=_not_empty, help="The aud to accept; without it, aud is not compared.")
@click.option(
    "--type",
    "token_type",
    callback=_not_empty,
    help="The typ to accept, such as at+jwt; without it, typ is not compared.",
)
@click.option("--leeway", default="5s", show_default=True, help="How far clocks may differ, at most 60s.")
@_json_option
def verify(text: str | None, as_json: bool, **asked: Any) -> None:
    """Check a token's signature, times and names, and say in words what is wrong.

    Exits with 0 if the token is good, with 1 if it is refused.
    """
    given = _read(text)
    keys = _keys(asked["key_file"], asked["jwks_url"], asked["alg"])
    try:
        leeway = parse_duration(asked["leeway"])
    except ValueError as error:
        raise click.UsageError(f"--leeway: {error}") from None
    try:
        verified = _verify(given, keys, leeway=leeway, asked=asked)
    except UsageError as error:
        raise click.UsageError(str(error)) from None
    except TokenError as error:
        if as_json:
            _print_json({"verified": False, "code": error.code, "message": str(error), "hint": explain(error.code)})
        else:
            click.echo(f"refused: {one_line(str(error))}\n{explain(error.code)}", err=True)
        sys.exit(REFUSED)
    header, claims = _plain(verified.header), _plain(verified.claims)
    unchecked = [
        name for name, flag in (("iss", "issuer"), ("aud", "audience"), ("typ", "token_type")) if not asked[flag]
    ]
    if as_json:
        _print_json({"verified": True, "notCompared": unchecked, "header": header, "claims": claims})
        return
    now = time.time()
    _print_table(header, claims, now)
    click.echo(f"\nThe signature is good. {_life(claims, now)}")
    if unchecked:
        click.echo(f"Not compared, since nothing was given to compare with: {', '.join(unchecked)}.")


@token.command()
@setting_options("data_dir")
def revoke(config: Path | None, **flags: Any) -> None:
    """End one access token of this server, which is read from standard input, and nothing else of its session.

    The server must have issued it, and it must not have expired. It is refused at once, also by a running server.
    """
    given = _read(None)

    async def end(server: AuthServer) -> AccessToken:
        await server.graph.key_ring.reload()
        return await server.graph.revoke_token.revoke(given, by=Authority(OPERATOR))

    ended = run_beside_server(read_settings(config, flags).settings, end)
    click.echo(
        f"revoked the token {ended.token_id} of {ended.name or ended.subject}; it would have lived until "
        f"{_instant(ended.expires_at)}"
    )


def _verify(text: str, keys: Key | KeySet, *, leeway: timedelta, asked: Mapping[str, Any]) -> jwt.VerifiedToken:
    """Verify, with what the token says itself where nothing was given to compare with."""
    said = jwt.decode_unverified(text)
    algorithms = [asked["alg"]] if asked["alg"] else sorted({key.alg for key in _each(keys)})
    return jwt.verify(
        text,
        keys,
        algorithms=algorithms,
        issuer=asked["issuer"] or _said_text(said.claims.get("iss")),
        audience=asked["audience"] or _said_text(said.claims.get("aud")),
        token_type=asked["token_type"] or _said_type(said.header.get("typ")),
        leeway=leeway,
    )


def _keys(key_file: Path | None, jwks_url: str | None, alg: str | None) -> Key | KeySet:
    if (key_file is None) == (jwks_url is None):
        raise click.UsageError("give either --key FILE or --jwks URL")
    try:
        if key_file is not None:
            return read_keys(key_file, alg)
        keys = fetch_key_set(str(jwks_url))
    except KeySetUnavailable as error:
        raise click.ClickException(str(error)) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for reason in keys.skipped:
        click.echo(f"left out of the key set: {one_line(reason)}", err=True)
    if not keys:
        raise click.ClickException("there is no key in the key set that could be used")
    return keys


def _each(keys: Key | KeySet) -> list[Key]:
    return [keys] if isinstance(keys, Key) else list(keys)


def _said_text(value: Any) -> str:
    """Return a claim's own text, or one that no token has, so that a missing claim is refused as such."""
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, str) and first else "(none)"


def _said_type(value: Any) -> str | None:
    """Return the type a token says it has, or None, with which only JWT is accepted, where that is no type at all."""
    if not isinstance(value, str) or value.lower() in {"jwt", "application/jwt"}:
        return None
    try:
        return checked_token_type(value)
    except UsageError:
        return None


def _read(text: str | None) -> str:
    # What is no text becomes what is in no token.
    given = text if text is not None else sys.stdin.buffer.read().decode("utf-8", "replace")
    return given.strip().removeprefix("Bearer ").strip()


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json_text(document, indent=2))


def _print_table(header: Mapping[str, Any], claims: Mapping[str, Any], now: float) -> None:
    table = Table("", "name", Column("value", overflow="fold"), "meaning", box=None)
    for part, members in (("header", header), ("claims", claims)):
        for name, value in members.items():
            table.add_row(part, one_line(name), _shown(name, value, now), MEANING.get(name, ""))
    print_table(table)


def _shown(name: str, value: Any, now: float) -> str:
    if name in _INSTANTS and isinstance(value, int | float) and not isinstance(value, bool):
        return one_line(f"{value}  ({_instant(value)}, {_distance(value, now)})")
    return one_line(value if isinstance(value, str) else json_text(value))


def _life(claims: Mapping[str, Any], now: float) -> str:
    exp = claims.get("exp")
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        return "It has no expiry: verifiers refuse it."
    return f"It expired {_distance(exp, now)}." if now >= exp else f"It expires {_distance(exp, now)}."


def _instant(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "no such date"


def _distance(instant: float, now: float) -> str:
    try:
        seconds = float(instant) - now
    except OverflowError:
        return "beyond all time"
    size = abs(seconds)
    amount = f"{size:.0f} seconds"
    for length, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if size >= 2 * length:
            amount = f"{size / length:.0f} {unit}"
            break
    return f"in {amount}" if seconds >= 0 else f"{amount} ago"


def _plain(value: Any) -> Any:
    """Return immutable containers as ones that `json` writes."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value
