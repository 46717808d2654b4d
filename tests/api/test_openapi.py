"""The description of the interface: valid, served where it may be seen, and true in every status it names."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from tests.api.caller import PASSWORD, PROBLEMS, Caller, Login, assert_problem
from tests.api.test_operations import database_of
from tests.quick_hashes import occupy
from tests.settable_clock import SettableClock
from tokenkeep.api import requests
from tokenkeep.api.endpoint import Endpoint, Guard
from tokenkeep.api.openapi import About, describe, described
from tokenkeep.api.routes import routes_served
from tokenkeep.domain.limits import Quota
from tokenkeep.domain.sessions import Client
from tokenkeep.flows.limit_attempts import LimitAttempts, LimitPolicy
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.memory import MemoryLimiter
from tokenkeep.storage.sql.database import SqlTransaction

JSON = {"Content-Type": "application/json"}
SECURITY = {"refreshCookie": "apiKey", "accessToken": "http", "operationsToken": "http", "feedToken": "http"}
FEED_TOKEN = "a feed token, long enough: 5b8e21d7"


ABOUT = About("http://127.0.0.1:8000", ("http://127.0.0.1:8000",), "refreshToken", "0.0.0")
ROWS = described(routes_served(registration=True, feed=True), ABOUT)
DOCUMENT = describe(ROWS, ABOUT)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings of a server that serves every route."""
    return replace(settings, registration=True, feed_token=Secret(FEED_TOKEN))


@pytest.fixture
def document() -> dict[str, Any]:
    """The document of a server on loopback."""
    return DOCUMENT


