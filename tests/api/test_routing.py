"""Paths and methods: what is not in the table is not there, and what is takes its own methods only."""

from __future__ import annotations

import re

import pytest

from tests.api.caller import Caller, assert_problem
from tokenkeep.api.dispatch import routes_of
from tokenkeep.api.endpoint import Services
from tokenkeep.api.openapi import About, describe
from tokenkeep.api.routes import ROUTES
from tokenkeep.server import AuthServer

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW")


def methods_of(path: str) -> set[str]:
    """Return the methods of the table's rows for a path."""
    methods = {route.method for route in ROUTES if route.path == path}
    return methods | {"HEAD"} if "GET" in methods else methods


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
async def test_unlisted_methods_are_refused(call: Caller, path: str):
    """Every method that the table does not list gets 405 with those that it does."""
    session = await call.login()
    for method in METHODS:
        if method in methods_of(path):
            continue
        asked = re.sub(r"\{\w+\}", "A" * 22, path)
        answer = await call(method, asked, cookie=session.refresh, headers={"X-HTTP-Method-Override": "POST"})
        assert answer.status_code == 405, method
        assert {each.strip() for each in answer.headers["allow"].split(",")} == methods_of(path)
        if method != "HEAD":
            assert_problem(answer, "method_not_allowed")
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200, "nothing has side effects"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/login/",
        "/refresh/",
        "/me/",
        "/me/x",
        "//me",
        "/LOGIN",
        "/login.json",
        "/login%2f",
        "/./../etc/passwd",
        "/.git/config",
        "/.env",
        "/.well-known/",
        "/.well-known/openid-configuration",
        "/docs",
        "/redoc",
        "/%00",
        "/me;x=y",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_other_paths_are_not_found(call: Caller, method: str, path: str):
    """What is not in the table is not there, and nobody is sent elsewhere."""
    assert_problem(await call(method, path), "not_found")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/.well-known/jwks.json"])
async def test_head_is_get_without_a_body(call: Caller, path: str):
    """HEAD gets the status and headers of GET."""
    got = await call("GET", path, headers={"X-Request-ID": "the-same-id"})
    head = await call("HEAD", path, headers={"X-Request-ID": "the-same-id"})
    assert head.status_code == got.status_code == 200
    assert head.headers.multi_items() == got.headers.multi_items()


async def test_head_needs_the_same_token(call: Caller):
    """HEAD of a guarded route is guarded."""
    assert (await call("HEAD", "/me")).status_code == 401
    assert (await call("HEAD", "/me", bearer=(await call.login()).access)).status_code == 200


@pytest.mark.parametrize("path", ["/login", "/refresh", "/logout"])
async def test_query_is_ignored(call: Caller, path: str):
    """Credentials and tokens in the address are not looked at."""
    token = (await call.login(delivery="body")).refresh
    answer = await call("POST", f"{path}?name=Ada&password=correct-horse-battery&refreshToken={token}")
    assert answer.status_code == {"/login": 415, "/refresh": 401, "/logout": 200}[path]
    assert (await call("POST", "/refresh", json={"refreshToken": token})).status_code == 200


def test_table_refuses_a_row_twice(server: AuthServer):
    """Two rows for one method and path are a mistake that is found at the start."""
    services: Services = server.graph.services
    with pytest.raises(ValueError, match="twice"):
        routes_of([*ROUTES, ROUTES[0]], services)


def test_description_knows_every_row():
    """Each row of the table is described, and nothing else is."""
    document = describe(ROUTES, About("http://127.0.0.1:8000", (), "refreshToken", "0"))
    described = {(path, method.upper()) for path, rows in document["paths"].items() for method in rows}
    assert described == {(route.path, route.method) for route in ROUTES}
