"""Signing keys: their states, what is remembered of them, and what is missing from a set of them.

Not here: when a key goes from one state to the next (`domain.key_rotation`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tokenkeep.domain.errors import NotFound
from tokenkeep.jose import Key

_ID_FORM: Final = re.compile(r"[A-Za-z0-9_-]{43}")


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
class KeyRecord:
    """What is remembered of a signing key for good; the key itself is forgotten with its end.

    Instants are milliseconds since the epoch, UTC.

    Attributes:
        id: the `kid`.
        created_at: since when it is published.
        activated_at, deactivated_at: when it began and ceased to sign.
        requested_at: when somebody asked that it sign as soon as that is safe; for a key of another algorithm than the
            one that signs, this says too that every verifier is ready for it.
        ended_at: when it was retired or revoked.
    """

    id: str
    algorithm: str
    state: KeyState
    created_at: int
    activated_at: int | None = None
    deactivated_at: int | None = None
    requested_at: int | None = None
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A signing key and where it stands. Instants are milliseconds since the epoch, UTC."""

    key: Key
    state: KeyState
    created_at: int
    activated_at: int | None = None
    requested_at: int | None = None

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


def in_state(state: KeyState, keys: Iterable[KeyRecord]) -> KeyRecord | None:
    """Return the first key in a state; there is at most one that signs, and one to follow it."""
    return next((key for key in keys if key.state is state), None)


def missing_states(present: Iterable[KeyState]) -> tuple[KeyState, ...]:
    """Return which of the two keys that must always exist do not: the one that signs, and the one to follow it."""
    states = set(present)
    return tuple(state for state in (KeyState.ACTIVE, KeyState.UPCOMING) if state not in states)


def parse_key_id(text: str) -> str:
    """Return the id of a signing key that a request names.

    Raises:
        NotFound: no signing key can have it.
    """
    if not _ID_FORM.fullmatch(text):
        raise NotFound
    return text
