"""How long work takes: what is remembered, and how one odd measurement is kept from mattering."""

from __future__ import annotations

import random

import pytest

from tokenkeep.passwords.durations import LONGEST, Durations


def test_first_measurement_is_believed():
    """One measurement is the mean, and the bound is above it."""
    durations = Durations()
    durations.note("a", 0.2)
    assert durations.mean("a") == 0.2
    assert 0.2 < durations.bound("a") < 0.31


def test_what_was_never_measured():
    """Of work that was never done, as much is expected as of the longest known, and no bound is given."""
    durations = Durations()
    assert (durations.mean("a"), durations.bound("a"), "a" in durations) == (0.0, 0.0, False)
    durations.note("b", 0.1)
    durations.note("c", 0.3)
    assert durations.mean("a") == 0.3
    assert durations.bound("a") == 0.0


def test_kinds_are_apart():
    """What one kind of work takes says nothing about another that is known."""
    durations = Durations()
    durations.note("a", 0.001)
    durations.note("b", 1.0)
    assert durations.mean("a") == 0.001


def test_steady_work_has_a_close_bound():
    """The bound comes down to the work when it always takes the same time."""
    durations = Durations()
    for _ in range(200):
        durations.note("a", 0.2)
    assert durations.bound("a") == pytest.approx(0.2, rel=0.01)


def test_bound_comes_down_when_the_first_measurement_was_unlucky():
    """Work that turns out to be quicker than it was first measured never moves the bound up."""
    durations = Durations()
    durations.note("a", 1.5)
    bounds = [durations.bound("a")]
    for _ in range(30):
        durations.note("a", 0.5)
        bounds.append(durations.bound("a"))
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < 0.65


@pytest.mark.parametrize("seed", range(5))
def test_bound_is_hardly_ever_exceeded(seed: int):
    """Of a thousand runs of varying length, nearly all stay below the bound of that moment."""
    chance = random.Random(seed)
    durations = Durations()
    exceeded = 0
    for _ in range(1_000):
        taken = 0.2 * chance.uniform(0.8, 1.2)
        exceeded += taken > durations.bound("a") > 0
        durations.note("a", taken)
    assert exceeded < 10


def test_machine_that_was_suspended_learns_nothing():
    """One run of an hour moves the mean by a second or so, and is forgotten after a few more."""
    durations = Durations()
    durations.note("a", 0.2)
    durations.note("a", 3600.0)
    assert durations.mean("a") < 0.2 + LONGEST / 4
    for _ in range(200):
        durations.note("a", 0.2)
    assert durations.bound("a") == pytest.approx(0.2, rel=0.01)
