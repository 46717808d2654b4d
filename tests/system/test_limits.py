"""Limits on the real server, behind a proxy: a stranger who guesses without end locks nobody out."""

from __future__ import annotations

import httpx2
import pytest

from tests.system.conftest import Start
from tests.system.server_process import ServerProcess
from tests.system.visitor import COOKIE, cookie_in

PASSWORD = "correct-horse-battery"
HOME, HOTEL, THIEF = "192.0.2.1", "198.51.100.20", "203.0.113.66"
pytestmark = pytest.mark.slow


def post(
    server: ServerProcess, path: str, address: str, *, cookie: str = "", **options: dict[str, str]
) -> httpx2.Response:
    """Send a request as the proxy passes it on from an address."""
    headers = {"X-Forwarded-For": address} | ({"Cookie": f"{COOKIE}={cookie}"} if cookie else {})
    return server.request("POST", path, headers=headers, **options)


def login(server: ServerProcess, address: str, password: str = PASSWORD) -> httpx2.Response:
    """Try a password from an address."""
    return post(server, "/login", address, json={"name": "Ada", "password": password})


def test_a_stranger_locks_nobody_out(start: Start):
    """While a stranger is told to wait, the owner logs in at home and in a hotel, and the owner's sessions go on.

    A refresh token that the stranger stole and used changes none of that, and makes the stranger's place not familiar.
    """
    server = start(rate_limits="on", trusted_proxies="127.0.0.1")
    server.add_user("Ada", PASSWORD)
    mine = login(server, HOME)
    stolen = login(server, HOME)
    assert post(server, "/refresh", THIEF, cookie=cookie_in(stolen) or "").status_code == 200
    told: list[httpx2.Response] = []
    while [answer.status_code for answer in told[-3:]] != [429] * 3:
        told.append(login(server, THIEF, f"a wrong password {len(told)}"))
        assert len(told) < 100
    # At home, six of these would have been let in before a pause.
    assert [answer.status_code for answer in told[:8]] == [401] * 8
    for answer in told[-3:]:
        assert 1 <= int(answer.headers["Retry-After"]) <= 300
        assert answer.headers["RateLimit"] == f'"login-name";r=0;t={answer.headers["Retry-After"]}'
        assert answer.headers["RateLimit-Policy"] == '"login-name";q=1;w=300'
    assert login(server, HOME, "a wrong password").status_code == 401
    assert login(server, HOME).status_code == 200
    assert login(server, HOTEL).status_code == 200
    assert post(server, "/refresh", HOME, cookie=cookie_in(mine) or "").status_code == 200
