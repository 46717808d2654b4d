"""A year of rotations, seen by verifiers that fetch the key set at the worst moments: no good token is refused.

The keys are those of a real server whose clock is set from change to change. Processes lag as far behind as they may,
both in what they sign with and in what they publish. Verifiers are of two kinds: ours, with the state machine that it
ships with, and one that asks for nothing until its key set is too old.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise, product
from typing import Final

import pytest

from tests.flows.stage import Stage
from tests.settable_clock import START
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.key_rotation import RotationPlan, RotationPolicy
from tokenkeep.domain.signing_keys import KeyState
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.list_keys import read_plan
from tokenkeep.flows.rotate_keys import RotateKeys
from tokenkeep.jose import Key, KeySet
from tokenkeep.verifier.jwks import KeyFetching, Publication
from tokenkeep.verifier.key_cache import KeyCache, Refuse, Unknown, Use, Wait

pytestmark = pytest.mark.usefixtures("keys_read_when_told")

DAY: Final = 86_400_000
YEAR: Final = 365 * DAY
LIFE: Final = 900_000
LEEWAY: Final = 60_000
AGE: Final = 300_000
COOLDOWN: Final = 20_000
LAG: Final = 20_000 - 1
"""How far behind a process may be that still signs and publishes."""


@dataclass(frozen=True)
class State:
    """The keys from an instant on: which signs, which are published, which has just left."""

    since: int
    signer: str
    published: frozenset[str]
    left: str | None


@dataclass(frozen=True)
class Year:
    """The states of a year, and what a process that lags knows of them."""

    states: list[State]

    def at(self, instant: int, lag: int) -> State:
        """Return the state that a process knows which is so far behind."""
        return self.states[max(0, bisect_right(self.states, instant - lag, key=lambda state: state.since) - 1)]

    def published(self, instant: int, lag: int) -> frozenset[str]:
        """Return the key set that a process answers with."""
        return self.at(instant, lag).published


async def live_a_year(stage: Stage, policy: RotationPolicy, *, impatient: int = 0) -> Year:
    """Carry out every change of a year at the very instant at which it is due, and return the states.

    Somebody `impatient` asks for the next rotation as soon as there is a next key, and so often.
    """
    rotate = RotateKeys(stage.parts.storage, stage.parts.key_ring, policy)
    states: list[State] = []
    published: frozenset[str] = frozenset()
    while True:
        if impatient and not (await rotate.rotate(by=Authority(OPERATOR))).promoted:
            impatient -= 1
        plan: RotationPlan = await stage.parts.storage.read(read_plan, policy)
        assert plan.active is not None
        before, published = published, frozenset(each.key.id for each in plan.keys)
        states.append(State(stage.clock.now(), plan.active.id, published, next(iter(before - published), None)))
        leaving = [each.leaves_at for each in plan.keys if each.key.state is KeyState.RETIRING]
        following = min(each for each in (plan.promotion_at, *leaving) if each is not None)
        if following > START + YEAR:
            return Year(states)
        stage.clock.advance(following - stage.clock.now())
        assert await rotate.advance()


ANY_KEY: Final = Key.generate("ES256")
SETS: Final[dict[frozenset[str], KeySet]] = {}


def as_set(kids: frozenset[str]) -> KeySet:
    """Return a key set that stands for these ids; the same ids are the same set."""
    if kids not in SETS:
        SETS[kids] = KeySet([ANY_KEY])
    return SETS[kids]


class Ours:
    """Our verifier, as far as keys go: it asks for a token's key, and fetches when its state machine says so."""

    def __init__(self, fetch: Callable[[int], frozenset[str] | None]) -> None:
        fetching = KeyFetching(cooldown=timedelta(milliseconds=COOLDOWN))
        self._cache = KeyCache(fetching)
        self._fetch = fetch
        self._kids: dict[int, frozenset[str]] = {}

    def judge(self, kid: str, instant: int) -> str:
        """Return `accepted`, `refused` or `cannot tell` for a token of a key that comes at an instant."""
        now = instant / 1000
        decision: Use | Wait | Unknown | Refuse = self._cache.keys_for(now, now)
        for _ in range(5):
            match decision:
                case Use(keys, begin):
                    if kid in self._kids[id(keys)]:
                        return "accepted"
                    if begin is not None:
                        self._fly(begin, instant)
                    decision = self._cache.newer_keys_for(f"token of {kid}", keys, now, now=now)
                case Wait(fetch, begin=True):
                    self._fly(fetch, instant)
                    decision = self._cache.keys_for(now, now)
                case Unknown():
                    return "refused"
                case _:
                    return "cannot tell"
        raise AssertionError("no decision")

    def _fly(self, fetch: object, instant: int) -> None:
        kids = self._fetch(instant)
        if kids is None:
            self._cache.fail(fetch, "down", instant / 1000)  # type: ignore[arg-type]
            return
        keys = as_set(kids)
        self._kids[id(keys)] = kids
        self._cache.succeed(
            fetch,  # type: ignore[arg-type]
            Publication(keys, None, AGE / 1000),
            asked=instant / 1000,
            jitter=1.0,
        )


