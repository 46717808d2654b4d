"""From a row of the route table to a handler on the wire: guard, body, call, answer. The same steps for every route."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokenkeep.api.endpoint import Answer, Call, Endpoint, Guard, Services
from tokenkeep.api.forward_auth import verifier_asked_for
from tokenkeep.api.frame import ROUTE, note_refusal
from tokenkeep.api.outbox import OutboxResponse
from tokenkeep.api.problems import CREATED, NOT_MODIFIED, SUCCESS, RequestRefused, problem_of
from tokenkeep.api.requests import gone, read_body, read_query, sender
from tokenkeep.api.schemas import QueryParameters
from tokenkeep.contract.access_token import AccessToken
from tokenkeep.contract.loopback import is_loopback
from tokenkeep.domain.accounts import ADMIN_ROLE
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.errors import Forbidden as NotAllowed
from tokenkeep.domain.errors import Refusal
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.verifier import Forbidden, InvalidToken, Refused

_log = logging.getLogger(__name__)

_BEARER: Final = "tokenkeep.bearer"
"""Where a request keeps its verified access token, so that a refusal can be noted with the account."""
_FORWARDED: Final = re.compile(r"forwarded|via|x-real-ip|x-forwarded-.*")
"""Names of headers by which proxies show themselves."""


def routes_of(endpoints: Sequence[Endpoint], services: Services) -> list[Route]:
    """Return one route for each path of the table."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        methods = paths.setdefault(endpoint.path, {})
        if endpoint.method in methods:
            raise ValueError(f"{endpoint.method} {endpoint.path} is in the route table twice")
        methods[endpoint.method] = endpoint
    return [_ExactRoute(path, _responder(methods, services), methods=list(methods)) for path, methods in paths.items()]


class _ExactRoute(Route):
    """A route that a path leads to only as a whole: `$` in a pattern would let a line break follow."""

    def __init__(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], *, methods: list[str]) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")


def _responder(methods: Mapping[str, Endpoint], services: Services) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        endpoint = methods["GET" if request.method == "HEAD" else request.method]
        request.scope[ROUTE] = endpoint.path
        try:
            return _response(endpoint, await endpoint.handler(await _admit(endpoint, services, request)))
        except Exception as error:  # noqa: BLE001  (the last resort: nothing of an error may reach the client)
            _tell(endpoint, request, error)
            _note(services, request, error)
            return problem_of(error)

    return respond


async def _admit(endpoint: Endpoint, services: Services, request: Request) -> Call[Any]:
    token: AccessToken | None = None
    cookie: str | None = None
    query: QueryParameters | None = None
    origins = request.headers.getlist("origin")
    if endpoint.cookie or endpoint.own_pages:
        services.cookies.check_origin(origins, request.headers.get("sec-fetch-site"))
    if endpoint.cookie:
        cookie = services.cookies.read(request.headers.getlist("cookie"))
    match endpoint.guard:
        case Guard.BEARER | Guard.ADMIN:
            token = services.verifier.authenticate(request.headers.getlist("authorization"))
            request.scope[_BEARER] = token
            if endpoint.guard is Guard.ADMIN:
                services.verifier.require_role(token, ADMIN_ROLE)
        case Guard.AUDIENCE:
            # Whoever set the proxy up wrote the query: what is wrong with it is told before anything about a token.
            query = read_query(request, endpoint.query) if endpoint.query is not None else None
            verifier = verifier_asked_for(query, services)
            token = verifier.authenticate(request.headers.getlist("authorization"))
            request.scope[_BEARER] = token
        case Guard.OPERATIONS:
            if not _is_operator(services, request):
                raise RequestRefused("not_found")
        case Guard.FEED:
            _check_feed_reader(services, request)
        case Guard.PUBLIC:
            pass
    if query is None and endpoint.query is not None:
        query = read_query(request, endpoint.query)
    body = None
    if endpoint.body is not None:
        body = await read_body(request, endpoint.body, required=endpoint.body_required)
    return Call(
        services=services,
        client=sender(request),
        body=body,
        query=query,
        token=token,
        cookie=cookie,
        from_browser=bool(origins),
        if_none_match=request.headers.get("if-none-match"),
        path=request.path_params,
        gone=partial(gone, request),
    )


def _is_operator(services: Services, request: Request) -> bool:
    """Tell whether a request comes from this machine to a server for this machine only, or has the operations token."""
    peer = request.client.host if request.client else ""
    if services.local and is_loopback(peer) and not _came_past_a_proxy(request.headers):
        return True
    return services.ops_token is not None and _has_token(request, services.ops_token)


def _check_feed_reader(services: Services, request: Request) -> None:
    """Return if the request may read the revocation feed.

    Raises:
        RequestRefused: the feed token is missing or wrong.
    """
    feed = services.feed
    if feed is None or (feed.token is not None and not _has_token(request, feed.token)):
        raise RequestRefused("invalid_feed_token", noted="invalid_feed_token")


def _has_token(request: Request, expected: str) -> bool:
    """Tell whether a request carries this bearer token, and no other; how much of it is right takes no time to tell."""
    given = request.headers.getlist("authorization")
    return len(given) == 1 and hmac.compare_digest(given[0].encode(), f"Bearer {expected}".encode())


def _came_past_a_proxy(headers: Headers) -> bool:
    return any(_FORWARDED.fullmatch(name) for name in headers)


def _response(endpoint: Endpoint, answer: Answer) -> Response:
    headers = {"Cache-Control": "no-store", **answer.headers}
    if answer.not_modified:
        return Response(status_code=NOT_MODIFIED, headers=headers)
    status = CREATED if endpoint.creates else SUCCESS
    response = Response(answer.encoded(), status_code=status, media_type=answer.media_type, headers=headers)
    return OutboxResponse(answer.outbox, response) if answer.outbox is not None else response


def _note(services: Services, request: Request, error: Exception) -> None:
    """Have the audit log remember refusals of access tokens, of other sites' requests, and of planted cookies."""
    if isinstance(error, InvalidToken | Forbidden | NotAllowed):
        token: AccessToken | None = request.scope.get(_BEARER)
        services.refusals.note(
            EventKind.TOKEN_REFUSED,
            sender(request),
            account_id=AccountId(token.subject) if token else None,
            session_id=token.session_id if token else None,
            detail=str(error)[:100],
        )
    elif isinstance(error, RequestRefused) and error.noted is not None:
        services.refusals.note(EventKind.REQUEST_REFUSED, sender(request), detail=error.noted)


def _tell(endpoint: Endpoint, request: Request, error: Exception) -> None:
    """Have the log say why a request was refused or failed; the client is told less."""
    if isinstance(error, Refusal | Refused | RequestRefused):
        note_refusal(request.scope, error.code, error)
    else:
        _log.error("%s %s failed", endpoint.method, endpoint.path, exc_info=error)
