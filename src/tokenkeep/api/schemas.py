"""Request and response bodies: JSON in camelCase. Unknown members of a request are refused."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenkeep.domain.accounts import LONGEST_NAME, LONGEST_PASSWORD

# Said in the description only; `domain.accounts` holds to them, with a sentence of its own for each.
Name = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": LONGEST_NAME})]
Password = Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": LONGEST_PASSWORD})]


class RequestBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A request body; its repr shows no values, since most of them are secrets."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class LoginRequest(RequestBody):
    """Body of `POST /login`."""

    name: Name
    password: Password
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
    """A problem document (RFC 9457): `code` is stable, `error` is the sentence, `reason` is for token failures."""

    type: str
    title: str
    status: int
    code: str
    error: str
    reason: str | None = None
    field: str | None = None