class Plain:
    """A verifier that keeps a key set for as long as it was told that it may, and looks for no key meanwhile."""

    def __init__(self, fetch: Callable[[int], frozenset[str] | None]) -> None:
        self._fetch = fetch
        self._kids: frozenset[str] = frozenset()
        self._until = 0

    def judge(self, kid: str, instant: int) -> str:
        """Return what becomes of a token of a key that comes at an instant."""
        if instant >= self._until:
            self._kids, self._until = self._fetch(instant) or frozenset(), instant + AGE
        return "accepted" if kid in self._kids else "refused"


Kind = type[Ours] | type[Plain]


def trouble(year: Year, kind: Kind) -> Iterator[str]:
    """Yield each good token that is not accepted: around each change, signed and checked at its worst moments."""
    for change in year.states[1:]:
        at = change.since
        fetched = [at + shift for shift in (-AGE - 1, -AGE, -COOLDOWN, -1, 0, COOLDOWN - 2, LAG - 1, LAG, LAG + 1)]
        signed = [at + shift for shift in (-LIFE - LEEWAY - LAG, -LIFE, -1, 0, LAG - 1, LAG, AGE)]
        ages = [0, 1, AGE - 1, LIFE - 1_000, LIFE + LEEWAY - 1_000]
        for first, lag_first, lag_later in product(fetched, (0, LAG), (0, LAG)):
            for begun, lag_of_signer, age in product(signed, (0, LAG), ages):
                checked = begun + age
                if checked < first:
                    continue
                signer = year.at(begun, lag_of_signer).signer
                lags = iter((lag_first,))
                verifier = kind(lambda now, lags=lags, later=lag_later: year.published(now, next(lags, later)))
                verifier.judge(year.at(first, LAG).signer, first)
                verdict = verifier.judge(signer, checked)
                if verdict != "accepted":
                    yield f"{verdict}: signed {begun - at}, fetched {first - at}, checked {checked - at}"


def survivors(year: Year, kind: Kind, *, issuer_up: bool, after: int) -> Iterator[str]:
    """Yield each key that is accepted so long after it was retired, because whoever stole it goes on signing."""
    for change in year.states[1:]:
        if change.left is None:
            continue
        for shift, lag in product((-AGE, -1, 0, LAG - 1, LAG), (0, LAG)):
            first = change.since + shift
            answers = iter((year.published(first, lag),))
            verifier = kind(lambda now, answers=answers: next(answers, year.published(now, LAG) if issuer_up else None))
            verifier.judge(change.left, first)
            if verifier.judge(change.left, change.since + after) == "accepted":
                yield f"{change.left} fetched {shift}"


class Hasty(RotationPolicy):
    """A key signs as soon as every process publishes it, whatever verifiers hold."""

    @property
    def lead(self) -> int:
        """Too short by the age of key sets."""
        return self.fetch_cooldown + self.propagation


class Hastier(RotationPolicy):
    """A key signs before every process publishes it."""

    @property
    def lead(self) -> int:
        """Too short for processes that lag."""
        return 1_000