def resolve(document: dict[str, Any], reference: str) -> Any:
    """Return what a reference into the document points at."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(node: Any) -> list[str]:
    """Return every reference in a part of the document."""
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [each for value in node.values() for each in references(value)]
    return [each for item in node for each in references(item)] if isinstance(node, list) else []


async def test_document_is_served(call: Caller):
    """What is served is what the route table derives, but for the version; the route that serves it is in it."""
    answer = await call("GET", "/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    served = answer.json()
    assert {**served, "info": None} == {**DOCUMENT, "info": None}
    assert "/openapi.json" in served["paths"]


def test_document_is_whole(document: dict[str, Any]):
    """Version, server and every reference are as OpenAPI 3.1 wants them, and operations have names of their own."""
    assert document["openapi"] == "3.1.0"
    assert document["info"].keys() >= {"title", "version"}
    assert document["servers"] == [{"url": "http://127.0.0.1:8000"}]
    for reference in references(document):
        assert resolve(document, reference)
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] and good_statuses(operation) for operation in operations)
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})


def good_statuses(operation: dict[str, Any]) -> list[str]:
    """Return the statuses of success that an operation declares."""
    return [status for status in operation["responses"] if status.startswith("2")]


def test_paths_declare_their_parameters(document: dict[str, Any]):
    """Every name in braces is a required path parameter, and no other is declared."""
    for path, operations in document["paths"].items():
        names = re.findall(r"\{(\w+)\}", path)
        for operation in operations.values():
            declared = [each["name"] for each in operation.get("parameters", []) if each["in"] == "path"]
            assert declared == names
            assert all(each["required"] for each in operation.get("parameters", []) if each["in"] == "path")


def test_guards_are_declared(document: dict[str, Any]):
    """Whoever reads the document knows which routes want an access token."""
    schemes = document["components"]["securitySchemes"]
    assert {name: scheme["type"] for name, scheme in schemes.items()} == SECURITY
    assert schemes["refreshCookie"]["name"] == "refreshToken"
    for route in ROWS:
        security = document["paths"][route.path][route.method.lower()].get("security", [])
        bearer = route.guard in {Guard.BEARER, Guard.AUDIENCE, Guard.ADMIN}
        assert ({"accessToken": []} in security) is bearer, route.path
        assert ({"operationsToken": []} in security) is (route.guard is Guard.OPERATIONS), route.path
        assert ({"feedToken": []} in security) is (route.guard is Guard.FEED), route.path


def test_metrics_are_declared_open_to_this_machine_only():
    """Of a local server `/metrics` may be asked for without a token; of a public one it may not."""
    for issuer, choices in (
        ("http://127.0.0.1:8000", [{"operationsToken": []}, {}]),
        ("https://a.example.com", [{"operationsToken": []}]),
    ):
        document = describe(ROWS, replace(ABOUT, issuer=issuer))
        assert document["paths"]["/metrics"]["get"]["security"] == choices


def test_document_says_nothing_secret(document: dict[str, Any]):
    """Bodies are described, and no value of a setting or an account is in the document."""
    text = str(document)
    for secret in ("Ada", PASSWORD, ".tokenkeep", tempfile.gettempdir()):
        assert secret not in text


def test_queries_are_described(document: dict[str, Any]):
    """Each query parameter is described with what it may be, and none is required."""
    for path, names in (
        ("/verify", ["audience", "role"]),
        ("/admin/users", ["after", "limit"]),
        ("/revocations", ["epoch", "after", "wait"]),
        (
            "/admin/audit",
            ["event", "actor", "accountId", "sessionId", "address", "since", "before", "olderThan", "limit"],
        ),
    ):
        parameters = document["paths"][path]["get"]["parameters"]
        assert [each["name"] for each in parameters] == names
        assert all(each["in"] == "query" and each["required"] is False for each in parameters)
        for parameter in parameters:
            schema = inlined(document, parameter["schema"])
            assert schema.keys() & {"type", "enum"}, parameter
            assert "null" not in str(schema)


async def test_what_is_off_is_not_described(settings: Settings, clock: SettableClock):
    """A server without registration neither describes nor knows the path."""
    async with AuthServer(replace(settings, registration=False), clock=clock) as server:
        assert "/register" not in (await Caller(server)("GET", "/openapi.json")).json()["paths"]
        assert_problem(await Caller(server)("POST", "/register", json=BODIES["/register"]), "not_found")


@pytest.mark.parametrize(("changes", "status"), [({}, 404), ({"api_docs": True}, 200)])
async def test_document_is_hidden_from_the_world(
    settings: Settings, clock: SettableClock, changes: dict[str, Any], status: int
):
    """Off loopback the document is served only if a setting says so."""
    public = replace(settings, issuer="https://auth.example.com", **changes)
    async with AuthServer(public, clock=clock) as server:
        answer = await Caller(server)("GET", "/openapi.json")
        assert answer.status_code == status
        if status == 404:
            assert_problem_of_https(answer)
        else:
            assert answer.json()["servers"] == [{"url": "https://auth.example.com"}]
            schemes = answer.json()["components"]["securitySchemes"]
            assert schemes["refreshCookie"]["name"] == "__Host-refreshToken"


def assert_problem_of_https(answer: httpx2.Response) -> None:
    """Hold an answer to the usual 404."""
    assert_problem(answer, "not_found")


class Provoker:
    """Makes a route answer with a code that its description names."""

    def __init__(self, call: Caller, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
        self.call = call
        self.endpoint = endpoint
        self.monkeypatch = monkeypatch
        self.session = Login("", "")

    async def provoke(self, code: str) -> httpx2.Response:
        """Return an answer that carries the code."""
        self.session = await self.call.login("Root")
        provoke = getattr(self, code, None)
        if provoke is None:
            pytest.fail(f"{self.endpoint.method} {self.endpoint.path} names {code}: show here how it comes about")
        answer = await provoke()
        assert isinstance(answer, httpx2.Response)
        return answer

    async def send(self, **changes: Any) -> httpx2.Response:
        """Send a request that would be good, changed in what is given."""
        arguments: dict[str, Any] = {}
        if self.endpoint.guard in {Guard.BEARER, Guard.AUDIENCE, Guard.ADMIN}:
            arguments["bearer"] = self.session.access
        if self.endpoint.guard is Guard.FEED:
            arguments["bearer"] = FEED_TOKEN
        if self.endpoint.cookie and self.endpoint.path != "/login":
            arguments["cookie"] = self.session.refresh
        if self.endpoint.body_required:
            arguments["json"] = BODIES[self.endpoint.path]
        path = re.sub(
            r"\{\w+\}", changes.pop("named", "A" * (43 if "{kid}" in self.endpoint.path else 22)), self.endpoint.path
        ) + changes.pop("query", "")
        return await self.call(self.endpoint.method, path, **{**arguments, **changes})

    async def malformed_request(self) -> httpx2.Response:
        if self.endpoint.body is not None:
            return await self.send(json=None, content=b"[", headers=JSON)
        if self.endpoint.cookie:
            return await self.send(cookie="x; refreshToken=y")
        return await self.send(headers=[("Host", "127.0.0.1:8000"), ("Host", "127.0.0.1:8000")])

    async def invalid_credentials(self) -> httpx2.Response:
        wrong = {name: "wrong-horse-battery" if "assword" in name else value for name, value in self._body().items()}
        return await self.send(json=wrong)

    async def no_valid_refresh_token(self) -> httpx2.Response:
        return await self.send(cookie=None)

    async def invalid_refresh_token(self) -> httpx2.Response:
        return await self.send(cookie="x")

    async def missing_token(self) -> httpx2.Response:
        return await self.send(bearer=None)

    async def invalid_token(self) -> httpx2.Response:
        return await self.send(bearer="x")

    async def invalid_feed_token(self) -> httpx2.Response:
        return await self.send(bearer="x")

    async def forbidden(self) -> httpx2.Response:
        self.session = await self.call.login("Ada")
        return await self.send(query="?role=admin" if self.endpoint.path == "/verify" else "")

    async def cross_site(self) -> httpx2.Response:
        return await self.send(headers={"Origin": "https://evil.example"})

    async def not_found(self) -> httpx2.Response:
        if self.endpoint.path == "/sessions":
            self.monkeypatch.setattr(self.call.server.graph.services.end_sessions, "end_all", _not_found)
        return await self.send()

    async def request_timeout(self) -> httpx2.Response:
        self.monkeypatch.setattr(requests, "BODY_TIMEOUT", 0.01)
        return await self.send(json=None, content=_endless(), headers=JSON)

    async def body_too_large(self) -> httpx2.Response:
        return await self.send(json=None, content=b" " * 16_385, headers=JSON)

    async def unsupported_media_type(self) -> httpx2.Response:
        return await self.send(json=None, content=b"x", headers={"Content-Type": "text/plain"})

    async def invalid_field(self) -> httpx2.Response:
        if self.endpoint.query is not None:
            wrong = {"/verify": "?role=!", "/revocations": "?wait=31"}
            return await self.send(query=wrong.get(self.endpoint.path, "?limit=0"))
        return await self.send(json={**self._body(), "unknown": 1})

    async def name_taken(self) -> httpx2.Response:
        return await self.send(json={**self._body(), "name": "Ada"})

    async def last_administrator(self) -> httpx2.Response:
        root = self.call.server.verifier.verify(self.session.access).subject
        return await self.send(named=root)

    async def verifiers_not_ready(self) -> httpx2.Response:
        async def steps(tx: SqlTransaction) -> None:
            assert await tx.execute("UPDATE signing_keys SET algorithm = 'EdDSA' WHERE state = 'upcoming'") == 1

        await database_of(self.call.server).transact(steps)
        return await self.send()

    async def internal_error(self) -> httpx2.Response:
        graph = self.call.server.graph
        self.monkeypatch.setattr(graph.services.verifier, "authenticate", _broken)
        self.monkeypatch.setattr(graph.storage, "transact", _broken)
        self.monkeypatch.setattr(graph.storage, "change_once", _broken)
        self.monkeypatch.setattr(graph.storage, "read", _broken)
        self.monkeypatch.setattr(graph.storage, "revision", _broken)
        self.monkeypatch.setattr(graph.key_ring, "public_keys", _broken)
        return await self.send()

    async def password_change_required(self) -> httpx2.Response:
        accounts = self.call.server.accounts
        await accounts.set_password("Root", PASSWORD, actor="operator", temporary=True)
        return await self.send()

    async def unavailable(self) -> httpx2.Response:
        follow = self.call.server.graph.follow_revocations
        self.monkeypatch.setattr(follow, "_revision", None)
        self.monkeypatch.setattr(follow, "_read_on", _fails)
        self.monkeypatch.setattr(follow, "look", _stands_still)
        self.call.server._clock.elapse(5.0)  # type: ignore[attr-defined]
        return await self.send()

    async def storage_unavailable(self) -> httpx2.Response:
        await database_of(self.call.server).close()
        return await self.send()

    async def busy(self) -> httpx2.Response:
        occupy(self.call.server.graph.hasher)
        return await self.send()

    async def misdirected_request(self) -> httpx2.Response:
        return await self.send(headers={"Host": "elsewhere.example"})

    async def headers_too_large(self) -> httpx2.Response:
        return await self.send(headers={"X-Long": "x" * 16_384})

    async def too_many_requests(self) -> httpx2.Response:
        services = self.call.server.graph.services
        limits = LimitAttempts(MemoryLimiter(SettableClock()), LimitPolicy(*(Quota(name, 1, 60) for name in "abcd")))
        for holder in (
            services.login._passwords,
            services.change_password._passwords,
            services.refresh,
            services.register,
        ):
            self.monkeypatch.setattr(holder, "_admission", replace(holder._admission, limits=limits))
        self.monkeypatch.setattr(services.logout, "_limits", limits)
        here = Client(address=self.call.address)
        await limits.admit_login(here)
        await limits.admit_refresh(here)
        await limits.admit_logout(here)
        return await self.send()

    def _body(self) -> dict[str, Any]:
        return BODIES.get(self.endpoint.path, {})


BODIES: dict[str, dict[str, Any]] = {
    "/login": {"name": "Root", "password": PASSWORD},
    "/password": {"currentPassword": PASSWORD, "newPassword": "another-good-password"},
    "/register": {"name": "Grace", "password": PASSWORD},
    "/admin/users": {"name": "Grace"},
    "/admin/users/{user}/role": {"role": "user"},
}


async def _endless():
    yield b"{"
    await asyncio.Event().wait()


async def _fails() -> None:
    raise OSError("no look succeeds")


async def _stands_still() -> None:
    """Look at nothing."""


async def _not_found(*_: Any, **__: Any) -> None:
    from tokenkeep.domain.errors import NotFound

    raise NotFound


def _broken(*_: Any, **__: Any) -> None:
    raise RuntimeError("unexpected")


# What the description names but no request can bring about: liveness and the key set touch nothing that could fail so.
UNPROVOKABLE = {
    ("/livez", "internal_error"),
    ("/metrics", "internal_error"),
    ("/tokenkeep.js", "internal_error"),
    ("/openapi.json", "internal_error"),
    ("/me", "storage_unavailable"),
}


def refusals() -> list[Any]:
    """Return each route with each status and code that its description names."""
    named = []
    for endpoint in ROWS:
        for status, response in DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]["responses"].items():
            codes = re.findall(r"[a-z_]+", response["description"].removeprefix("`code` is ").replace(" or ", " "))
            for code in codes if int(status) >= 400 else ():
                if (endpoint.path, code) in UNPROVOKABLE:
                    continue
                named.append(pytest.param(endpoint, status, code, id=f"{endpoint.method} {endpoint.path} {code}"))
    return named


@pytest.mark.parametrize(("endpoint", "status", "code"), refusals())
async def test_every_status_is_true(
    call: Caller, monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint, status: str, code: str
):
    """Each code that a route's description names can be brought about, and its answer fits the schema it names."""
    assert PROBLEMS[code][0] == int(status)
    response = DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]["responses"][status]
    [(media_type, content)] = response["content"].items()
    answer = await Provoker(call, endpoint, monkeypatch).provoke(code)
    assert (answer.status_code, answer.json()["code"]) == (int(status), code)
    assert answer.headers["content-type"] == media_type == "application/problem+json"
    schema = inlined(DOCUMENT, content["schema"])
    jsonschema_rs.validate(schema, answer.json())
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(schema, {**answer.json(), "code": "another_code"})


