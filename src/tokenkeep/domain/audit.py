"""The closed list of events worth remembering, and what is remembered of each. Never a secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

OPERATOR: Final = "operator"
"""The actor of what is done by a command on the host."""
SYSTEM: Final = "system"
"""The actor of what the server does by itself."""
ANYONE: Final = "anyone"
"""The actor of a refused request: whoever sent it has not shown who they are."""


class Outcome(StrEnum):
    """How it ended for whoever wanted it."""

    DONE = "done"
    REFUSED = "refused"
    ALARM = "alarm"
    """Refused, and so suspicious that a session was ended."""


class EventKind(StrEnum):
    """What happened; each kind has one outcome."""

    ACCOUNT_CREATED = "account_created"
    ACCOUNT_IMPORTED = "account_imported"
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
    EVERYONE_LOGGED_OUT = "everyone_logged_out"
    TOKEN_REVOKED = "token_revoked"
    REFRESH_ROTATED = "refresh_rotated"
    REFRESH_REPLAYED = "refresh_replayed"
    REFRESH_REFUSED = "refresh_refused"
    REFRESH_REUSED = "refresh_reused"
    REFRESH_ROLLED_BACK = "refresh_rolled_back"
    SIGNING_KEY_CREATED = "signing_key_created"
    KEY_ROTATION_REQUESTED = "key_rotation_requested"
    SIGNING_KEY_ACTIVATED = "signing_key_activated"
    SIGNING_KEY_RETIRED = "signing_key_retired"
    SIGNING_KEY_REVOKED = "signing_key_revoked"
    RECOVERED = "recovered"
    TOKEN_REFUSED = "token_refused"
    REQUEST_REFUSED = "request_refused"

    @property
    def outcome(self) -> Outcome:
        """How it ended for whoever wanted it."""
        if self in {EventKind.REFRESH_REUSED, EventKind.REFRESH_ROLLED_BACK}:
            return Outcome.ALARM
        return Outcome.REFUSED if self in _REFUSALS else Outcome.DONE


_REFUSALS: Final = frozenset(
    {EventKind.LOGIN_REFUSED, EventKind.REFRESH_REFUSED, EventKind.TOKEN_REFUSED, EventKind.REQUEST_REFUSED}
)


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
        id: what the log gave it, so that reading can go on from there.
    """

    kind: EventKind
    at: int
    actor: str
    account_id: str | None = None
    session_id: str | None = None
    address: str = ""
    user_agent: str = ""
    detail: str = ""
    id: str = field(default="", compare=False)


REFRESH_VERDICTS: Final = ("rotated", "replayed", "overtaken", "reused", "abandoned", "ended", "rolled_back", "invalid")
"""What a presented refresh token can turn out to be."""

_TOLD_BY_KIND: Final = {
    EventKind.REFRESH_ROTATED: "rotated",
    EventKind.REFRESH_REPLAYED: "replayed",
    EventKind.REFRESH_REUSED: "reused",
    EventKind.REFRESH_ROLLED_BACK: "rolled_back",
}


def refresh_verdict(event: Event) -> str | None:
    """Return the verdict on a refresh token that an event tells of: by its kind, or by its detail if it was refused."""
    if event.kind is EventKind.REFRESH_REFUSED and event.detail in REFRESH_VERDICTS:
        return event.detail
    return _TOLD_BY_KIND.get(event.kind)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted; None means any. Instants are milliseconds since the epoch, UTC.

    `older_than` is the id of an event; only events before it in the log are wanted.
    """

    kind: EventKind | None = None
    actor: str | None = None
    account_id: str | None = None
    session_id: str | None = None
    address: str | None = None
    since: int | None = None
    before: int | None = None
    older_than: str | None = None
    limit: int = 100
