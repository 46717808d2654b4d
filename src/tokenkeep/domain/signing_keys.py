"""Signing keys: their states, and what is missing from a set of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tokenkeep.jose import Key


class AlgorithmChanged(Exception):
    """The configured signature algorithm is not that of the key that signs."""


class KeyState(StrEnum):
    """Where a signing key stands: `upcoming → active → retiring → retired`, or `revoked` at any time."""

    UPCOMING = "upcoming"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    REVOKED = "revoked"

    @property
    def published(self) -> bool:
        """Whether verifiers are given the key."""
        return self in {KeyState.UPCOMING, KeyState.ACTIVE, KeyState.RETIRING}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A signing key and where it stands. Instants are milliseconds since the epoch, UTC."""

    key: Key
    state: KeyState
    created_at: int
    activated_at: int | None = None

    @property
    def id(self) -> str:
        """The `kid`: the key's thumbprint (RFC 7638)."""
        return self.key.kid

    @property
    def symmetric(self) -> bool:
        """Whether whoever can verify with it can also sign, so that it must never be published."""
        return self.key.key_type == "oct"

    def verification_key(self) -> Key:
        """Return what this server verifies its own tokens with: the public part, where there is one."""
        return self.key if self.symmetric else self.key.public()


def missing_states(present: Iterable[KeyState]) -> tuple[KeyState, ...]:
    """Return which of the two keys that must always exist do not: the one that signs, and the one to follow it."""
    states = set(present)
    return tuple(state for state in (KeyState.ACTIVE, KeyState.UPCOMING) if state not in states)
