"""The route table: path, method, guard, handler, schemas. The application and its description derive from it."""

from __future__ import annotations

from typing import Final

from tokenkeep.api import accounts, forward_auth, keys, operations, pages, revocations, sessions
from tokenkeep.api.admin_routes import ADMIN_ROUTES
from tokenkeep.api.endpoint import Endpoint, Guard
from tokenkeep.api.schemas import (
    Done,
    Health,
    JwkSet,
    LoginRequest,
    LogoutRequest,
    Me,
    PasswordRequest,
    RefreshRequest,
    Registered,
    RegisterRequest,
    RevocationQuery,
    SessionList,
    TokenResponse,
    VerifyQuery,
)

_TOKEN_REFUSALS: Final = ("missing_token", "invalid_token", "unavailable")

ROUTES: Final = (
    Endpoint(
        "POST",
        "/login",
        Guard.PUBLIC,
        sessions.login,
        TokenResponse,
        "Log in with a name and password.",
        body=LoginRequest,
        cookie=True,
        body_required=True,
        refusals=("invalid_credentials", "password_change_required", "busy", "too_many_requests"),
    ),
    Endpoint(
        "POST",
        "/refresh",
        Guard.PUBLIC,
        sessions.refresh,
        TokenResponse,
        "Exchange the refresh token for the next pair.",
        body=RefreshRequest,
        cookie=True,
        refusals=("no_valid_refresh_token", "invalid_refresh_token", "too_many_requests"),
    ),
    Endpoint(
        "POST",
        "/logout",
        Guard.PUBLIC,
        sessions.logout,
        Done,
        "End the session of the refresh token, and its access tokens.",
        body=LogoutRequest,
        cookie=True,
        refusals=("too_many_requests",),
    ),
    Endpoint("GET", "/me", Guard.BEARER, sessions.me, Me, "Tell who the bearer is.", refusals=_TOKEN_REFUSALS),
    Endpoint(
        "GET",
        "/verify",
        Guard.AUDIENCE,
        forward_auth.verify,
        Done,
        "Tell a proxy whether the bearer may pass, and in the headers who it is.",
        query=VerifyQuery,
        headers=forward_auth.IDENTITY_HEADERS,
        refusals=(*_TOKEN_REFUSALS, "forbidden"),
    ),
    Endpoint(
        "GET",
        "/sessions",
        Guard.BEARER,
        sessions.list_sessions,
        SessionList,
        "List the bearer's live sessions.",
        refusals=_TOKEN_REFUSALS,
    ),
    Endpoint(
        "DELETE",
        "/sessions",
        Guard.BEARER,
        sessions.end_all_sessions,
        Done,
        "Log out everywhere: end all of the bearer's sessions and access tokens.",
        cookie=True,
        refusals=(*_TOKEN_REFUSALS, "not_found"),
    ),
    Endpoint(
        "DELETE",
        "/sessions/{session}",
        Guard.BEARER,
        sessions.end_session,
        Done,
        "End one of the bearer's sessions.",
        refusals=(*_TOKEN_REFUSALS, "not_found"),
    ),
    Endpoint(
        "POST",
        "/password",
        Guard.BEARER,
        sessions.change_password,
        TokenResponse,
        "Change the bearer's password; all sessions end and a new one begins.",
        body=PasswordRequest,
        body_required=True,
        cookie=True,
        refusals=(*_TOKEN_REFUSALS, "invalid_credentials", "busy", "too_many_requests"),
    ),
    *ADMIN_ROUTES,
    Endpoint(
        "GET",
        "/.well-known/jwks.json",
        Guard.PUBLIC,
        keys.jwks,
        JwkSet,
        "Publish the keys that verify access tokens.",
        revalidated=True,
    ),
    Endpoint(
        "GET",
        "/tokenkeep.js",
        Guard.PUBLIC,
        pages.browser_client,
        None,
        "Serve the browser client.",
        text=pages.SCRIPT,
        revalidated=True,
    ),
    Endpoint("GET", "/livez", Guard.PUBLIC, operations.livez, Health, "Tell that the process runs."),
    Endpoint(
        "GET",
        "/readyz",
        Guard.PUBLIC,
        operations.readyz,
        Health,
        "Tell whether requests can be served.",
        refusals=("storage_unavailable", "unavailable"),
    ),
    Endpoint(
        "GET",
        "/metrics",
        Guard.OPERATIONS,
        operations.metrics,
        None,
        "Show metrics, to this machine or with the operations token.",
        refusals=("not_found",),
    ),
)
"""What every server serves."""

REGISTRATION: Final = Endpoint(
    "POST",
    "/register",
    Guard.PUBLIC,
    accounts.register,
    Registered,
    "Make an account for oneself.",
    body=RegisterRequest,
    body_required=True,
    creates=True,
    own_pages=True,
    refusals=("name_taken", "busy", "too_many_requests"),
)
"""Served where it is allowed; elsewhere there is no such path."""


FEED: Final = Endpoint(
    "GET",
    "/revocations",
    Guard.FEED,
    revocations.revocations,
    None,
    "Publish what was revoked since the reader's last document, signed; waits for it where it is told to.",
    query=RevocationQuery,
    text=revocations.MEDIA_TYPE,
    refusals=("invalid_feed_token", "storage_unavailable", "unavailable"),
)
"""Served where there is a revocation feed; elsewhere there is no such path."""


def routes_served(*, registration: bool, feed: bool = False) -> list[Endpoint]:
    """Return the rows that a server serves."""
    return [*ROUTES, *([REGISTRATION] if registration else []), *([FEED] if feed else [])]