def inlined(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that stands by itself: references become what they point at."""
    if "$ref" in schema:
        return inlined(document, resolve(document, schema["$ref"]))
    return {
        name: inlined(document, value)
        if isinstance(value, dict)
        else [inlined(document, item) if isinstance(item, dict) else item for item in value]
        if isinstance(value, list)
        else value
        for name, value in schema.items()
    }


async def on_ada(call: Caller, method: str, below: str, session: Login, **body: Any) -> httpx2.Response:
    """Ask an administrator's route about Ada."""
    ada = call.server.verifier.verify((await call.login("Ada")).access).subject
    return await call(method, f"/admin/users/{ada}{below}", bearer=session.access, json=body or None)


async def end_own_session(call: Caller, session: Login) -> httpx2.Response:
    """End the session that asks."""
    [own] = (await call("GET", "/sessions", bearer=session.access)).json()["sessions"]
    return await call("DELETE", f"/sessions/{own['id']}", bearer=session.access)


async def revoke_signer(call: Caller, session: Login) -> httpx2.Response:
    """Revoke the key that signs."""
    kid = call.server.graph.key_ring.signer().kid
    return await call("POST", f"/admin/keys/{kid}/revoke", bearer=session.access)


SUCCESSES: dict[str, Callable[[Caller, Login], Awaitable[httpx2.Response]]] = {
    "post /login": lambda call, _: call("POST", "/login", json=BODIES["/login"]),
    "post /refresh": lambda call, session: call("POST", "/refresh", cookie=session.refresh),
    "post /logout": lambda call, _: call("POST", "/logout"),
    "get /me": lambda call, session: call("GET", "/me", bearer=session.access),
    "get /verify": lambda call, session: call("GET", "/verify?role=admin", bearer=session.access),
    "get /admin": lambda call, session: call("GET", "/admin", bearer=session.access),
    "get /sessions": lambda call, session: call("GET", "/sessions", bearer=session.access),
    "post /register": lambda call, _: call("POST", "/register", json=BODIES["/register"]),
    "get /admin/users": lambda call, session: call("GET", "/admin/users?limit=1", bearer=session.access),
    "post /admin/users": lambda call, session: call(
        "POST", "/admin/users", bearer=session.access, json=BODIES["/admin/users"]
    ),
    "get /admin/users/{user}": lambda call, session: on_ada(call, "GET", "", session),
    "delete /admin/users/{user}": lambda call, session: on_ada(call, "DELETE", "", session),
    "post /admin/users/{user}/disable": lambda call, session: on_ada(call, "POST", "/disable", session),
    "post /admin/users/{user}/enable": lambda call, session: on_ada(call, "POST", "/enable", session),
    "put /admin/users/{user}/role": lambda call, session: on_ada(call, "PUT", "/role", session, role="editor"),
    "delete /admin/users/{user}/sessions": lambda call, session: on_ada(call, "DELETE", "/sessions", session),
    "get /admin/keys": lambda call, session: call("GET", "/admin/keys", bearer=session.access),
    "post /admin/keys/rotate": lambda call, session: call("POST", "/admin/keys/rotate", bearer=session.access),
    "post /admin/keys/{kid}/revoke": revoke_signer,
    "get /admin/audit": lambda call, session: call("GET", "/admin/audit?limit=1", bearer=session.access),
    "get /.well-known/jwks.json": lambda call, _: call("GET", "/.well-known/jwks.json"),
    "get /revocations": lambda call, _: call("GET", "/revocations", bearer=FEED_TOKEN),
    "get /livez": lambda call, _: call("GET", "/livez"),
    "get /readyz": lambda call, _: call("GET", "/readyz"),
    "get /tokenkeep.js": lambda call, _: call("GET", "/tokenkeep.js"),
    "get /metrics": lambda call, _: Caller(call.server, "127.0.0.1")("GET", "/metrics"),
    "get /openapi.json": lambda call, _: call("GET", "/openapi.json"),
    "post /password": lambda call, session: call(
        "POST", "/password", json=BODIES["/password"], bearer=session.access, cookie=session.refresh
    ),
    "delete /sessions": lambda call, session: call("DELETE", "/sessions", bearer=session.access),
    "delete /sessions/{session}": end_own_session,
}


def test_every_success_is_compared():
    """No route is left out of the table above."""
    assert {f"{endpoint.method.lower()} {endpoint.path}" for endpoint in ROWS} == set(SUCCESSES)


@pytest.mark.parametrize("operation", SUCCESSES)
async def test_successes_are_what_is_described(call: Caller, document: dict[str, Any], operation: str):
    """A good answer has a media type that its description names, and fits its schema, with no member more."""
    method, path = operation.split(" ")
    answer = await SUCCESSES[operation](call, await call.login("Root"))
    [status] = good_statuses(document["paths"][path][method])
    assert answer.status_code == int(status)
    assert answer.headers.keys() >= {
        name.lower() for name in document["paths"][path][method]["responses"][status].get("headers", {})
    }
    content = document["paths"][path][method]["responses"][status]["content"]
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in content
    if media_type == "application/json":
        schema = inlined(document, content[media_type]["schema"])
        jsonschema_rs.validate(schema, answer.json())
        assert answer.json().keys() <= schema["properties"].keys()
