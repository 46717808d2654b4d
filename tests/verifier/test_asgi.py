"""Refusals as responses of ASGI applications, and the guard in front of a whole one: the shared list, over HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.verifier.requests_to_judge import AUDIENCE, ISSUER, KEY, NOW, REQUESTS, Request, token, verifier
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.jose import KeySet
from tokenkeep.verifier import AsyncTokenVerifier, MissingToken, Refused, TokenVerifier
from tokenkeep.verifier.asgi import TokenGuard, respond_to_refusal

ON_THE_WIRE: Final = [request for request in REQUESTS if not any("\n" in value for value in request.authorization())]
"""Those of the shared list that HTTP can carry."""

Judge = TokenVerifier | AsyncTokenVerifier


def judge_of(kind: str, request: Request | None = None) -> Judge:
    """Return a verifier of a kind, and what is revoked when the request comes."""
    revoked = RevocationSet()
    revoked.add(request.revoked if request else [])
    elapsed = request.elapsed if request else 0.0
    if kind == "threads":
        return verifier(revoked, elapsed=elapsed)
    revoked.confirm(5.0)
    return AsyncTokenVerifier(
        issuer=ISSUER,
        audience=AUDIENCE,
        algorithms=["ES256"],
        keys=KeySet([KEY.public()]),
        revocations=revoked,
        clock=lambda: NOW,
        monotonic=lambda: elapsed,
    )


def headers_of(request: Request) -> httpx2.Headers:
    """Return the headers of a request."""
    return httpx2.Headers([("Authorization", value) for value in request.authorization()])


def assert_refused(request: Request, status: int, headers: Any, body: Any) -> None:
    """Hold an answer to the refusal that the list names: status, headers and problem document."""
    assert request.refusal is not None
    refusal = request.refusal()
    assert status == refusal.status
    assert body == {**refusal.problem(), **({"reason": request.reason} if request.reason else {})}
    assert headers["content-type"] == "application/problem+json"
    assert headers.get("www-authenticate") == refusal.challenge
    assert headers.get("retry-after") == ("1" if status == 503 else None)
    assert headers["cache-control"] == "no-store"


def guarded_by(judge: TokenVerifier) -> TestClient:
    """Return a client of an application whose routes are guarded by the verifier."""

    async def me(request: HttpRequest) -> JSONResponse:
        return JSONResponse({"name": judge.authenticate(request.headers.getlist("authorization")).name})

    async def admin(request: HttpRequest) -> JSONResponse:
        judge.require_role(judge.authenticate(request.headers.getlist("authorization")), "admin")
        return JSONResponse({})

    async def talk(socket: WebSocket) -> None:
        judge.authenticate(socket.headers.getlist("authorization"))
        await socket.accept()

    routes = [Route("/me", me), Route("/admin", admin), WebSocketRoute("/talk", talk)]
    return TestClient(Starlette(routes=routes, exception_handlers={Refused: respond_to_refusal}))


@pytest.mark.parametrize("request_", ON_THE_WIRE, ids=lambda request: request.name)
def test_request_gets_its_verdict(request_: Request):
    """Over HTTP each request of the shared list gets the status, headers and body of its refusal."""
    revoked = RevocationSet()
    revoked.add(request_.revoked)
    client = guarded_by(verifier(revoked, elapsed=request_.elapsed))
    answer = client.get("/me", headers=headers_of(request_))
    if request_.refusal is None:
        assert (answer.status_code, answer.json()) == (200, {"name": "Ada"})
        return
    assert_refused(request_, answer.status_code, answer.headers, answer.json())


def test_wrong_role_is_forbidden():
    """A good token of another role gets 403 and its challenge."""
    answer = guarded_by(verifier()).get("/admin", headers={"Authorization": f"Bearer {token()}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
    good = guarded_by(verifier()).get("/admin", headers={"Authorization": f"Bearer {token({'role': 'admin'})}"})
    assert good.status_code == 200


async def test_other_errors_are_not_swallowed():
    """What is no refusal goes on to the application's own handlers."""
    error = LookupError("no refusal")
    with pytest.raises(LookupError) as raised:
        await respond_to_refusal(HttpRequest({"type": "http"}), error)
    assert raised.value is error


