"""How a request without a good token is refused: status, challenge header (RFC 6750 §3) and body (RFC 9457).

    Refused
    ├── MissingToken       401, no credentials
    ├── AmbiguousRequest   400, more than one `Authorization` header
    ├── InvalidToken       401, malformed, forged, expired, revoked or meant for somebody else
    ├── Forbidden          403, a good token whose bearer may not do this
    └── CannotTell         503, the issuer's keys or its revocations are not known well enough now

What is wrong with a token is told to its bearer in `reason` only; the rest is in `detail`, for the log.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar


class Refused(Exception):
    """A request was refused; everything but `detail` may be sent to the client."""

    status: ClassVar[int]
    title: ClassVar[str]
    code: ClassVar[str]
    sentence: ClassVar[str]
    challenge: str | None = None
    retry_after: int | None = None
    reason: str | None = None

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.sentence)
        self.detail = detail

    def headers(self) -> dict[str, str]:
        """Return the headers that belong to the refusal."""
        headers = {"Cache-Control": "no-store"}
        if self.challenge is not None:
            headers["WWW-Authenticate"] = self.challenge
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return headers

    def problem(self) -> dict[str, Any]:
        """Return the members of the problem document."""
        members = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "error": self.sentence,
        }
        if self.reason is not None:
            members["reason"] = self.reason
        return members

    def body(self) -> bytes:
        """Return the problem document as JSON."""
        return json.dumps(self.problem(), separators=(",", ":")).encode()


class MissingToken(Refused):
    """The request carries no bearer token."""

    status = 401
    title = "Unauthorized"
    code = "missing_token"
    sentence = "Missing token"
    challenge = "Bearer"


class AmbiguousRequest(Refused):
    """The request carries several `Authorization` headers, so it is not known which one is meant."""

    status = 400
    title = "Bad Request"
    code = "malformed_request"
    sentence = "More than one Authorization header"
    challenge = 'Bearer error="invalid_request"'


class InvalidToken(Refused):
    """The token is not accepted; `reason` tells an expired one from all others."""

    status = 401
    title = "Unauthorized"
    code = "invalid_token"
    sentence = "Invalid token"
    challenge = 'Bearer error="invalid_token"'

    def __init__(self, detail: str = "", *, reason: str = "JsonWebTokenError") -> None:
        super().__init__(detail)
        self.reason = reason


class Forbidden(Refused):
    """The token is good, but its bearer lacks what the route asks for."""

    status = 403
    title = "Forbidden"
    code = "forbidden"
    sentence = "Forbidden"
    challenge = 'Bearer error="insufficient_scope"'

    def __init__(self, detail: str = "", *, scope: str | None = None) -> None:
        super().__init__(detail)
        if scope is not None:
            self.challenge = f'Bearer error="insufficient_scope", scope="{scope}"'


class CannotTell(Refused):
    """Keys or revocations are not known well enough now, so the token is neither accepted nor called invalid."""

    status = 503
    title = "Service Unavailable"
    code = "unavailable"
    sentence = "Temporarily unavailable"

    def __init__(self, detail: str = "", *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
