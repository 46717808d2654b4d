"""When signing keys change: each instant of the plan, as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokenkeep.domain.key_rotation import RotationPlan, RotationPolicy, as_if_requested, plan_rotation
from tokenkeep.domain.signing_keys import KeyRecord, KeyState

DAY = 86_400_000
LIFE = 900_000
POLICY = RotationPolicy(90 * DAY)
LEAD = 340_000
TRAIL = LIFE + 60_000 + 300_000 + 20_000

ACTIVE = KeyRecord("active", "ES256", KeyState.ACTIVE, created_at=0, activated_at=1_000)
UPCOMING = KeyRecord("upcoming", "ES256", KeyState.UPCOMING, created_at=1_000)
RETIRING = KeyRecord("retiring", "ES256", KeyState.RETIRING, created_at=0, activated_at=0, deactivated_at=5_000)
OTHER = replace(UPCOMING, algorithm="EdDSA")


def plan(*keys: KeyRecord, now: int = 2_000, life: int = LIFE, policy: RotationPolicy = POLICY) -> RotationPlan:
    """Return the plan for some keys."""
    return plan_rotation(keys, now, policy, longest_access_life=life)


def test_the_usual_numbers():
    """By default a key is published for 5 minutes 40 seconds before it signs, and for 21 minutes 20 seconds after."""
    assert POLICY.lead == LEAD == (5 * 60 + 40) * 1000
    assert POLICY.trail(LIFE) == TRAIL == (21 * 60 + 20) * 1000


@pytest.mark.parametrize(
    ("upcoming", "now", "promotion_at", "promotes"),
    [
        (UPCOMING, 2_000, 1_000 + 90 * DAY, False),
        (UPCOMING, 1_000 + 90 * DAY - 1, 1_000 + 90 * DAY, False),
        (UPCOMING, 1_000 + 90 * DAY, 1_000 + 90 * DAY, True),
        (UPCOMING, 1_000 + 91 * DAY, 1_000 + 91 * DAY, True),
        # asked for: as soon as it has been published for long enough
        (replace(UPCOMING, requested_at=2_000), 2_000, 1_000 + LEAD, False),
        (replace(UPCOMING, requested_at=2_000), 1_000 + LEAD - 1, 1_000 + LEAD, False),
        (replace(UPCOMING, requested_at=2_000), 1_000 + LEAD, 1_000 + LEAD, True),
        (replace(UPCOMING, requested_at=DAY), DAY, DAY, True),
        # published late: however old the key is that signs
        (replace(UPCOMING, created_at=100 * DAY), 100 * DAY, 100 * DAY + LEAD, False),
        (replace(UPCOMING, created_at=100 * DAY, requested_at=100 * DAY), 100 * DAY + 1, 100 * DAY + LEAD, False),
        (replace(UPCOMING, created_at=100 * DAY), 100 * DAY + LEAD, 100 * DAY + LEAD, True),
        # asked for after its time had come anyway
        (replace(UPCOMING, requested_at=95 * DAY), 95 * DAY, 95 * DAY, True),
        # another algorithm: never by itself, and like any other once verifiers are ready
        (OTHER, 2_000, None, False),
        (OTHER, 1_000 * DAY, None, False),
        (replace(OTHER, requested_at=2_000), 2_000, 1_000 + LEAD, False),
        (replace(OTHER, requested_at=2_000), 1_000 + LEAD, 1_000 + LEAD, True),
    ],
)
def test_when_the_upcoming_key_signs(upcoming: KeyRecord, now: int, promotion_at: int | None, promotes: bool):
    """After the interval or when asked for, but never before the lead, and with another algorithm only when asked."""
    made = plan(ACTIVE, upcoming, now=now)
    assert (made.promotion_at, made.promotes, made.due) == (promotion_at, promotes, promotes)
    assert made.waits_for == ("EdDSA" if promotion_at is None else None)


@pytest.mark.parametrize("life", [1_000, LIFE, DAY])
def test_a_key_stays_until_its_last_token_is_over(life: int):
    """It leaves after the longest access life ever, the greatest leeway, and the time to learn of a change."""
    leaves_at = 5_000 + life + 60_000 + 300_000 + 20_000
    for now, leaves in ((leaves_at - 1, False), (leaves_at, True), (leaves_at + DAY, True)):
        made = plan(ACTIVE, UPCOMING, RETIRING, now=now, life=life)
        assert made.leaving == ((RETIRING,) if leaves else ())
        assert made.due is leaves


def test_a_key_of_which_nobody_knows_when_it_ceased_stays():
    """What cannot be told is not guessed."""
    made = plan(ACTIVE, UPCOMING, replace(RETIRING, deactivated_at=None), now=1_000 + 89 * DAY)
    assert made.leaving == ()


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ([ACTIVE], (KeyState.UPCOMING,)),
        ([UPCOMING], (KeyState.ACTIVE,)),
        ([], (KeyState.ACTIVE, KeyState.UPCOMING)),
        ([ACTIVE, UPCOMING], ()),
    ],
)
def test_what_is_missing_is_due(present: list[KeyRecord], missing: tuple[KeyState, ...]):
    """There is always a key that signs and one that follows; nothing is promoted while one of them lacks."""
    made = plan(*present, now=1_000 * DAY if missing else 2_000)
    assert (made.missing, made.due) == (missing, bool(missing))
    assert missing == () or made.promotion_at is None


def test_the_timetable_says_when_each_key_signs_and_leaves():
    """For each key from when until when it signs, and when it leaves the key set, as far as that is known."""
    ended = KeyRecord("gone", "ES256", KeyState.RETIRED, 0, activated_at=1, deactivated_at=2, ended_at=3)
    made = plan(ended, RETIRING, ACTIVE, UPCOMING, now=6_000)
    at = 1_000 + 90 * DAY
    assert [(each.key.id, each.signs_from, each.signs_until, each.leaves_at) for each in made.keys] == [
        ("gone", 1, 2, 3),
        ("retiring", 0, 5_000, 5_000 + TRAIL),
        ("active", 1_000, at, at + TRAIL),
        ("upcoming", at, at + 90 * DAY, at + 90 * DAY + TRAIL),
    ]
    assert (made.active, made.upcoming) == (ACTIVE, UPCOMING)


def test_what_waits_has_no_time():
    """While the next key waits for verifiers, nobody knows how long the one that signs goes on."""
    made = plan(ACTIVE, OTHER)
    assert [(each.signs_from, each.signs_until, each.leaves_at) for each in made.keys] == [
        (1_000, None, None),
        (None, None, None),
    ]


def test_a_preview_asks_and_changes_nothing_else():
    """As if asked, only the upcoming key is, and one that was asked for stays so from then."""
    assert as_if_requested([ACTIVE, UPCOMING], 7) == [ACTIVE, replace(UPCOMING, requested_at=7)]
    asked = replace(UPCOMING, requested_at=3)
    assert as_if_requested([asked], 7) == [asked]


@pytest.mark.parametrize(
    "changes",
    [{"interval": LEAD - 1}, {"interval": 400_000, "key_set_age": 400_000}, {"interval": 0}],
    ids=str,
)
def test_a_key_must_sign_for_as_long_as_it_is_published_before(changes: dict[str, Any]):
    """An interval shorter than the lead is refused: there would be no key to follow in time."""
    with pytest.raises(ValueError, match="published for"):
        RotationPolicy(**changes)
    assert RotationPolicy(LEAD).lead == LEAD
