"""A server mounted on somebody's FastAPI or Starlette application: both live, and the server guards its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.embedding.conftest import PASSWORD, Embedded
from tokenkeep.server import AuthServer
from tokenkeep.settings import SettingsError
from tokenkeep.verifier import AccessToken, Refused
from tokenkeep.verifier.asgi import respond_to_refusal

HOST = "http://127.0.0.1:8000"


def orders_application(auth: AuthServer, happened: list[str]) -> FastAPI:
    """Return an application with a life span of its own and a guarded route, as the README shows it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        await auth.accounts.create("Ada", PASSWORD, role="user", actor="operator")
        happened.append("up")
        yield {"state": "of the application"}
        await auth.accounts.list()
        happened.append("down")

    app = FastAPI(lifespan=lifespan)
    auth.mount(app, "/auth")
    app.add_exception_handler(Refused, respond_to_refusal)

    @app.get("/orders")
    async def orders(request: Request) -> dict[str, Any]:
        user = auth.verifier.authenticate(request.headers.getlist("authorization"))
        return {"orders": [], "of": user.name}

    @app.get("/state")
    async def state(request: Request) -> dict[str, str]:
        return {"state": request.state.state}

    return app


def test_both_lives_are_lived(embedded: Embedded):
    """The server is open before the application's own start and until after its end, and its state gets through."""
    happened: list[str] = []
    auth = embedded()
    with TestClient(orders_application(auth, happened), base_url=HOST) as client:
        assert happened == ["up"]
        assert client.get("/state").json() == {"state": "of the application"}
        assert client.get("/auth/livez").json() == {"status": "ok"}
    assert happened == ["up", "down"]
    with pytest.raises(RuntimeError, match="not open"):
        _ = auth.accounts


def test_application_can_be_started_again(embedded: Embedded):
    """After a stop the same application starts again, with what was stored."""
    auth = embedded()
    app = FastAPI()
    auth.mount(app, "/auth")
    for _ in range(2):
        with TestClient(app, base_url=HOST) as client:
            assert client.get("/auth/readyz").status_code == 200


