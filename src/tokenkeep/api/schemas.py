"""Request and response bodies: JSON in camelCase. Unknown members of a request are refused."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tokenkeep.domain.accounts import DEFAULT_ROLE, LONGEST_NAME, LONGEST_PASSWORD
from tokenkeep.domain.audit import EventKind, Outcome
from tokenkeep.domain.readiness import Need
from tokenkeep.flows.publish_revocations import LONGEST_WAIT

# Said in the description only; `domain.accounts` holds to them, with a sentence of its own for each.
Name = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": LONGEST_NAME})]
Password = Annotated[str, Meta(extra_json_schema={"maxLength": LONGEST_PASSWORD})]


class RequestBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A request body; its repr shows no values, since most of them are secrets."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class LoginRequest(RequestBody):
    """Body of `POST /login`; a new password replaces a temporary one."""

    name: Name
    password: Password
    new_password: Password | None = None
    audience: str | None = None
    delivery: Literal["cookie", "body"] = "cookie"


class RefreshRequest(RequestBody):
    """Body of `POST /refresh`; sessions delivered by body send their token here."""

    audience: str | None = None
    refresh_token: str | None = None


class LogoutRequest(RequestBody):
    """Body of `POST /logout`; sessions delivered by body send their token here."""

    refresh_token: str | None = None


class PasswordRequest(RequestBody):
    """Body of `POST /password`."""

    current_password: Password
    new_password: Password


class RegisterRequest(RequestBody):
    """Body of `POST /register`."""

    name: Name
    password: Password


class NewUserRequest(RequestBody):
    """Body of `POST /admin/users`; the first password is drawn by the server."""

    name: Name
    role: str = DEFAULT_ROLE


class RotationRequest(RequestBody):
    """Body of `POST /admin/keys/rotate`; whether every verifier accepts the algorithm of the next key."""

    verifiers_ready: bool = False


class RoleRequest(RequestBody):
    """Body of `PUT /admin/users/{user}/role`."""

    role: str


class QueryParameters(msgspec.Struct, rename="camel"):
    """A query. Parameters that are not in it are refused, and so are those that are there twice."""


MOST_LISTED: Final = 200
"""Items of the longest page."""
_Limit = Annotated[int, Meta(ge=1, le=MOST_LISTED, description="Items on a page at most.")]
_Id = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{22}$", min_length=22, max_length=22)]
_Instant = Annotated[int, Meta(ge=0, le=2**40, description="Seconds since the epoch.")]


class UserQuery(QueryParameters):
    """Query of `GET /admin/users`."""

    after: Annotated[str, Meta(max_length=LONGEST_NAME, description="Begin after this name.")] | UnsetType = UNSET
    limit: _Limit = 50


class AuditQuery(QueryParameters):
    """Query of `GET /admin/audit`."""

    event: EventKind | UnsetType = UNSET
    actor: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$", max_length=22)] | UnsetType = UNSET
    account_id: _Id | UnsetType = UNSET
    session_id: _Id | UnsetType = UNSET
    address: Annotated[str, Meta(pattern="^[!-~]+$", max_length=64)] | UnsetType = UNSET
    since: _Instant | UnsetType = UNSET
    before: _Instant | UnsetType = UNSET
    older_than: (
        Annotated[
            str, Meta(pattern="^[0-9a-f]{12}-[0-9a-f]{8}-[0-9a-f]{8}$", max_length=30, description="`next` of a page.")
        ]
        | UnsetType
    ) = UNSET
    limit: _Limit = 50


class RevocationQuery(QueryParameters):
    """Query of `GET /revocations`: what the reader knows already, and how long it waits if there is nothing new."""

    epoch: (
        Annotated[str, Meta(min_length=1, max_length=64, description="`epoch` of the last document.")] | UnsetType
    ) = UNSET
    after: Annotated[int, Meta(ge=0, le=2**53, description="`to` of the last document.")] | UnsetType = UNSET
    wait: Annotated[int, Meta(ge=0, le=LONGEST_WAIT, description="Seconds to wait for news.")] = 0


class VerifyQuery(QueryParameters):
    """Query of `GET /verify`; it is written by a proxy."""

    audience: Annotated[str, Meta(description="Whom the token must be for; the issuer by default.")] | UnsetType = UNSET
    role: (
        Annotated[
            str,
            Meta(pattern="^[a-z][a-z0-9_-]*$", max_length=32, description="The role that the token must carry."),
        ]
        | UnsetType
    ) = UNSET


class ResponseBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """A response body."""


class TokenResponse(ResponseBody):
    """The answer of `/login` and `/refresh`. Lives are in seconds."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str | None = None


