"""`tokenkeep calibrate`: measure this machine, and propose settings for hashing passwords."""

from __future__ import annotations

import os
import re
from typing import Final

import click

from tokenkeep.cli.terminal import json_text
from tokenkeep.passwords.calibration import (
    TOLERANCE,
    Budget,
    Proposal,
    TooLittleMemory,
    propose,
    seconds_of,
    throughput_of,
)
from tokenkeep.settings.kinds import parse_duration

_SIZE: Final = re.compile(r"([1-9][0-9]{0,6})(KiB|MiB|GiB)")
_UNITS: Final = {"KiB": 1, "MiB": 1_024, "GiB": 1_048_576}
_MOST_THREADS: Final = 64


def _read_duration(_context: click.Context, _option: click.Parameter, value: str) -> float:
    try:
        seconds = parse_duration(value).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not 0.001 <= seconds <= 10:
        raise click.BadParameter("must be between 1ms and 10s")
    return seconds


def _read_size(_context: click.Context, _option: click.Parameter, value: str) -> int:
    match = _SIZE.fullmatch(value)
    if match is None:
        raise click.BadParameter("expected a size such as 64MiB or 1GiB")
    return int(match[1]) * _UNITS[match[2]]


@click.command()
@click.option(
    "--target", callback=_read_duration, default="250ms", show_default=True, help="What checking a password may take."
)
@click.option(
    "--memory",
    callback=_read_size,
    default="256MiB",
    show_default=True,
    help="Memory for all that are checked at once.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def calibrate(target: float, memory: int, as_json: bool) -> None:
    """Measure this machine and propose argon2_memory, argon2_passes and hash_concurrency.

    Run it where the server runs, when nothing else does. It never proposes less than what is safe.
    """
    budget = Budget(target, memory, min(_processors(), _MOST_THREADS))
    try:
        proposal = propose(budget, seconds_of)
    except TooLittleMemory as error:
        raise click.UsageError(str(error)) from None
    rate = throughput_of(proposal.cost, proposal.concurrency)
    click.echo(_as_json(proposal, rate) if as_json else _as_text(proposal, budget, rate))


def _processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _as_json(proposal: Proposal, rate: float) -> str:
    members = {
        "argon2_memory": proposal.cost.memory,
        "argon2_passes": proposal.cost.passes,
        "hash_concurrency": proposal.concurrency,
        "seconds_per_login": round(proposal.seconds, 4),
        "logins_per_second": round(rate, 1),
        "memory_kib": proposal.cost.memory * proposal.concurrency,
    }
    return json_text(members)


def _as_text(proposal: Proposal, budget: Budget, rate: float) -> str:
    cost = proposal.cost
    alone, together = cost.memory / 1024, cost.memory * proposal.concurrency / 1024
    lines = [
        f"argon2_memory = {cost.memory}",
        f"argon2_passes = {cost.passes}",
        f"hash_concurrency = {proposal.concurrency}",
        "",
        f"# checking a password takes {proposal.seconds * 1000:.0f} ms of one processor and {alone:.0f} MiB;",
        f"# {proposal.concurrency} at once take {together:.0f} MiB and make {rate:.1f} logins a second",
    ]
    if proposal.seconds > budget.seconds * TOLERANCE:
        lines.append(f"# that is more than the {budget.seconds * 1000:.0f} ms wished for, and the least that is safe")
    return "\n".join(lines)