def test_the_whole_story_works_under_a_prefix(embedded: Embedded):
    """Login, guarded route, refresh and logout, by cookie, and the logout reaches the application's own route."""
    with TestClient(orders_application(embedded(), []), base_url=HOST) as client:
        answer = client.post("/auth/login", json={"name": "Ada", "password": PASSWORD})
        assert answer.status_code == 200
        assert answer.headers["set-cookie"].startswith("refreshToken=tkr_")
        assert "Path=/;" in answer.headers["set-cookie"]
        headers = {"Authorization": f"Bearer {answer.json()['accessToken']}"}
        assert client.get("/auth/me", headers=headers).json()["name"] == "Ada"
        assert client.get("/orders", headers=headers).json() == {"orders": [], "of": "Ada"}
        answer = client.post("/auth/refresh")
        assert answer.status_code == 200
        assert client.post("/auth/logout").json() == {"ok": True}
        refused = client.get("/orders", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
        assert client.post("/auth/refresh").json()["code"] == "no_valid_refresh_token"


def test_refusals_of_the_own_route_are_problems(embedded: Embedded):
    """A route that is guarded in five lines refuses as the server's own routes do."""
    with TestClient(orders_application(embedded(), []), base_url=HOST) as client:
        missing = client.get("/orders")
        assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")
        assert missing.json()["error"] == "Missing token"
        bad = client.get("/orders", headers={"Authorization": "Bearer x"})
        assert bad.json()["reason"] == "JsonWebTokenError"
        assert bad.headers["content-type"] == "application/problem+json"


def test_guard_as_a_dependency(embedded: Embedded):
    """The verifier is a dependency like any other, with a role."""
    auth = embedded()
    app = FastAPI()
    auth.mount(app, "/auth")
    app.add_exception_handler(Refused, respond_to_refusal)

    def administrator(request: Request) -> AccessToken:
        return auth.verifier.require_role(auth.verifier.authenticate(request.headers.getlist("authorization")), "admin")

    @app.get("/reports")
    async def reports(user: AccessToken = Depends(administrator)) -> dict[str, str | None]:  # noqa: B008
        return {"of": user.name}

    with TestClient(app, base_url=HOST) as client:
        client.portal.call(lambda: auth.accounts.create("Ada", PASSWORD, role="user", actor="operator"))
        client.portal.call(lambda: auth.accounts.create("Root", PASSWORD, role="admin", actor="operator"))
        codes = {}
        for name in ("Ada", "Root"):
            access = client.post("/auth/login", json={"name": name, "password": PASSWORD}).json()["accessToken"]
            codes[name] = client.get("/reports", headers={"Authorization": f"Bearer {access}"}).status_code
        assert codes == {"Ada": 403, "Root": 200}


def test_errors_of_the_mounted_server_are_its_own(embedded: Embedded):
    """Under the prefix there are problem documents, outside of it the application's own pages."""
    with TestClient(orders_application(embedded(), []), base_url=HOST) as client:
        inside = client.get("/auth/nothing")
        assert (inside.status_code, inside.json()["code"]) == (404, "not_found")
        wrong = client.get("/auth/login")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert wrong.headers["x-content-type-options"] == "nosniff"
        outside = client.get("/nothing")
        assert outside.json() == {"detail": "Not Found"}
        assert "x-content-type-options" not in outside.headers


def test_host_is_the_applications_business(embedded: Embedded):
    """A mounted server leaves it to the application which hosts it answers for."""
    with TestClient(orders_application(embedded(), []), base_url="http://anything.example") as client:
        assert client.get("/auth/.well-known/jwks.json").status_code == 200


@pytest.mark.parametrize(
    ("issuer", "prefix"),
    [
        ("http://127.0.0.1:8000", "/auth"),
        ("http://127.0.0.1:8000/auth", "/login"),
        ("http://127.0.0.1:8000/auth", "/auth/"),
        ("http://127.0.0.1:8000/auth", "auth"),
        ("http://127.0.0.1:8000/api/auth", "/auth"),
        ("http://127.0.0.1:8000/auth", ""),
    ],
)
def test_issuer_must_say_where_the_server_is(embedded: Embedded, issuer: str, prefix: str):
    """Clients look for the key set under the issuer: a server is not mounted anywhere else."""
    app = FastAPI()
    before = list(app.router.routes)
    with pytest.raises(SettingsError, match="issuer"):
        embedded(issuer=issuer).mount(app, prefix)
    assert list(app.router.routes) == before


def test_starlette_embeds_it_too(embedded: Embedded):
    """The same works under a plain Starlette application without a life span."""

    async def home(_: Any) -> PlainTextResponse:
        return PlainTextResponse("home")

    app = Starlette(routes=[Route("/", home)])
    embedded().mount(app, "/auth")
    with TestClient(app, base_url=HOST) as client:
        assert client.get("/").text == "home"
        assert client.get("/auth/readyz").status_code == 200


def test_application_does_not_start_without_its_server(embedded: Embedded):
    """If the server cannot open, the application's own start never happens."""
    happened: list[str] = []
    auth = embedded()
    (auth.settings.data_dir / "secret").unlink()
    with pytest.raises(Exception, match="secret"), TestClient(orders_application(auth, happened), base_url=HOST):
        pass
    assert happened == []


def test_failing_application_closes_its_server(embedded: Embedded):
    """If the application's own start fails, the server is closed again and another can use its data."""

    @asynccontextmanager
    async def failing(_: FastAPI) -> AsyncIterator[None]:
        raise LookupError("the application is broken")
        yield

    auth = embedded()
    app = FastAPI(lifespan=failing)
    auth.mount(app, "/auth")
    with pytest.raises(LookupError), TestClient(app, base_url=HOST):
        pass
    other = FastAPI()
    auth.mount(other, "/auth")
    with TestClient(other, base_url=HOST) as client:
        assert client.get("/auth/readyz").status_code == 200
