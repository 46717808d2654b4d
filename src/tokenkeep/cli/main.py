"""The command `tokenkeep`: its subcommands, and how a mistake ends: one line and an exit code, never a traceback."""

from __future__ import annotations

import sys
from typing import Final

import click

from tokenkeep.assembly import CANNOT_SERVE
from tokenkeep.cli.audit import audit
from tokenkeep.cli.calibrate import calibrate
from tokenkeep.cli.database import migrate, purge, recover
from tokenkeep.cli.doctor import doctor
from tokenkeep.cli.keys import keys
from tokenkeep.cli.openapi import openapi
from tokenkeep.cli.secret import secret
from tokenkeep.cli.serve import serve
from tokenkeep.cli.sessions import sessions
from tokenkeep.cli.settings import settings
from tokenkeep.cli.terminal import REFUSED, one_line
from tokenkeep.cli.token import token
from tokenkeep.cli.users import users
from tokenkeep.jose.errors import TokenError

_EXPECTED: Final = (*CANNOT_SERVE, TokenError)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tokenkeep")
def commands() -> None:
    """Tokenkeep: a complete JWT authentication system.

    Start with `tokenkeep serve`, then add someone with `tokenkeep users add NAME`.
    """


_COMMANDS = (
    serve,
    users,
    sessions,
    keys,
    token,
    secret,
    settings,
    doctor,
    audit,
    migrate,
    recover,
    purge,
    calibrate,
    openapi,
)
for _command in _COMMANDS:
    commands.add_command(_command)


def main() -> None:
    """Run the command line; exits with 0 when done, 1 when refused, 2 when called wrongly."""
    try:
        commands(prog_name="tokenkeep")
    except _EXPECTED as error:
        click.echo("\n".join(map(one_line, f"tokenkeep: {error}".split("\n"))), err=True)
        sys.exit(REFUSED)
