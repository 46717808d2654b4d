"""For FastAPI: a dependency that hands a route the token of its request, and describes itself in OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Self

from fastapi import HTTPException, WebSocketException
from fastapi.openapi.models import HTTPBearer
from fastapi.requests import HTTPConnection
from fastapi.security.base import SecurityBase

from tokenkeep.contract.access_token import AccessToken
from tokenkeep.verifier.async_verifier import AnyVerifier, authenticate, require_verifier
from tokenkeep.verifier.challenge import Refused
from tokenkeep.verifier.judge import checked_scopes, require_role, require_scope

_POLICY_VIOLATION = 1008


class TokenAuth(SecurityBase):
    """What routes depend on: `user: Annotated[AccessToken, Depends(auth)]`, or `Depends(auth.require(role="admin"))`.

    Give the application a handler, `app.add_exception_handler(Refused, respond_to_refusal)`, so that refusals are
    problem documents; without it they are FastAPI's own, with the same members below `detail`.
    """

    def __init__(self, verifier: AnyVerifier, *, scheme_name: str = "accessToken") -> None:
        """Take what judges the tokens.

        Args:
            verifier: judges the tokens.
            scheme_name: what OpenAPI calls this way to authenticate.

        Raises:
            TypeError: the verifier would hold the event loop up.
        """
        self.model = HTTPBearer(bearerFormat="JWT", description="An access token of the auth server.")
        self.scheme_name = scheme_name
        self._verifier = require_verifier(verifier)
        self._roles: tuple[str, ...] = ()
        self._scopes: tuple[str, ...] = ()

    def require(self, *, role: str | Sequence[str] | None = None, scope: str | Sequence[str] | None = None) -> Self:
        """Return a dependency for those who have the role or one of the roles, and all the scopes.

        Raises:
            ValueError: neither a role nor a scope, or an empty one.
        """
        if role is None and scope is None:
            raise ValueError("a role or a scope is required")
        required = copy(self)
        if role is not None:
            required._roles = (role,) if isinstance(role, str) else tuple(role)
            if not required._roles or not all(required._roles):
                raise ValueError("a role is a name that is not empty")
        if scope is not None:
            required._scopes = checked_scopes((scope,) if isinstance(scope, str) else scope)
        return required

    async def __call__(self, connection: HTTPConnection) -> AccessToken:
        """Return what the token of a request or WebSocket says, if it is good and its bearer may come in.

        Raises:
            Refused: it is not, or may not.
            HTTPException, WebSocketException: the same, where the application has no handler for `Refused`.
        """
        try:
            token = await authenticate(self._verifier, connection.headers.getlist("authorization"))
            if self._roles:
                require_role(token, self._roles)
            if self._scopes:
                require_scope(token, self._scopes)
            return token
        except Refused as refusal:
            handled = getattr(connection.app, "exception_handlers", {})
            if any(isinstance(kind, type) and issubclass(kind, Refused) for kind in handled):
                raise
            if connection.scope["type"] == "websocket":
                raise WebSocketException(_POLICY_VIOLATION, refusal.sentence) from refusal
            raise HTTPException(refusal.status, refusal.problem(), refusal.headers()) from refusal
