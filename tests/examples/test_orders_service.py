"""The example of a service beside the auth server: real processes, real keys, and what happens when one is gone."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.examples.served import EXAMPLES, Served
from tests.system.server_process import LONGEST_WAIT, ServerProcess, wait_until
from tokenkeep.jose import Key, jwt

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system")]

PASSWORD = "correct-horse-battery"
ORDERS = "https://orders.example.com"
HASTY = """
from datetime import timedelta
from tokenkeep import verifier

class Hasty(verifier.AsyncTokenVerifier):
    def __init__(self, **arguments):
        super().__init__(fetching=verifier.KeyFetching(cooldown=timedelta(seconds=1)), **arguments)

verifier.AsyncTokenVerifier = Hasty
from orders_service import app
"""
"""The example with a verifier that looks for keys every second, and not every ten, while there are none."""


@pytest.fixture
def auth_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """An auth server that issues tokens for the service; it is not started yet."""
    (tmp_path / "auth").mkdir()
    with ServerProcess(tmp_path / "auth", audiences=ORDERS) as server:
        yield server


@pytest.fixture
def service(tmp_path: Path, auth_server: ServerProcess) -> Iterator[Served]:
    """The example, which is told where the auth server will be."""
    (tmp_path / "hasty.py").write_text(HASTY)
    places = f"{EXAMPLES}:{tmp_path}"
    with Served.by_granian(tmp_path, "hasty", ISSUER=auth_server.url, AUDIENCE=ORDERS, PYTHONPATH=places) as served:
        yield served


def log_in(server: ServerProcess, name: str, **audience: str) -> str:
    """Return an access token."""
    answer = server.request("POST", "/login", json={"name": name, "password": PASSWORD, **audience})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["accessToken"])


def shake_hands(service: Served, token: str | None) -> bytes:
    """Ask for a WebSocket, and return the first line of the answer."""
    lines = [
        "GET /updates HTTP/1.1",
        f"Host: {service.url.removeprefix('http://')}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
        *([] if token is None else [f"Authorization: Bearer {token}"]),
    ]
    host, _, port = service.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=LONGEST_WAIT) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection.recv(4096).partition(b"\r\n")[0]


@pytest.mark.slow
def test_service_lives_with_the_auth_server_and_without_it(auth_server: ServerProcess, service: Served):
    """It waits for keys, lets the right ones in, outlives the auth server, and never lets in whom it does not know."""
    health = service.request("GET", "/health")
    assert (health.status_code, health.json()) == (503, {"ready": False})
    assert "ConnectError" in service.log

    auth_server.start()
    auth_server.add_user("Ada", PASSWORD, role="admin")
    auth_server.add_user("Bob", PASSWORD)
    wait_until(lambda: service.request("GET", "/health").status_code == 200, "the keys are there")
    ada, bob = (log_in(auth_server, name, audience=ORDERS) for name in ("Ada", "Bob"))
    assert service.request("GET", "/orders", token=ada).json() == {"of": "Ada", "orders": []}
    assert service.request("DELETE", "/orders", token=ada).json() == {"deletedBy": "Ada"}

    refused = service.request("DELETE", "/orders", token=bob)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    refused = service.request("GET", "/orders")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    refused = service.request("GET", "/orders", token=log_in(auth_server, "Ada"))
    assert (refused.status_code, refused.json()["reason"]) == (401, "JsonWebTokenError"), "it is for the auth server"
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'

    assert b" 101 " in shake_hands(service, ada)
    for token in (None, "x", f"{ada}x"):
        assert b" 101 " not in shake_hands(service, token)
        assert b" 40" in shake_hands(service, token)

    assert auth_server.stop() == 0
    assert service.request("GET", "/orders", token=bob).status_code == 200
    forged = forge(auth_server.url)
    assert service.request("GET", "/orders", token=forged).status_code in {401, 503}
    assert service.request("GET", "/health").status_code == 200

    auth_server.start()
    assert service.request("GET", "/orders", token=bob).status_code == 200
    assert service.request("GET", "/orders", token=forged).status_code in {401, 503}
    assert "Traceback" not in service.log
    assert not [token for token in (ada, bob, forged) if token in service.log]


def forge(issuer: str) -> str:
    """Return a token that says what a good one says, and is signed by somebody else."""
    return jwt.issue(
        {"client_id": "tokenkeep", "role": "admin"},
        Key.generate("ES256"),
        issuer=issuer,
        subject="1",
        audience=ORDERS,
        lifetime=timedelta(minutes=5),
        token_type="at+jwt",
    )
