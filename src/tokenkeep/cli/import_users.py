"""`tokenkeep users import`: accounts of another system, one JSON object a line, with their password hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from tokenkeep.cli.configured import read_settings, run_beside_server, setting_options
from tokenkeep.domain.accounts import DEFAULT_ROLE
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.errors import Refusal
from tokenkeep.flows.import_accounts import Complaint, ImportRow, Stored, Survey
from tokenkeep.jose.encoding import decode_object
from tokenkeep.jose.errors import TokenError
from tokenkeep.server import AuthServer

LONGEST_LINE: Final = 16_384
"""Bytes of the longest line."""
REPORT_EVERY: Final = 10_000
"""Lines between two words on how far it has come."""


class ImportRefused(click.ClickException):
    """The file was not imported, or not to its end; the text says what is stored and what to do."""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """What a line may hold."""

    name: str
    role: str = DEFAULT_ROLE
    password_hash: str | None = None
    disabled: bool = False


class _AccountFile:
    """A file with one account a line; it may be longer than memory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> Iterator[ImportRow | Complaint]:
        """Read from the beginning; empty lines are passed over."""
        number = 0
        with self._path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    yield Complaint(number, f"The line is longer than {LONGEST_LINE} bytes")
                    while line and not line.endswith(b"\n"):
                        line = file.readline(LONGEST_LINE)
                elif line.strip():
                    yield _read(number, line)


def _read(number: int, line: bytes) -> ImportRow | Complaint:
    try:
        read = msgspec.convert(decode_object(line), _Line)
    except TokenError as error:
        return Complaint(number, str(error))
    except msgspec.ValidationError as error:
        return Complaint(number, str(error))
    return ImportRow(number, read.name, read.role, read.password_hash, read.disabled)


class _Reporter:
    """Says from time to time how far it has come."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._next = REPORT_EVERY

    def __call__(self, line: int) -> None:
        if line >= self._next:
            click.echo(f"{self._verb} up to line {line}", err=True)
            self._next = line - line % REPORT_EVERY + REPORT_EVERY


@click.command("import")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check every line and write nothing.")
@click.option(
    "--skip-existing", is_flag=True, help="Pass over names that exist already, to go on after an interruption."
)
@setting_options("data_dir")
def import_users(file: Path, dry_run: bool, skip_existing: bool, config: Path | None, **flags: Any) -> None:
    """Import accounts from a file with one JSON object a line: name, role, password_hash, disabled.

    Only the name is required. Hashes are Argon2id in PHC form or bcrypt; an account without one cannot log in until
    it is given a password. The whole file is checked first, and nothing is written while any line is wrong. Then
    accounts are written in batches of 500, each of which is stored whole or not at all.
    """
    settings = read_settings(config, flags).settings
    if not file.is_file():
        raise click.UsageError("FILE is read twice, so it must be a regular file")
    accounts = _AccountFile(file)

    async def work(server: AuthServer) -> Survey:
        importer = server.graph.import_accounts
        survey = await importer.survey(accounts.rows, skip_existing=skip_existing, progress=_Reporter("checked"))
        if survey.complaints:
            raise ImportRefused(_complaints(survey))
        if dry_run:
            return survey
        report = _Reporter("stored")
        done = Stored(0, 0)
        try:
            async for done in importer.store(accounts.rows, actor=OPERATOR, skip_existing=skip_existing):
                report(done.line)
        except Refusal as error:
            raise ImportRefused(
                f"{error}; everything up to line {done.line} is stored and nothing after it: "
                "run again with --skip-existing"
            ) from None
        return survey

    survey = run_beside_server(settings, work)
    click.echo(f"{'would import' if dry_run else 'imported'} {_told(survey)}")


def _complaints(survey: Survey) -> str:
    lines = [f"line {complaint.line}: {complaint.sentence}" for complaint in survey.complaints]
    if survey.more_complaints:
        lines.append(f"and {survey.more_complaints} more")
    return "\n".join(["nothing was imported:", *lines])


def _told(survey: Survey) -> str:
    kinds: Counter[str] = survey.kinds
    told = [f"{count} {kind}" for kind, count in sorted(kinds.items())]
    if survey.disabled:
        told.append(f"{survey.disabled} disabled")
    if survey.existing:
        told.append(f"{survey.existing} others existed already")
    return f"{survey.accounts} accounts" + (f": {'; '.join(told)}" if told else "")
