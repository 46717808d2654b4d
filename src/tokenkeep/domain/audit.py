"""The closed list of events worth remembering, and what is remembered of each. Never a secret."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

OPERATOR: Final = "operator"
"""The actor of what is done by a command on the host."""
SYSTEM: Final = "system"
"""The actor of what the server does by itself."""
ANYONE: Final = "anyone"
"""The actor of a refused request: whoever sent it has not shown who they are."""


class EventKind(StrEnum):
    """What happened."""

    ACCOUNT_CREATED = "account_created"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_ENABLED = "account_enabled"
    ROLE_CHANGED = "role_changed"
    ACCOUNT_DELETED = "account_deleted"
    PASSWORD_SET = "password_set"
    PASSWORD_CHANGED = "password_changed"
    LOGIN_REFUSED = "login_refused"
    SESSION_STARTED = "session_started"
    SESSION_ENDED = "session_ended"
    LOGGED_OUT_EVERYWHERE = "logged_out_everywhere"
    REFRESH_ROTATED = "refresh_rotated"
    REFRESH_REPLAYED = "refresh_replayed"
    REFRESH_REFUSED = "refresh_refused"
    REFRESH_REUSED = "refresh_reused"
    REFRESH_ROLLED_BACK = "refresh_rolled_back"
    SIGNING_KEY_CREATED = "signing_key_created"
    RECOVERED = "recovered"
    TOKEN_REFUSED = "token_refused"
    REQUEST_REFUSED = "request_refused"


REFUSALS: Final = (
    EventKind.LOGIN_REFUSED,
    EventKind.REFRESH_REFUSED,
    EventKind.TOKEN_REFUSED,
    EventKind.REQUEST_REFUSED,
)
"""What changed nothing, so that strangers can bring about as much of it as they like."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, to be stored with the change it tells of.

    Attributes:
        kind: what happened.
        at: when, in milliseconds since the epoch, UTC.
        actor: who did it: an account id, `operator` or `system`.
        account_id, session_id: what it concerns.
        address, user_agent: where it came from, as far as known.
        detail: one more word, such as a role or a key id; never a secret.
    """

    kind: EventKind
    at: int
    actor: str
    account_id: str | None = None
    session_id: str | None = None
    address: str = ""
    user_agent: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted; None means any. Instants are milliseconds since the epoch, UTC."""

    kind: EventKind | None = None
    account_id: str | None = None
    session_id: str | None = None
    address: str | None = None
    since: int | None = None
    before: int | None = None
    limit: int = 100