class Forgetful(RotationPolicy):
    """A key leaves when the last token that was signed in time is over, without regard to processes that lag."""

    def trail(self, longest_access_life: int) -> int:
        """Too short by the lag and a moment."""
        return longest_access_life + self.leeway


@pytest.mark.parametrize("kind", [Ours, Plain], ids=["ours", "plain"])
@pytest.mark.parametrize(("days", "changes"), [(90, 8), (30, 24)], ids=["90d", "30d"])
async def test_no_good_token_is_refused_in_a_year(stage: Stage, kind: Kind, days: int, changes: int):
    """Whenever a verifier fetches, and whichever process signs and answers: every token is good until its end."""
    year = await live_a_year(stage, RotationPolicy(days * DAY))
    assert len(year.states) == 1 + changes
    assert list(trouble(year, kind)) == []


@pytest.mark.parametrize("kind", [Ours, Plain], ids=["ours", "plain"])
async def test_no_good_token_is_refused_however_often_somebody_rotates(stage: Stage, kind: Kind):
    """By command one key follows the other as fast as that is safe, and no faster."""
    year = await live_a_year(stage, RotationPolicy(90 * DAY), impatient=12)
    instants = [state.since for state in year.states]
    assert sum(state.left is None for state in year.states) - 1 >= 6
    assert min(later - earlier for earlier, later in pairwise(instants)) > 0
    assert list(trouble(year, kind)) == []


async def test_no_good_token_is_refused_in_a_year_of_daily_rotations(stage: Stage):
    """The same with 364 rotations; every ninth change is looked at."""
    year = await live_a_year(stage, RotationPolicy(DAY))
    assert len(year.states) == 2 * 365
    for kind in (Ours, Plain):
        for offset in range(0, len(year.states) - 1, 73):
            assert list(trouble(Year(year.states[offset : offset + 2]), kind)) == []
        assert list(survivors(year, kind, issuer_up=True, after=AGE + LAG)) == []


@pytest.mark.parametrize("kind", [Ours, Plain], ids=["ours", "plain"])
async def test_no_retired_key_is_accepted(stage: Stage, kind: Kind):
    """Whoever keeps a retired key signs for nobody once the key sets that verifiers held have aged: 5 minutes 20 s."""
    year = await live_a_year(stage, RotationPolicy(90 * DAY))
    assert sum(state.left is not None for state in year.states) == 4
    assert list(survivors(year, kind, issuer_up=True, after=AGE + LAG)) == []
    assert list(survivors(year, kind, issuer_up=True, after=AGE // 2)), "the worst case was not looked at"


async def test_no_retired_key_outlives_the_stale_limit(stage: Stage):
    """While the issuer is down a verifier goes on with what it held, an hour at most."""
    year = await live_a_year(stage, RotationPolicy(90 * DAY))
    stale = int(KeyFetching().stale_limit.total_seconds() * 1000)
    assert list(survivors(year, Ours, issuer_up=False, after=AGE + LAG + stale)) == []
    assert list(survivors(year, Ours, issuer_up=False, after=AGE // 2))


@pytest.mark.parametrize(
    ("policy", "kind", "verdict"),
    [
        (Hasty(90 * DAY), Plain, "refused"),
        (Hastier(90 * DAY), Plain, "refused"),
        (Hastier(90 * DAY), Ours, "refused"),
        (Hastier(90 * DAY), Ours, "cannot tell"),
        (Forgetful(90 * DAY), Ours, "refused"),
        (Forgetful(90 * DAY), Plain, "refused"),
    ],
    ids=["hasty", "hastier-plain", "hastier-refused", "hastier-unknown", "forgetful-ours", "forgetful-plain"],
)
async def test_less_would_not_do(stage: Stage, policy: RotationPolicy, kind: Kind, verdict: str):
    """With a shorter lead or trail good tokens are refused, so that the tests above would see it."""
    year = await live_a_year(stage, policy, impatient=4)
    assert any(each.startswith(verdict) for each in trouble(year, kind))
