"""When signing keys change: one plan, computed from what is stored, that chores carry out and people are shown.

A key is published before it signs, for as long as anybody may hold an older key set, and stays published after it has
signed for the last time, for as long as a token of it may be shown to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from tokenkeep.domain.revocations import GREATEST_LEEWAY
from tokenkeep.domain.signing_keys import KeyRecord, KeyState, in_state, missing_states

KEY_SET_AGE: Final = 300_000
"""Milliseconds for which anyone may keep the published key set."""
GREATEST_COOLDOWN: Final = 20_000
"""Milliseconds that a verifier may wait between two fetches of the key set."""
PROPAGATION: Final = 20_000
"""Milliseconds in which every process takes up a change of the keys, or neither signs nor publishes any."""


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """How often the signing key changes, and what a change must wait for. All in milliseconds.

    Attributes:
        interval: how long a key signs.
        key_set_age: for how long anyone may keep the published key set.
        fetch_cooldown: how long a verifier may wait between two fetches.
        propagation: in which every process takes up a change, or stands still.
        leeway: by which the clocks of verifiers may be off.

    Raises:
        ValueError: a key would have to sign before it has been published for long enough.
    """

    interval: int
    key_set_age: int = KEY_SET_AGE
    fetch_cooldown: int = GREATEST_COOLDOWN
    propagation: int = PROPAGATION
    leeway: int = GREATEST_LEEWAY

    def __post_init__(self) -> None:
        if self.interval < self.lead:
            raise ValueError(f"a key is published for {self.lead} ms before it signs, so it must sign for as long")

    @property
    def lead(self) -> int:
        """How long a key is published before it signs: then every verifier has it, or may fetch it."""
        return self.key_set_age + self.fetch_cooldown + self.propagation

    def trail(self, longest_access_life: int) -> int:
        """Return how long a key stays published after its successor has begun to sign: its tokens are over then.

        Args:
            longest_access_life: of any token that the key may have signed.
        """
        return longest_access_life + self.leeway + self.key_set_age + self.propagation


@dataclass(frozen=True, slots=True)
class PlannedKey:
    """A key and what lies before it and behind it. An instant is None where there is none, or nobody knows it yet."""

    key: KeyRecord
    signs_from: int | None = None
    signs_until: int | None = None
    leaves_at: int | None = None
    """When it leaves the key set."""


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """What is to be done with the signing keys, and when.

    Attributes:
        now: the instant for which it holds.
        keys: all keys that were asked about, in the same order.
        promotion_at: when the upcoming key begins to sign; None if there is none, or it waits.
        waits_for: the algorithm that verifiers must be ready for before the upcoming key may sign.
        missing: which of the keys that must always exist do not.
    """

    now: int
    keys: tuple[PlannedKey, ...]
    promotion_at: int | None
    waits_for: str | None
    missing: tuple[KeyState, ...]

    @property
    def active(self) -> KeyRecord | None:
        """The key that signs."""
        return in_state(KeyState.ACTIVE, (planned.key for planned in self.keys))

    @property
    def upcoming(self) -> KeyRecord | None:
        """The key that follows it."""
        return in_state(KeyState.UPCOMING, (planned.key for planned in self.keys))

    @property
    def promotes(self) -> bool:
        """Whether the upcoming key is to sign from now on."""
        return self.promotion_at is not None and self.promotion_at <= self.now

    @property
    def leaving(self) -> tuple[KeyRecord, ...]:
        """The keys of which no token is accepted anywhere any more, so that they leave the key set now."""
        return tuple(
            planned.key
            for planned in self.keys
            if planned.key.state is KeyState.RETIRING
            and planned.leaves_at is not None
            and planned.leaves_at <= self.now
        )

    @property
    def due(self) -> bool:
        """Whether anything is to be done now."""
        return self.promotes or bool(self.leaving) or bool(self.missing)


def plan_rotation(
    keys: Iterable[KeyRecord], now: int, policy: RotationPolicy, *, longest_access_life: int
) -> RotationPlan:
    """Return what is to be done with these keys, and when; what is overdue is to be done now.

    Args:
        longest_access_life: milliseconds of the longest life of an access token ever configured.
    """
    present = tuple(keys)
    active, upcoming = in_state(KeyState.ACTIVE, present), in_state(KeyState.UPCOMING, present)
    waits = active is not None and upcoming is not None and waits_for_verifiers(active, upcoming)
    promotion_at = None
    if active is not None and upcoming is not None and not waits:
        promotion_at = max(now, _promotion(active, upcoming, policy))
    trail = policy.trail(longest_access_life)
    return RotationPlan(
        now=now,
        keys=tuple(_planned(key, now, promotion_at, interval=policy.interval, trail=trail) for key in present),
        promotion_at=promotion_at,
        waits_for=upcoming.algorithm if waits and upcoming is not None else None,
        missing=missing_states(key.state for key in present),
    )


def waits_for_verifiers(active: KeyRecord, upcoming: KeyRecord) -> bool:
    """Tell whether the upcoming key must not sign yet: verifiers name the algorithms they accept, and not this one."""
    return upcoming.algorithm != active.algorithm and upcoming.requested_at is None


def as_if_requested(keys: Iterable[KeyRecord], now: int) -> list[KeyRecord]:
    """Return the keys as they would be if somebody asked now for the next one to sign."""
    return [
        replace(key, requested_at=now) if key.state is KeyState.UPCOMING and key.requested_at is None else key
        for key in keys
    ]


def _promotion(active: KeyRecord, upcoming: KeyRecord, policy: RotationPolicy) -> int:
    wanted = (active.activated_at or active.created_at) + policy.interval
    if upcoming.requested_at is not None:
        wanted = min(wanted, upcoming.requested_at)
    return max(wanted, upcoming.created_at + policy.lead)


def _planned(key: KeyRecord, now: int, promotion_at: int | None, *, interval: int, trail: int) -> PlannedKey:
    match key.state:
        case KeyState.UPCOMING:
            until = None if promotion_at is None else promotion_at + interval
            return PlannedKey(key, promotion_at, until, None if until is None else until + trail)
        case KeyState.ACTIVE:
            leaves_at = None if promotion_at is None else promotion_at + trail
            return PlannedKey(key, key.activated_at, promotion_at, leaves_at)
        case KeyState.RETIRING:
            leaves_at = None if key.deactivated_at is None else max(now, key.deactivated_at + trail)
            return PlannedKey(key, key.activated_at, key.deactivated_at, leaves_at)
        case _:
            return PlannedKey(key, key.activated_at, key.deactivated_at, key.ended_at)
