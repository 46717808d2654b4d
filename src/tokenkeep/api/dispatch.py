"""From a row of the route table to a handler on the wire: guard, body, call, answer. The same steps for every route."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokenkeep.api.endpoint import Answer, Call, Endpoint, Guard, Services
from tokenkeep.api.problems import NOT_MODIFIED, RequestRefused, problem_of
from tokenkeep.api.requests import read_body, sender
from tokenkeep.contract.access_token import AccessToken
from tokenkeep.contract.loopback import is_loopback
from tokenkeep.domain.accounts import ADMIN_ROLE
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.errors import Refusal, StorageUnavailable
from tokenkeep.verifier import Forbidden, InvalidToken, Refused

_log = logging.getLogger(__name__)

_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def routes_of(endpoints: Sequence[Endpoint], services: Services) -> list[Route]:
    """Return one route for each path of the table."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        methods = paths.setdefault(endpoint.path, {})
        if endpoint.method in methods:
            raise ValueError(f"{endpoint.method} {endpoint.path} is in the route table twice")
        methods[endpoint.method] = endpoint
    return [Route(path, _responder(methods, services), methods=list(methods)) for path, methods in paths.items()]


def _responder(methods: Mapping[str, Endpoint], services: Services) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        endpoint = methods["GET" if request.method == "HEAD" else request.method]
        request.scope["tokenkeep.route"] = endpoint.path
        try:
            return _response(await endpoint.handler(await _admit(endpoint, services, request)))
        except Exception as error:  # noqa: BLE001  (the last resort: nothing of an error may reach the client)
            _tell(endpoint, error)
            _note(services, request, error)
            return problem_of(error)

    return respond


async def _admit(endpoint: Endpoint, services: Services, request: Request) -> Call[Any]:
    token: AccessToken | None = None
    cookie: str | None = None
    origins = request.headers.getlist("origin")
    if endpoint.cookie:
        services.cookies.check_origin(origins, request.headers.get("sec-fetch-site"))
        cookie = services.cookies.read(request.headers.getlist("cookie"))
    match endpoint.guard:
        case Guard.BEARER | Guard.ADMIN:
            token = services.verifier.authenticate(request.headers.getlist("authorization"))
            if endpoint.guard is Guard.ADMIN:
                services.verifier.require_role(token, ADMIN_ROLE)
        case Guard.OPERATIONS:
            if not _is_operator(services, request):
                raise RequestRefused("not_found")
        case Guard.PUBLIC:
            pass
    body = None
    if endpoint.body is not None:
        body = await read_body(request, endpoint.body, required=endpoint.body_required)
    return Call(
        services=services,
        client=sender(request),
        body=body,
        token=token,
        cookie=cookie,
        from_browser=bool(origins),
        if_none_match=request.headers.get("if-none-match"),
        path=request.path_params,
    )


def _is_operator(services: Services, request: Request) -> bool:
    """Tell whether a request comes from this machine to a server for this machine only, or has the operations token."""
    peer = request.client.host if request.client else ""
    if services.local and is_loopback(peer) and not any(name in request.headers for name in _FORWARDED):
        return True
    given = request.headers.get("authorization", "").encode()
    expected = services.ops_token
    return expected is not None and hmac.compare_digest(given, f"Bearer {expected}".encode())


def _response(answer: Answer) -> Response:
    headers = {"Cache-Control": "no-store", **answer.headers}
    if answer.not_modified:
        return Response(status_code=NOT_MODIFIED, headers=headers)
    return Response(answer.encoded(), media_type=answer.media_type, headers=headers)


def _note(services: Services, request: Request, error: Exception) -> None:
    """Have the audit log remember refusals of access tokens, and of requests from other sites."""
    if isinstance(error, InvalidToken | Forbidden):
        services.refusals.note(EventKind.TOKEN_REFUSED, sender(request), detail=str(error)[:100])
    elif isinstance(error, RequestRefused) and error.code == "cross_site":
        services.refusals.note(EventKind.REQUEST_REFUSED, sender(request), detail=error.code)


def _tell(endpoint: Endpoint, error: Exception) -> None:
    """Log why a request was refused; the client is told less."""
    if isinstance(error, StorageUnavailable):
        _log.warning("%s %s refused: %s: %s", endpoint.method, endpoint.path, error.code, error)
    elif isinstance(error, Refusal | Refused | RequestRefused):
        _log.info("%s %s refused: %s: %s", endpoint.method, endpoint.path, error.code, error)
    else:
        _log.error("%s %s failed", endpoint.method, endpoint.path, exc_info=error)