class Done(ResponseBody):
    """The answer of a request that has nothing else to tell."""

    ok: bool


class Me(ResponseBody):
    """The bearer, as the access token tells."""

    id: str
    name: str
    role: str


class Registered(ResponseBody):
    """The answer of `POST /register`."""

    id: str
    name: str
    role: str


class User(ResponseBody):
    """An account, as administrators see it. Instants are seconds since the epoch.

    `password_expires_at` is there while the password is a temporary one.
    """

    id: str
    name: str
    role: str
    disabled: bool
    created_at: int
    last_login_at: int | None = None
    password_expires_at: int | None = None


class UserList(ResponseBody):
    """The answer of `GET /admin/users`; `next` is what to begin the next page after, if there is more."""

    users: list[User]
    next: str | None = None


class CreatedUser(ResponseBody):
    """The answer of `POST /admin/users`; the password is shown this once, and must be replaced at the first login."""

    user: User
    first_password: str

    def __repr__(self) -> str:
        return f"CreatedUser({self.user!r}, …)"


class AuditEvent(ResponseBody):
    """Something that happened. `at` is in seconds since the epoch."""

    id: str
    at: int
    event: EventKind
    outcome: Outcome
    actor: str
    account_id: str | None = None
    session_id: str | None = None
    address: str = ""
    user_agent: str = ""
    detail: str = ""


class AuditPage(ResponseBody):
    """The answer of `GET /admin/audit`, the newest first; `next` is `olderThan` of the next page, if there is one."""

    events: list[AuditEvent]
    next: str | None = None


class SessionItem(ResponseBody):
    """One live session. Instants are seconds since the epoch."""

    id: str
    created_at: int
    last_used_at: int
    expires_at: int
    user_agent: str
    address: str
    current: bool


class SessionList(ResponseBody):
    """The answer of `GET /sessions`."""

    sessions: list[SessionItem]


class SigningKeyState(ResponseBody):
    """A signing key and where it stands."""

    kid: str
    alg: str
    state: str


class PlannedSigningKey(ResponseBody):
    """A signing key and what lies before and behind it. Instants are seconds since the epoch."""

    kid: str
    alg: str
    state: str
    created_at: int
    signs_from: int | None = None
    signs_until: int | None = None
    leaves_at: int | None = None
    revoked_at: int | None = None


class KeyTimetable(ResponseBody):
    """The answer of `/admin/keys`: all keys, when the next one will sign, and for what it waits if it must wait."""

    keys: list[PlannedSigningKey]
    next_rotation_at: int | None = None
    waits_for_verifiers_of: str | None = None


class OverviewResponse(ResponseBody):
    """The answer of `GET /admin`."""

    accounts: int
    live_sessions: int
    signing_keys: list[SigningKeyState]


class Health(ResponseBody):
    """The answer of the health routes."""

    status: Literal["ok"]


class JwkSet(ResponseBody):
    """A JWK Set (RFC 7517 §5)."""

    keys: list[dict[str, str]]


class Problem(ResponseBody):
    """A problem document (RFC 9457): `code` is stable, `error` is the sentence, `reason` is for token failures.

    `missing` is what a server lacks that is not ready.
    """

    type: str
    title: str
    status: int
    code: str
    error: str
    reason: str | None = None
    field: str | None = None
    missing: list[Need] | None = None
