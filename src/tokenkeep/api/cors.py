"""Cross-origin reading (CORS): for the pages of listed origins, and nobody else. Whose requests count: `cookies`."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokenkeep.api.frame import note_refusal
from tokenkeep.api.problems import RequestRefused, problem_of

_ALLOWED_HEADERS: Final = ("Accept", "Accept-Language", "Authorization", "Content-Language", "Content-Type")
_EXPOSED_HEADERS: Final = ("WWW-Authenticate", "Retry-After")
_MAX_AGE: Final = "600"
"""Seconds for which a browser may remember the answer to a preflight."""
_ASKS: Final = "access-control-request-method"


class CrossOrigin:
    """Answers preflights, and marks answers that a listed page may read."""

    def __init__(
        self, app: ASGIApp, *, origins: frozenset[str], methods: frozenset[str], unasked: frozenset[str]
    ) -> None:
        """Take the listed origins, the methods of all routes, and the paths that no page calls."""
        self._app = app
        self._origins = origins
        self._unasked = unasked
        self._methods = methods
        self._preflight_headers = {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": ", ".join(_ALLOWED_HEADERS),
            "Access-Control-Max-Age": _MAX_AGE,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = self._listed(headers)

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                answered.add_vary_header("Origin")
                if origin is not None:
                    answered["Access-Control-Allow-Origin"] = origin
                    answered["Access-Control-Allow-Credentials"] = "true"
                    answered["Access-Control-Expose-Headers"] = ", ".join(_EXPOSED_HEADERS)
            await send(message)

        # A success of the route that proxies ask lets a request pass, and some ask with the method of that request.
        asked = scope["path"].removeprefix(scope.get("root_path", "")) not in self._unasked
        if asked and scope["method"] == "OPTIONS" and "origin" in headers and _ASKS in headers:
            await self._preflight(scope, headers, origin)(scope, receive, send_marked)
        else:
            await self._app(scope, receive, send_marked)

    def _listed(self, headers: Headers) -> str | None:
        """Return the origin that a request comes from, if it is one of those listed."""
        given = headers.getlist("origin")
        return given[0] if len(given) == 1 and given[0] in self._origins else None

    def _preflight(self, scope: Scope, headers: Headers, origin: str | None) -> Response:
        wanted = {name.strip().lower() for name in headers.get("access-control-request-headers", "").split(",")}
        refused = None
        if origin is None:
            refused = "Cross-site request refused: the page's origin is not in allowed_origins"
        elif headers[_ASKS] not in self._methods or not wanted <= {"", *map(str.lower, _ALLOWED_HEADERS)}:
            refused = "Cross-site request refused: a method or header that no route takes"
        if refused is None:
            return Response(headers=self._preflight_headers)
        error = RequestRefused("cross_site", refused)
        note_refusal(scope, error.code, error)
        return problem_of(error)
