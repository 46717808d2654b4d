"""What the server writes down: every request, and nothing secret wherever people put it by mistake."""

from __future__ import annotations

import json

import pytest

from tests.system.server_process import ServerProcess
from tests.system.visitor import COOKIE, Visitor

PASSWORD = "canary-correct-horse-battery"
STRAY = "canary-of-a-secret-in-the-wrong-place"


@pytest.mark.engines("sqlite")
def test_no_secret_is_written_to_the_log(server: ServerProcess):
    """Passwords and tokens do not get into the log, neither from where they belong nor from where they do not."""
    server.add_user("Ada", PASSWORD)
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    assert ada.refresh().status_code == 200
    token, cookie = ada.access_token, ada.cookie or ""
    stray: list[tuple[str, str, dict[str, object]]] = [
        ("GET", f"/me?access_token={token}", {}),
        ("GET", f"/me?password={STRAY}", {"headers": {"Authorization": f"Basic {STRAY}"}}),
        ("GET", "/me", {"headers": {"Authorization": f"Bearer {token}.{STRAY}"}}),
        ("GET", "/me", {"headers": {"Authorization": f"Bearer {cookie}", "User-Agent": STRAY}}),
        ("POST", "/login", {"json": {"name": STRAY, "password": "x"}}),
        ("POST", "/login", {"json": {"name": "Ada", "password": STRAY}}),
        ("POST", "/login", {"json": {"name": "Ada", STRAY: PASSWORD}}),
        ("POST", "/login", {"json": {"name": "Ada", "password": [STRAY]}}),
        ("POST", "/login", {"content": f"name=Ada&password={STRAY}"}),
        ("POST", f"/login?password={STRAY}", {"content": STRAY, "headers": {"Content-Type": "application/json"}}),
        ("POST", "/refresh", {"json": {"refreshToken": STRAY}}),
        ("POST", "/refresh", {"headers": {"Cookie": f"{COOKIE}={STRAY}; {COOKIE}={cookie}"}}),
        ("POST", "/refresh", {"headers": {"Cookie": f"{COOKIE}={cookie[:-1]}A"}}),
        ("POST", "/refresh", {"headers": {"Cookie": f"{COOKIE}={cookie}", "Origin": "https://elsewhere.example"}}),
        ("POST", "/logout", {"headers": {"Cookie": f"{COOKIE}={cookie}", "Referer": f"https://x/?token={token}"}}),
    ]
    for method, path, options in stray:
        assert server.request(method, path, **options).status_code < 500
    assert server.stop() == 0
    log = server.log
    requests = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    answered = [line for line in requests if line["event"] == "request" and line["path"] != "/readyz"]
    assert len(answered) == len(stray) + 2
    for secret in (*ada.handed_out, STRAY, server.secret):
        assert secret not in log
