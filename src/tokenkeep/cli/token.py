"""`tokenkeep token`: explain a token to a person. Offline; nothing is sent anywhere."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from tokenkeep.jose import jwt

_MEANING: Final = {
    "alg": "signature algorithm",
    "typ": "what sort of token this is",
    "kid": "which key signed it",
    "iss": "issuer: who made it",
    "sub": "subject: whom it is about",
    "aud": "audience: whom it is for",
    "exp": "expires",
    "nbf": "not valid before",
    "iat": "issued",
    "jti": "id of this token",
    "client_id": "client it was issued to",
    "sid": "session it belongs to",
    "ver": "token version of the account",
    "auth_time": "password was checked",
    "amr": "how the bearer proved who they are",
    "name": "name of the account",
    "role": "role of the account",
}
_INSTANTS: Final = frozenset({"exp", "nbf", "iat", "auth_time"})


@click.group()
def token() -> None:
    """Explain tokens."""


@token.command()
@click.argument("text", metavar="TOKEN", required=False)
@click.option("--json", "as_json", is_flag=True, help="Header and claims as one JSON object.")
def inspect(text: str | None, as_json: bool) -> None:
    """Show header, claims and times of TOKEN (or of standard input), WITHOUT checking its signature.

    Prefer standard input: arguments are seen by others on the machine and kept by the shell.
    """
    given = text if text is not None else sys.stdin.read()
    unverified = jwt.decode_unverified(given.strip().removeprefix("Bearer "))
    header, claims = _plain(unverified.header), _plain(unverified.claims)
    if as_json:
        click.echo(json.dumps({"header": header, "claims": claims, "verified": False}, ensure_ascii=False, indent=2))
        return
    now = time.time()
    table = Table("", "name", "value", "meaning", box=None)
    for part, members in (("header", header), ("claims", claims)):
        for name, value in members.items():
            table.add_row(part, name, _shown(name, value, now), _MEANING.get(name, ""))
    Console().print(table)
    click.echo(f"\n{_life(claims, now)}\nThe signature has NOT been checked: anyone can write such a token.")


def _shown(name: str, value: Any, now: float) -> str:
    if name in _INSTANTS and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value}  ({_instant(value)}, {_distance(value - now)})"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _life(claims: Mapping[str, Any], now: float) -> str:
    exp = claims.get("exp")
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        return "It has no expiry: verifiers refuse it."
    if now >= exp:
        return f"It expired {_distance(exp - now)}."
    return f"It expires {_distance(exp - now)}."


def _instant(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "no such date"


def _distance(seconds: float) -> str:
    size = abs(seconds)
    for length, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if size >= 2 * length:
            amount = f"{size / length:.0f} {unit}"
            break
    else:
        amount = f"{size:.0f} seconds"
    return f"in {amount}" if seconds >= 0 else f"{amount} ago"


def _plain(value: Any) -> Any:
    """Return immutable containers as ones that `json` writes."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value
