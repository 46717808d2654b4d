"""The ASGI application: routes inside their frame, CORS for the origins that need it, a last resort for errors."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from tokenkeep.api.cors import CrossOrigin
from tokenkeep.api.dispatch import routes_of
from tokenkeep.api.endpoint import Endpoint, Guard, Services
from tokenkeep.api.frame import Frame, FramePolicy, note_refusal
from tokenkeep.api.problems import code_of, problem_of
from tokenkeep.observability import Metrics


def build(
    endpoints: Sequence[Endpoint],
    services: Services,
    *,
    frame: FramePolicy,
    allowed_origins: Sequence[str],
    metrics: Metrics,
) -> ASGIApp:
    """Return the application that serves the endpoints.

    Args:
        frame: what is let in.
        allowed_origins: origins besides the issuer's whose pages may read answers (CORS).
        metrics: where answers are counted.
    """
    middleware = [Middleware(Frame, policy=frame, metrics=metrics)]
    if allowed_origins:
        methods = frozenset(endpoint.method for endpoint in endpoints)
        unasked = frozenset(endpoint.path for endpoint in endpoints if endpoint.guard is Guard.AUDIENCE)
        origins = frozenset(allowed_origins)
        middleware.append(Middleware(CrossOrigin, origins=origins, methods=methods, unasked=unasked))
    app = Starlette(
        routes=routes_of(endpoints, services),
        middleware=middleware,
        exception_handlers={HTTPException: _respond_to_error, Exception: _respond_to_error},
    )
    app.router.redirect_slashes = False  # a path that is not in the table is not found, never sent elsewhere
    return app


async def _respond_to_error(request: Request, error: Exception) -> Response:
    code = code_of(error)
    note_refusal(request.scope, code, code)
    return problem_of(error)
