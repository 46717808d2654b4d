"""For ASGI applications: a middleware that guards a whole one, and how a refusal becomes a response."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from tokenkeep.verifier.async_verifier import AnyVerifier, authenticate, require_verifier
from tokenkeep.verifier.challenge import Refused

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.responses import Response

_log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
STATE_KEY: Final = "access_token"
"""Under which name the guarded application finds the token: `request.state.access_token` in Starlette."""

_POLICY_VIOLATION: Final = 1008
_DENIAL: Final = "websocket.http.response"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class TokenGuard:
    """Lets only requests with a good token through to an application, and WebSockets before their handshake."""

    def __init__(self, app: Application, verifier: AnyVerifier, *, open_paths: Iterable[str] = ()) -> None:
        """Guard an application.

        Args:
            app: what is guarded; its life span is its own.
            verifier: judges the tokens.
            open_paths: may be asked for by anybody, below where the guard is mounted. A path that ends with a slash
                stands for everything below it; "/" alone is the first page.

        Raises:
            TypeError: the verifier would hold the event loop up, or one path is given instead of several.
            ValueError: a path does not begin with a slash.
        """
        if isinstance(open_paths, str):
            raise TypeError("open_paths is a list of paths")
        paths = frozenset(open_paths)
        for path in paths:
            if not path.startswith("/"):
                raise ValueError(f"an open path begins with a slash, and {path!r} does not")
        self._app = app
        self._verifier = require_verifier(verifier)
        self._open = paths
        self._open_below = tuple(path for path in paths if path.endswith("/") and path != "/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] != "lifespan" and not self._is_open(_path_of(scope)):
            headers = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"authorization"]
            try:
                token = await authenticate(self._verifier, headers)
            except Refused as refusal:
                # The path is written by a stranger: as a literal it is one line.
                method = scope.get("method", "WebSocket")
                _log.info("%s %r refused: %s: %s", method, scope["path"], refusal.code, refusal.detail)
                await refuse(refusal, scope, send)
                return
            scope.setdefault("state", {})[STATE_KEY] = token
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        if path in self._open:
            return True
        # What others might shorten could come out elsewhere than below the open path.
        *folders, last = path[1:].replace("\\", "/").split("/")
        return path.startswith(self._open_below) and "" not in folders and not {".", ".."} & {*folders, last}


def _path_of(scope: Scope) -> str:
    """Return the path below where the application is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


async def refuse(refusal: Refused, scope: Scope, send: Send) -> None:
    """Answer a request with its refusal; a WebSocket is refused instead of its handshake."""
    prefix = ""
    if scope["type"] == "websocket":
        if _DENIAL not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refusal.sentence})
            return
        prefix = "websocket."
    body = refusal.body()
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), **refusal.headers()}
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": f"{prefix}http.response.start", "status": refusal.status, "headers": encoded})
    await send({"type": f"{prefix}http.response.body", "body": body})


async def respond_to_refusal(connection: HTTPConnection, error: Exception) -> Response:
    """Return the problem document of a refusal; to be given to `add_exception_handler(Refused, …)` of Starlette.

    Raises:
        Exception: `error` itself, if it is no refusal.
    """
    from starlette.responses import Response
    from starlette.websockets import WebSocketClose

    if not isinstance(error, Refused):
        raise error
    if connection.scope["type"] == "websocket" and _DENIAL not in connection.scope.get("extensions", {}):
        return WebSocketClose(_POLICY_VIOLATION, error.sentence)  # type: ignore[return-value]
    return Response(error.body(), status_code=error.status, headers=error.headers(), media_type=MEDIA_TYPE)
