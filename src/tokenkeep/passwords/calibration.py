"""Measure this machine, and propose what hashing a password should cost here. Blocking."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from tokenkeep.domain.password_hashes import MOST_MEMORY, MOST_PASSES, Argon2Cost
from tokenkeep.passwords.argon2id import make_hash

FLOORS: Final = (Argon2Cost(19_456, 2, 1), Argon2Cost(12_288, 3, 1), Argon2Cost(9_216, 4, 1), Argon2Cost(7_168, 5, 1))
"""The least costs that are allowed, the best first; the later ones are for machines with little memory."""
SAMPLES: Final = 5
"""Hashes of which the quickest counts: whatever else the machine does can only make one slower."""
TOLERANCE: Final = 1.1
"""By how much of the target a cost may miss it."""
ROUNDS: Final = 4
"""How often a cost is corrected by what it turned out to take."""
_STEP: Final = 1_024

Measure: TypeAlias = Callable[[Argon2Cost], float]
"""Returns how many seconds one hash of a cost takes."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a login may take: seconds, KiB of memory for all that are checked at once, and processors."""

    seconds: float
    memory: int
    processors: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A cost, how many hashes to make at once, and how many seconds one then took here."""

    cost: Argon2Cost
    concurrency: int
    seconds: float


class TooLittleMemory(Exception):
    """Not even one password can be hashed safely in the memory that is granted."""


def propose(budget: Budget, measure: Measure) -> Proposal:
    """Return the greatest cost within the budget, or the least that is allowed if that takes longer already.

    Memory comes before passes: it is what an attacker's machines are short of.

    Raises:
        TooLittleMemory: the least that is allowed needs more.
    """
    floor = next((cost for cost in FLOORS if cost.memory <= budget.memory), None)
    if floor is None:
        raise TooLittleMemory(f"hashing a password safely takes at least {FLOORS[-1].memory} KiB of memory")
    concurrency = max(1, min(budget.processors, budget.memory // floor.memory))
    most_memory = min(budget.memory // concurrency, MOST_MEMORY)
    best = Proposal(floor, concurrency, measure(floor))
    tried = best
    for _ in range(ROUNDS):
        cost = _scaled(tried, budget.seconds, most_memory, floor)
        if cost == tried.cost:
            break
        tried = Proposal(cost, concurrency, measure(cost))
        if tried.cost.weight > best.cost.weight and tried.seconds <= budget.seconds * TOLERANCE:
            best = tried
    return best


def _scaled(tried: Proposal, target: float, most_memory: int, floor: Argon2Cost) -> Argon2Cost:
    """Return the cost that would take the target time, if time grew as memory times passes does."""
    weight = tried.cost.weight * target / tried.seconds
    memory = max(floor.memory, min(most_memory, int(weight / floor.passes) // _STEP * _STEP))
    passes = max(floor.passes, min(MOST_PASSES, int(weight / memory)))
    return replace(floor, memory=memory, passes=passes)


def seconds_of(cost: Argon2Cost) -> float:
    """Return how many seconds one hash takes on this machine: the quickest of a few."""
    taken = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        make_hash(cost, "measured and forgotten")
        taken.append(time.perf_counter() - began)
    return min(taken)


def throughput_of(cost: Argon2Cost, concurrency: int) -> float:
    """Return how many hashes a second this machine makes, so many at once."""
    count = SAMPLES * concurrency
    with ThreadPoolExecutor(concurrency) as threads:
        began = time.perf_counter()
        list(threads.map(lambda _: make_hash(cost, "measured and forgotten"), range(count)))
        return count / (time.perf_counter() - began)