def test_route_of_a_websocket_refuses_its_handshake():
    """A refusal that a WebSocket route raises is the answer to the handshake."""
    client = guarded_by(verifier())
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/talk"):
        pass
    assert (denied.value.status_code, denied.value.json()["error"]) == (401, "Missing token")
    with client.websocket_connect("/talk", headers={"Authorization": f"Bearer {token()}"}):
        pass


async def test_route_of_a_websocket_closes_it_where_it_cannot_answer():
    """On a server that cannot answer a handshake with a response, the WebSocket is closed before it is open."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "headers": []}
    response = await respond_to_refusal(HTTPConnection(scope), MissingToken())
    await response(scope, receive, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]


# ------------------------------------------------------------------------------------------------------ the guard


def application(*, seen: list[Any] | None = None) -> Starlette:
    """Return an application that knows nothing of tokens but what the guard hands over."""

    async def page(request: HttpRequest) -> PlainTextResponse:
        known = getattr(request.state, "access_token", None)
        if seen is not None:
            seen.append(known)
        return PlainTextResponse("nobody" if known is None else str(known.name))

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(str(socket.state.access_token.name))

    return Starlette(routes=[WebSocketRoute("/echo", echo), Route("/{path:path}", page, methods=["GET", "POST"])])


def guard(kind: str, request: Request | None = None, **options: Any) -> TestClient:
    """Return a client of the guarded application."""
    return TestClient(TokenGuard(application(), judge_of(kind, request), **options))


@pytest.mark.parametrize("request_", ON_THE_WIRE, ids=lambda request: request.name)
def test_guard_gives_each_request_its_verdict(kind: str, request_: Request):
    """Before any route is looked for, each request of the shared list is let through or refused."""
    answer = guard(kind, request_).get("/orders", headers=headers_of(request_))
    if request_.refusal is None:
        assert (answer.status_code, answer.text) == (200, "Ada")
        return
    assert_refused(request_, answer.status_code, answer.headers, answer.json())


@pytest.mark.parametrize("request_", ON_THE_WIRE, ids=lambda request: request.name)
def test_guard_gives_each_handshake_its_verdict(kind: str, request_: Request):
    """A WebSocket opens for whom a page opens, and for others its handshake has the same answer."""
    client = guard(kind, request_)
    if request_.refusal is None:
        with client.websocket_connect("/echo", headers=headers_of(request_)) as socket:
            assert socket.receive_text() == "Ada"
        return
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect("/echo", headers=headers_of(request_)),
    ):
        pass
    assert_refused(request_, denied.value.status_code, denied.value.headers, denied.value.json())


async def test_guard_closes_a_websocket_where_it_cannot_answer(kind: str):
    """On a server without that extension a refused WebSocket is closed before it is open; nothing else is called."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(*_: Any) -> None:
        raise AssertionError("the application was called")

    scope = {"type": "websocket", "path": "/echo", "headers": [(b"authorization", b"Bearer x")]}
    await TokenGuard(app, judge_of(kind))(scope, app, send)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "Invalid token"}]


def test_wrong_socket_is_a_disconnect_for_its_client(kind: str):
    """What is closed before it is open never delivers anything."""
    client = guard(kind)
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/echo"):
        pass


OPEN: Final = ["/", "/health", "/static/"]


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        ("/", True),
        ("/health", True),
        ("/health?token=1", True),
        ("/static/", True),
        ("/static/a.css", True),
        ("/static/a/b.css", True),
        ("/health/", False),
        ("/health/secrets", False),
        ("/healthy", False),
        ("/HEALTH", False),
        ("/static", False),
        ("/staticx/a.css", False),
        ("/orders", False),
        ("//", False),
        ("//health", False),
        ("/static/../orders", False),
        ("/static/%2e%2e/orders", False),
        ("/static/..", False),
        ("/static/./a.css", False),
        ("/static//orders", False),
        ("/static/..%5corders", False),
        ("/orders/../health", False),
    ],
)
async def test_open_paths_are_open_and_no_others(kind: str, path: str, is_open: bool):
    """A path is open if it is named, or is below one that ends with a slash; and in no other way of writing it."""
    guarded = TokenGuard(application(), judge_of(kind), open_paths=OPEN)
    assert (await ask(guarded, path))[0] == (200 if is_open else 401)


