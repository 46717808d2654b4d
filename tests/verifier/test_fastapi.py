"""The FastAPI dependency: the shared list of requests, roles, OpenAPI, and what happens without a handler."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from tests.verifier.requests_to_judge import AUDIENCE, ISSUER, Request, token
from tests.verifier.test_asgi import ON_THE_WIRE, assert_refused, headers_of, judge_of
from tokenkeep.verifier import AccessToken, Refused, TokenVerifier
from tokenkeep.verifier.asgi import respond_to_refusal
from tokenkeep.verifier.fastapi import TokenAuth


def application(auth: TokenAuth, *, handled: bool = True) -> FastAPI:
    """Return an application whose routes depend on a token, some on a role."""
    app = FastAPI()
    if handled:
        app.add_exception_handler(Refused, respond_to_refusal)

    async def health() -> dict[str, str]:
        return {"status": "ok"}

    async def me(user: Annotated[AccessToken, Depends(auth)]) -> dict[str, Any]:
        return {"name": user.name}

    async def admin(user: Annotated[AccessToken, Depends(auth.require(role="admin"))]) -> dict[str, Any]:
        return {"name": user.name}

    async def either(user: Annotated[AccessToken, Depends(auth.require(role=["clerk", "user"]))]) -> dict[str, Any]:
        return {"name": user.name}

    async def talk(socket: WebSocket, user: Annotated[AccessToken, Depends(auth.require(role="user"))]) -> None:
        await socket.accept()
        await socket.send_text(str(user.name))

    app.get("/health")(health)
    app.get("/me")(me)
    app.get("/admin")(admin)
    app.get("/either")(either)
    app.websocket("/talk")(talk)
    return app


def client_of(kind: str, request: Request | None = None, *, handled: bool = True) -> TestClient:
    """Return a client of the application."""
    return TestClient(application(TokenAuth(judge_of(kind, request)), handled=handled))


def bearer(**claims: Any) -> dict[str, str]:
    """Return the headers of a good token with these claims."""
    return {"Authorization": f"Bearer {token(claims)}"}


@pytest.mark.parametrize("request_", ON_THE_WIRE, ids=lambda request: request.name)
def test_request_gets_its_verdict(kind: str, request_: Request):
    """Each request of the shared list is let through or refused, with challenge, `error` and `reason`."""
    answer = client_of(kind, request_).get("/me", headers=headers_of(request_))
    if request_.refusal is None:
        assert (answer.status_code, answer.json()) == (200, {"name": "Ada"})
        return
    assert_refused(request_, answer.status_code, answer.headers, answer.json())


@pytest.mark.parametrize("request_", ON_THE_WIRE, ids=lambda request: request.name)
def test_handshake_gets_its_verdict(kind: str, request_: Request):
    """The same dependency guards a WebSocket, whose handshake has the same answer."""
    client = client_of(kind, request_)
    if request_.refusal is None:
        with client.websocket_connect("/talk", headers=headers_of(request_)) as socket:
            assert socket.receive_text() == "Ada"
        return
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect("/talk", headers=headers_of(request_)),
    ):
        pass
    assert_refused(request_, denied.value.status_code, denied.value.headers, denied.value.json())


@pytest.mark.parametrize("request_", ON_THE_WIRE, ids=lambda request: request.name)
def test_application_without_a_handler_refuses_too(kind: str, request_: Request):
    """Forgotten, the handler costs the media type only: status, challenge and members are the same."""
    answer = client_of(kind, request_, handled=False).get("/me", headers=headers_of(request_))
    if request_.refusal is None:
        assert answer.status_code == 200
        return
    headers = {**answer.headers, "content-type": "application/problem+json"}
    assert_refused(request_, answer.status_code, headers, answer.json()["detail"])


def test_websocket_without_a_handler_is_closed(kind: str):
    """Without a handler a WebSocket is closed before it is open."""
    client = client_of(kind, handled=False)
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/talk"):
        pass
    assert closed.value.code == 1008


@pytest.mark.parametrize(
    ("path", "role", "status"),
    [
        ("/admin", "admin", 200),
        ("/admin", "user", 403),
        ("/admin", "Admin", 403),
        ("/admin", "", 401),
        ("/admin", None, 403),
        ("/either", "user", 200),
        ("/either", "clerk", 200),
        ("/either", "admin", 403),
        ("/me", None, 200),
    ],
)
def test_role_decides(kind: str, path: str, role: str | None, status: int):
    """A route may ask for a role, or for one of several; the refusal is a challenge too."""
    answer = client_of(kind).get(path, headers=bearer(role=role))
    assert answer.status_code == status
    if status == 403:
        assert (answer.json()["code"], answer.json()["error"]) == ("forbidden", "Forbidden")
        assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'


@pytest.mark.parametrize(
    ("claims", "status", "scope"),
    [
        ({"scope": "orders:read orders:write", "role": "clerk"}, 200, False),
        ({"scope": "orders:read", "role": "clerk"}, 403, True),
        ({"role": "clerk"}, 403, True),
        ({"scope": "orders:read orders:write", "role": "user"}, 403, False),
    ],
)
def test_scopes_decide(kind: str, claims: dict[str, Any], status: int, scope: bool):
    """A route may ask for scopes, beside a role or alone; the challenge names those that are needed."""
    auth = TokenAuth(judge_of(kind))
    app = application(auth)
    needed = Depends(auth.require(scope=["orders:read", "orders:write"], role="clerk"))

    @app.get("/orders", dependencies=[needed])
    async def orders() -> dict[str, Any]:
        return {}

    answer = TestClient(app).get("/orders", headers=bearer(**claims))
    assert answer.status_code == status
    if status == 403:
        named = ', scope="orders:read orders:write"' if scope else ""
        assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope"{named}'


def test_requirement_changes_nothing_else(kind: str):
    """What is asked of one route is not asked of the next one."""
    auth = TokenAuth(judge_of(kind))
    auth.require(role="admin", scope="orders:read")
    assert TestClient(application(auth)).get("/me", headers=bearer()).status_code == 200


@pytest.mark.parametrize("scope", ["", [], "a b", ['a"']], ids=repr)
def test_no_scope_is_not_a_scope(scope: Any):
    """A route that asks for what is no scope, or for nothing at all, cannot be made."""
    with pytest.raises(ValueError, match="scope"):
        TokenAuth(judge_of("asyncio")).require(scope=scope)
    with pytest.raises(ValueError, match="scope"):
        TokenAuth(judge_of("asyncio")).require()


def test_role_guards_a_websocket(kind: str):
    """A token without the role does not open a WebSocket."""
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client_of(kind).websocket_connect("/talk", headers=bearer(role="guest")),
    ):
        pass
    assert denied.value.status_code == 403


def test_routes_without_the_dependency_are_open(kind: str):
    """What does not depend on a token asks for none."""
    assert client_of(kind).get("/health").json() == {"status": "ok"}


def test_description_names_the_scheme(kind: str):
    """OpenAPI knows one scheme, and which routes need it, so that its page has a place for the token."""
    description = client_of(kind).get("/openapi.json").json()
    assert description["components"]["securitySchemes"] == {
        "accessToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token of the auth server.",
        }
    }
    needed = {path: operations["get"].get("security") for path, operations in description["paths"].items()}
    assert needed == {
        "/health": None,
        "/me": [{"accessToken": []}],
        "/admin": [{"accessToken": []}],
        "/either": [{"accessToken": []}],
    }


def test_scheme_has_the_name_that_is_given(kind: str):
    """Two issuers in one application have two schemes."""
    auth = TokenAuth(judge_of(kind), scheme_name="partners")
    description = application(auth).openapi()
    assert list(description["components"]["securitySchemes"]) == ["partners"]


def test_router_and_annotation(kind: str):
    """It works on whole routers, and as an annotation, the way FastAPI's own pages write it."""
    auth = TokenAuth(judge_of(kind))
    router = APIRouter(dependencies=[Depends(auth)])
    user_of_the_shop = Annotated[AccessToken, Depends(auth.require(role="user"))]

    async def orders(user: user_of_the_shop) -> dict[str, Any]:
        return {"of": user.subject}

    router.get("/orders")(orders)
    app = FastAPI()
    app.add_exception_handler(Refused, respond_to_refusal)
    app.include_router(router)
    client = TestClient(app)
    assert client.get("/orders").status_code == 401
    assert client.get("/orders", headers=bearer()).json() == {"of": "AAAAAAAAAAAAAAAAAAAAAA"}


@pytest.mark.parametrize("role", ["", [], [""], ["admin", ""], ()], ids=repr)
def test_no_role_is_not_a_role(role: Any):
    """A route that asks for a role that nobody set, such as an empty setting, cannot be made."""
    with pytest.raises(ValueError, match="role"):
        TokenAuth(judge_of("asyncio")).require(role=role)


@pytest.mark.parametrize(
    "verifier",
    [None, "verifier", TokenVerifier(issuer=ISSUER, audience=AUDIENCE, algorithms=["ES256"])],
    ids=["none", "a text", "for threads"],
)
def test_verifier_must_suit_an_event_loop(verifier: Any):
    """What is no verifier, or would hold the event loop up while it fetches keys, is refused at once."""
    with pytest.raises(TypeError):
        TokenAuth(verifier)
