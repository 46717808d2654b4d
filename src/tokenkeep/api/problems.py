"""Where an error becomes a status and a problem document (RFC 9457). The only place with status numbers.

A client is told `code` (stable) and `error` (a sentence); what was wrong in detail goes to the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tokenkeep.api.schemas import Problem
from tokenkeep.domain.errors import InvalidField, Refusal, Throttled, Unavailable
from tokenkeep.domain.readiness import Need
from tokenkeep.verifier.challenge import Refused

MEDIA_TYPE: Final = "application/problem+json"
SUCCESS: Final = 200
"""The status of most good answers."""
CREATED: Final = 201
"""The status of an answer to a request that made something."""
NOT_MODIFIED: Final = 304
"""The status of an answer that the client already has."""


class RequestRefused(Exception):
    """A request was refused before any flow saw it.

    `code` is one of this module's table; `sentence` replaces the usual one; `field` names what was wrong; `noted` is
    what the audit log remembers of it, if anything.
    """

    def __init__(
        self, code: str, sentence: str | None = None, *, field: str | None = None, noted: str | None = None
    ) -> None:
        super().__init__(sentence or code)
        self.code = code
        self.sentence = sentence
        self.field = field
        self.noted = code if code == "cross_site" else noted


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    sentence: str
    challenge: str | None = None


_KINDS: Final = MappingProxyType(
    {
        "malformed_request": _Kind(400, "Malformed request"),
        "invalid_credentials": _Kind(401, "Invalid credentials"),
        "no_valid_refresh_token": _Kind(401, "No valid refresh token"),
        "invalid_refresh_token": _Kind(401, "Invalid refresh token"),
        "missing_token": _Kind(401, "Missing token"),
        "invalid_token": _Kind(401, "Invalid token"),
        "invalid_feed_token": _Kind(401, "The feed token is missing or wrong", challenge="Bearer"),
        "forbidden": _Kind(403, "Forbidden"),
        "password_change_required": _Kind(403, "Password change required"),
        "cross_site": _Kind(403, "Cross-site request refused"),
        "https_required": _Kind(403, "Use https; plain http is accepted from the trusted proxies only"),
        "not_found": _Kind(404, "Not found"),
        "method_not_allowed": _Kind(405, "Method not allowed"),
        "name_taken": _Kind(409, "Name already taken"),
        "last_administrator": _Kind(409, "The last administrator cannot give up the role, be disabled or be deleted"),
        "verifiers_not_ready": _Kind(
            409, "The next key has another algorithm: have every verifier accept it, then say that they are ready"
        ),
        "request_timeout": _Kind(408, "The request body came too slowly"),
        "body_too_large": _Kind(413, "The request body is too large"),
        "unsupported_media_type": _Kind(415, "The request body must be application/json"),
        "misdirected_request": _Kind(421, "This host is not served here; see the setting allowed_hosts"),
        "invalid_field": _Kind(422, "Invalid field"),
        "too_many_requests": _Kind(429, "Too many attempts, try again later"),
        "headers_too_large": _Kind(431, "The request headers are too large"),
        "internal_error": _Kind(500, "Internal error"),
        "unavailable": _Kind(503, "Temporarily unavailable"),
        "storage_unavailable": _Kind(503, "Temporarily unavailable"),
        "busy": _Kind(503, "Too many logins at once, try again shortly"),
    }
)

CODES: Final = tuple(_KINDS)
"""Every code that a problem document can carry."""


def status_of(code: str) -> int:
    """Return the status of a code."""
    return _KINDS[code].status


def problem(
    code: str,
    *,
    sentence: str | None = None,
    reason: str | None = None,
    field: str | None = None,
    missing: Sequence[Need] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """Return the response of a code."""
    kind = _KINDS[code]
    document = Problem(
        type="about:blank",
        title=HTTPStatus(kind.status).phrase,
        status=kind.status,
        code=code,
        error=sentence or kind.sentence,
        reason=reason,
        field=field,
        missing=list(missing) or None,
    )
    return Response(
        msgspec.json.encode(document),
        status_code=kind.status,
        media_type=MEDIA_TYPE,
        headers={
            "Cache-Control": "no-store",
            **({"WWW-Authenticate": kind.challenge} if kind.challenge else {}),
            **(headers or {}),
        },
    )


def code_of(error: Exception) -> str:
    """Return the code of an error; `internal_error` is that of one that nobody expected."""
    match error:
        case Refused() | Refusal() | RequestRefused():
            return error.code
        case HTTPException(status_code=405):
            return "method_not_allowed"
        case HTTPException(status_code=404):
            return "not_found"
        case HTTPException():
            return "malformed_request"
        case _:
            return "internal_error"


def problem_of(error: Exception) -> Response:
    """Return the response of an error; one that nobody expected says nothing about itself."""
    match error:
        case Refused():
            return problem(error.code, sentence=error.sentence, reason=error.reason, headers=error.headers())
        case InvalidField():
            return problem(error.code, sentence=error.sentence, field=error.field)
        case Throttled():
            return problem(error.code, headers=_limit_headers(error))
        case Unavailable():
            return problem(error.code, missing=error.missing, headers={"Retry-After": str(error.retry_after)})
        case Refusal():
            return problem(error.code, sentence=error.sentence)
        case RequestRefused():
            return problem(error.code, sentence=error.sentence, field=error.field)
        case HTTPException():
            return problem(code_of(error), headers=dict(error.headers or {}))
        case _:
            return problem(code_of(error))


def _limit_headers(error: Throttled) -> dict[str, str]:
    """Return when to come back, and the quota that is spent (draft-ietf-httpapi-ratelimit-headers)."""
    headers = {"Retry-After": str(error.retry_after)}
    if error.quota is not None:
        headers["RateLimit-Policy"] = f'"{error.quota.name}";q={error.quota.count};w={error.quota.window}'
        headers["RateLimit"] = f'"{error.quota.name}";r=0;t={error.retry_after}'
    return headers
