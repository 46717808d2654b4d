"""The ASGI application: routes, limits on headers, security headers, and a last resort for every error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokenkeep.api.dispatch import routes_of
from tokenkeep.api.endpoint import Endpoint, Services
from tokenkeep.api.problems import problem, problem_of

LARGEST_HEADERS: Final = 16 * 1024
"""Bytes of the largest header section."""

RequestLog = Callable[[str, str, int, float], None]
"""Told of each answer: method, path, status, seconds."""

_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def build(
    endpoints: Sequence[Endpoint], services: Services, *, allowed_origins: Sequence[str], log: RequestLog
) -> ASGIApp:
    """Return the application that serves the endpoints.

    Args:
        allowed_origins: origins besides the issuer's whose pages may read answers (CORS).
        log: told of each answer.
    """
    middleware = [Middleware(_Frame, secure=services.cookies.secure, log=log)]
    if allowed_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(allowed_origins),
                allow_credentials=True,
                allow_methods=sorted({endpoint.method for endpoint in endpoints}),
                allow_headers=["Authorization", "Content-Type"],
                expose_headers=["WWW-Authenticate", "Retry-After"],
            )
        )
    return Starlette(
        routes=routes_of(endpoints, services),
        middleware=middleware,
        exception_handlers={HTTPException: _respond_to_error, Exception: _respond_to_error},
    )


class _Frame:
    """Around every request: bounds its headers, adds the security headers to its answer, and logs it."""

    def __init__(self, app: ASGIApp, *, secure: bool, log: RequestLog) -> None:
        self._app = app
        self._log = log
        self._headers = (*_SECURITY_HEADERS, _STRICT_TRANSPORT) if secure else _SECURITY_HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = 0

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > LARGEST_HEADERS:
            await problem("headers_too_large")(scope, receive, send_framed)
        else:
            await self._app(scope, receive, send_framed)
        self._log(scope["method"], scope["path"], status, time.monotonic() - started)


async def _respond_to_error(_request: Request, error: Exception) -> Response:
    return problem_of(error)