async def ask(app: Callable[..., Awaitable[None]], path: str, **scope: Any) -> tuple[int, bytes]:
    """Send a GET for exactly that path, which clients would tidy up, and return status and body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    text, _, query = path.partition("?")
    request = {
        "type": "http",
        "method": "GET",
        "path": unquote(text),
        "raw_path": text.encode(),
        "query_string": query.encode(),
        "headers": [],
        "root_path": "",
        **scope,
    }
    await app(request, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


@pytest.mark.parametrize(("path", "status"), [("/api/health", 200), ("/api/orders", 401), ("/health", 404)])
def test_open_paths_are_below_the_mount(kind: str, path: str, status: int):
    """A guarded application that is mounted names its open paths as it knows them itself."""
    guarded = TokenGuard(application(), judge_of(kind), open_paths=["/health"])
    assert TestClient(Starlette(routes=[Mount("/api", guarded)])).get(path).status_code == status


def test_open_path_hands_over_no_token(kind: str):
    """Where no token is asked for, none is handed over, whoever was there before."""
    seen: list[Any] = []
    client = TestClient(TokenGuard(application(seen=seen), judge_of(kind), open_paths=["/health"]))
    good = {"Authorization": f"Bearer {token()}"}
    assert client.get("/orders", headers=good).text == "Ada"
    assert client.get("/health", headers=good).text == "nobody"
    assert [known is None for known in seen] == [False, True]


def test_everything_is_guarded_unless_it_is_said(kind: str):
    """Without open paths nothing is open, whatever the method."""
    client = guard(kind)
    for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE", "TRACE", "ANY"):
        assert client.request(method, "/").status_code == 401


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"open_paths": "/health"}, TypeError),
        ({"open_paths": ["health"]}, ValueError),
        ({"open_paths": [""]}, ValueError),
        ({"verifier": None}, TypeError),
        ({"verifier": lambda _: None}, TypeError),
        (
            {"verifier": TokenVerifier(issuer=ISSUER, audience=AUDIENCE, algorithms=["ES256"])},
            TypeError,
        ),
    ],
)
def test_guard_that_guards_too_little_cannot_be_made(options: dict[str, Any], error: type[Exception]):
    """Paths that open more than is meant, and verifiers that would hold the event loop up, are refused at once."""
    with pytest.raises(error):
        TokenGuard(application(), **{"verifier": judge_of("asyncio"), **options})


def test_guard_is_a_middleware_of_starlette(kind: str):
    """It can be added as any other middleware, and the life span goes through it."""
    app = application()
    app.add_middleware(TokenGuard, verifier=judge_of(kind), open_paths=["/health"])
    with TestClient(app) as client:
        assert client.get("/health").text == "nobody"
        assert client.get("/orders").status_code == 401
        assert client.get("/orders", headers={"Authorization": f"Bearer {token()}"}).text == "Ada"


async def test_name_of_the_header_may_be_written_in_any_case(kind: str):
    """Two headers are noticed however a server hands over their names."""
    guarded = TokenGuard(application(), judge_of(kind))
    text = f"Bearer {token()}".encode()
    assert await ask(guarded, "/orders", headers=[(b"Authorization", text)]) == (200, b"Ada")
    assert (await ask(guarded, "/orders", headers=[(b"Authorization", text), (b"authorization", text)]))[0] == 400


def test_token_in_the_query_is_ignored_and_not_logged(kind: str, caplog: pytest.LogCaptureFixture):
    """A token in the address is no token, and no log line has it (RFC 9700 §4.3.2)."""
    caplog.set_level(logging.DEBUG, logger="tokenkeep")
    text = token()
    answer = guard(kind).get(f"/orders?access_token={text}")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("tokenkeep")]
    assert ours  # the client of the test may log the address that it asks for
    assert not any(text in line for line in ours)


def test_form_with_a_token_is_ignored(kind: str):
    """A token in the body is no token."""
    assert guard(kind).post("/orders", data={"access_token": token()}).status_code == 401


async def test_log_says_why_in_one_line(kind: str, caplog: pytest.LogCaptureFixture):
    """Each refusal has a line with the reason, which the client is not told; a path cannot forge another line."""
    caplog.set_level(logging.INFO, logger="tokenkeep")
    guarded = TokenGuard(application(), judge_of(kind))
    bad = [(b"authorization", f"Bearer {token(audience='https://other.example')}".encode())]
    _, body = await ask(guarded, "/orders%0aGET /admin accepted", headers=bad)
    (record,) = caplog.records
    assert record.getMessage() == (r"GET '/orders\nGET /admin accepted' refused: invalid_token: audience_not_accepted")
    assert "audience" not in json.loads(body)["error"]
