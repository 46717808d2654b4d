"""For Starlette and FastAPI applications: how a refusal becomes a response."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tokenkeep.verifier.challenge import Refused


def respond_to_refusal(_request: Request, error: Exception) -> Response:
    """Return the problem document of a refusal; to be given to `add_exception_handler(Refused, …)`.

    Raises:
        Exception: `error` itself, if it is no refusal.
    """
    if not isinstance(error, Refused):
        raise error
    return JSONResponse(
        error.problem(), status_code=error.status, headers=error.headers(), media_type="application/problem+json"
    )
