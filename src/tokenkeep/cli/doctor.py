"""`tokenkeep doctor`: every safety rule and the state of the installation, what was found, and the fix."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tokenkeep.assembly import CANNOT_SERVE, SystemClock
from tokenkeep.backends import choose_redis, node_of, sqlite_file
from tokenkeep.cli.configured import read_settings, setting_options
from tokenkeep.cli.terminal import REFUSED, json_text
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.key_rotation import RotationPlan
from tokenkeep.domain.server_processes import ServerProcess, explain_dissent, explain_strangers
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.ports import Transaction
from tokenkeep.flows.serve_together import see_others
from tokenkeep.policies import accord_of
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings, SettingsError, check_clock
from tokenkeep.settings.finding import Finding
from tokenkeep.settings.safety import judge_safety
from tokenkeep.storage.data_directory import DataDirectory, DataDirectoryError
from tokenkeep.storage.redis_outages import RedisAway

_SAID = "do what the line above says"


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
        sys.exit(REFUSED)


def _examine(settings: Settings, *, safe: bool) -> list[Finding]:
    """Return what is so of the installation itself; it is only opened with settings that may be served with."""
    directory = DataDirectory(settings.data_dir)
    findings = [_clock(), _data_directory(directory)]
    if safe and all(finding.ok for finding in findings):
        if settings.embedded and not sqlite_file(settings, directory).exists():
            findings.append(Finding("installation", True, "there is no database yet; serve makes it"))
        else:
            findings += asyncio.run(_installation(settings))
    if safe:
        findings.append(asyncio.run(_redis(settings)))
    return findings


def _clock() -> Finding:
    try:
        check_clock(SystemClock().now())
    except SettingsError as error:
        return Finding("clock", False, str(error), _SAID)
    return Finding("clock", True, "the clock of this machine can be right")


def _data_directory(directory: DataDirectory) -> Finding:
    try:
        directory.check_closed()
    except DataDirectoryError as error:
        return Finding("data-directory", False, str(error), _SAID)
    if not directory.exists():
        return Finding("data-directory", True, f"{directory.path} is not there yet; serve makes it")
    return Finding("data-directory", True, f"{directory.path} is closed to other users")


async def _redis(settings: Settings) -> Finding:
    """Return whether Redis can be used, and what it does when it is full."""
    try:
        link = choose_redis(settings)
    except SettingsError as error:
        return Finding("redis", False, str(error), _SAID)
    if link is None:
        return Finding("redis", True, "none is used: one server process limits attempts by itself")
    try:
        away = await link.ask()
        if away is not None:
            return Finding("redis", False, away, _SAID)
        told = await link.describe()
    except RedisAway as error:
        return Finding("redis", False, str(error), _SAID)
    finally:
        await link.close()
    version, policy = told.get("redis_version", "of an unknown version"), told.get("maxmemory_policy", "noeviction")
    full = "it may take all the memory of its machine"
    if told.get("maxmemory"):
        full = (
            "when it is full, each process limits attempts by itself"
            if policy == "noeviction"
            else f"when it is full, it forgets limits (maxmemory-policy {policy}), and nothing else"
        )
    return Finding("redis", True, f"Redis {version} can be read and written; {full}")


async def _installation(settings: Settings) -> list[Finding]:
    try:
        server = AuthServer(settings)
    except SettingsError:
        return [
            Finding("installation", False, "it was not looked at, since these settings may not start", "mend those")
        ]
    try:
        await server.open_for_commands()
        try:
            await server.graph.storage.transact(_write_nothing)
            await server.graph.history.check()
            await server.graph.key_ring.reload()
            plan = await server.graph.services.list_keys.timetable(by=Authority(OPERATOR))
            mine = _myself(settings)
            others = await server.graph.storage.read(see_others, mine)
        finally:
            await server.close()
    except (*CANNOT_SERVE, ValueError) as error:
        return [Finding("installation", False, str(error), _SAID)]
    fits = Finding("installation", True, "database, schema, server secret, signing keys and history fit together")
    return [fits, _next_key(plan), *([] if settings.embedded else [_others(mine, others)])]


def _myself(settings: Settings) -> ServerProcess:
    """Return the server process that these settings would make; the node is not made for it."""
    directory = DataDirectory(settings.data_dir)
    known = directory.has_node() or not directory.exists()
    return ServerProcess("", node_of(settings, directory) if known else "", "", accord=accord_of(settings))


def _others(mine: ServerProcess, others: Sequence[ServerProcess]) -> Finding:
    """Return whether the server processes of other nodes were told the same."""
    if strange := explain_strangers(mine, others):
        return Finding("server-processes", False, strange, _SAID)
    if dissent := explain_dissent(mine, others):
        return Finding("server-processes", True, dissent)
    if not others:
        return Finding("server-processes", True, "no other node serves this database just now")
    return Finding("server-processes", True, "no other node serves with another issuer or signing_algorithm")


def _next_key(plan: RotationPlan) -> Finding:
    if plan.waits_for is None:
        return Finding("key-rotation", True, "the next signing key waits for nothing but its time")
    return Finding(
        "key-rotation",
        True,
        f"the next signing key waits until every verifier accepts {plan.waits_for}; then run: "
        "tokenkeep keys rotate --verifiers-ready",
    )


async def _write_nothing(tx: Transaction) -> None:
    """Ask for a change that none is: a database that is read-only or held by another process refuses it."""
    await tx.revocations.register_access_life(0)


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
    return json_text(members)
