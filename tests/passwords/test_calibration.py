"""Calibration: what is proposed on a quick machine, on a slow one, and with little memory."""

from __future__ import annotations

import pytest

from tokenkeep.domain.password_hashes import MOST_MEMORY, MOST_PASSES, Argon2Cost
from tokenkeep.passwords import Argon2Parameters
from tokenkeep.passwords.calibration import (
    FLOORS,
    TOLERANCE,
    Budget,
    Measure,
    Proposal,
    TooLittleMemory,
    propose,
    seconds_of,
    throughput_of,
)

GIB = 1_048_576


def machine(seconds: float) -> Measure:
    """Return a machine on which the usual cost takes so long."""
    return lambda cost: seconds * cost.weight / (19_456 * 2)


@pytest.mark.parametrize("seconds", [0.0005, 0.005, 0.02, 0.03, 0.1, 0.24, 0.25, 0.5, 3.0])
@pytest.mark.parametrize("memory", [7_168, 8_000, 19_456, 65_536, 262_144, 4 * GIB])
@pytest.mark.parametrize("processors", [1, 2, 64])
def test_proposal_is_safe_and_within_the_budget(seconds: float, memory: int, processors: int):
    """Whatever the machine, the proposal is one that may be configured, and takes no more memory than granted."""
    proposal = propose(Budget(0.25, memory, processors), machine(seconds))
    assert Argon2Parameters(proposal.cost.memory, proposal.cost.passes, proposal.cost.lanes)
    assert 1 <= proposal.concurrency <= processors
    assert proposal.cost.memory * proposal.concurrency <= memory
    assert proposal.seconds <= 0.25 * TOLERANCE or proposal.cost in FLOORS


@pytest.mark.parametrize("seconds", [0.02, 0.03, 0.1])
def test_time_is_used(seconds: float):
    """On a machine with memory to spare the proposal takes about as long as wished, mostly for memory."""
    proposal = propose(Budget(0.25, 4 * GIB, 2), machine(seconds))
    assert 0.2 <= proposal.seconds <= 0.25 * TOLERANCE
    assert proposal.cost.passes == 2
    assert proposal.concurrency == 2


def test_passes_take_the_place_of_memory():
    """Where memory is short, the time goes into passes."""
    proposal = propose(Budget(0.25, 40_000, 2), machine(0.05))
    assert proposal.cost == Argon2Cost(20_000, 9, 1)
    assert proposal.seconds <= 0.25


def test_slow_machine_gets_the_least_that_is_safe():
    """A machine on which the floor takes longer than wished is proposed the floor."""
    assert propose(Budget(0.25, GIB, 4), machine(0.9)) == Proposal(FLOORS[0], 4, 0.9)


def test_quick_machine_stays_below_the_ceiling():
    """What is proposed may also be stored: no more than a stored hash may cost."""
    proposal = propose(Budget(10, 64 * GIB, 2), machine(0.001))
    assert (proposal.cost.memory, proposal.cost.passes) == (MOST_MEMORY, MOST_PASSES)


def test_small_machine_checks_fewer_at_once():
    """Memory for one and a half hashes is memory for one."""
    assert propose(Budget(0.25, 30_000, 8), machine(0.2)).concurrency == 1
    assert propose(Budget(0.25, 12_288, 8), machine(0.2)).cost.passes >= 3


def test_too_little_memory_is_said():
    """Without memory for one safe hash there is nothing to propose."""
    with pytest.raises(TooLittleMemory, match="7168 KiB"):
        propose(Budget(0.25, 7_167, 1), machine(0.02))


def test_unsteady_machine_is_not_believed_blindly():
    """A cost that turns out to take longer than wished is not proposed."""
    proposal = propose(Budget(0.25, 4 * GIB, 1), lambda cost: 0.02 if cost == FLOORS[0] else 0.9)
    assert proposal == Proposal(FLOORS[0], 1, 0.02)


def test_this_machine_can_be_measured():
    """Real hashes are made and timed, alone and several at once."""
    assert seconds_of(Argon2Cost(7_168, 1, 1)) > 0
    assert throughput_of(Argon2Cost(7_168, 1, 1), 2) > 0
