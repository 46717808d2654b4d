"""`tokenkeep doctor`: every safety rule and the state of the installation, what was found, and the fix."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click

from tokenkeep.assembly import is_embedded
from tokenkeep.cli.configured import read_settings, setting_options
from tokenkeep.domain.errors import Refusal
from tokenkeep.flows.ports import SecretMismatch
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings, SettingsError
from tokenkeep.settings.safety import Finding, judge_safety
from tokenkeep.storage.data_directory import DataDirectory, DataDirectoryError
from tokenkeep.storage.sql.migrate import SchemaMismatch

_REFUSED = 1


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@setting_options()
def doctor(as_json: bool, config: Path | None, **flags: Any) -> None:
    """Check what would be unsafe or broken here, and say how to mend it; exits with 1 if anything is."""
    settings = read_settings(config, flags).settings
    findings = judge_safety(settings)
    findings += _examine(settings, safe=all(finding.ok for finding in findings))
    for finding in findings:
        click.echo(_as_json(finding) if as_json else _as_text(finding))
    if not all(finding.ok for finding in findings):
        sys.exit(_REFUSED)


def _examine(settings: Settings, *, safe: bool) -> list[Finding]:
    """Return what is so of the installation itself; it is only opened with settings that may be served with."""
    directory = DataDirectory(settings.data_dir)
    if is_embedded(settings) and not directory.path.is_dir():
        return [Finding("data-directory", True, f"{directory.path} is not there yet; serve makes it")]
    findings = []
    if directory.path.is_dir():
        findings.append(_data_directory(directory))
    if safe:
        findings.append(asyncio.run(_installation(settings)))
    return findings


def _data_directory(directory: DataDirectory) -> Finding:
    try:
        directory.check_closed()
    except DataDirectoryError as error:
        return Finding("data-directory", False, str(error), "close it")
    return Finding("data-directory", True, f"{directory.path} is closed to other users")


async def _installation(settings: Settings) -> Finding:
    try:
        server = AuthServer(settings)
        await server.open_for_commands()
    except (Refusal, SecretMismatch, SettingsError, DataDirectoryError, SchemaMismatch) as error:
        return Finding("installation", False, str(error), "see there")
    try:
        await server.graph.key_ring.reload()
    except (Refusal, SecretMismatch, ValueError) as error:
        return Finding("installation", False, str(error), "see there")
    finally:
        await server.close()
    return Finding("installation", True, "database, schema, server secret and signing keys fit together")


def _as_text(finding: Finding) -> str:
    mark = "ok    " if finding.ok and not finding.overridden else "UNSAFE" if finding.overridden else "BROKEN"
    text = f"{mark}  {finding.rule}: {finding.found}"
    return text if finding.ok and not finding.overridden else f"{text}\n        fix: {finding.fix}"


def _as_json(finding: Finding) -> str:
    members = {
        "rule": finding.rule,
        "ok": finding.ok,
        "found": finding.found,
        "fix": finding.fix or None,
        "override": finding.overridden,
    }
    return json.dumps(members, ensure_ascii=False)
