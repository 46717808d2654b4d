"""The proxies' files of deploy/, run by the real nginx, HAProxy and Caddy, where installed, before the real server."""

from __future__ import annotations

import json
import shutil
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import httpx2
import pytest

from tests.api.caller import PROBLEMS
from tests.certificate import Certificate
from tests.deployment.proxy_process import Site, caddy_command, changed, joined_certificate, nginx_command, running
from tests.ports import free_port
from tests.system.server_process import LONGEST_WAIT, ServerProcess, wait_until

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system")]

PASSWORD: Final = "correct-horse-battery"
# On Linux all of 127.0.0.0/8 is loopback, so that a client can have another address than the proxy.
CLIENT = "127.0.0.5" if sys.platform == "linux" else "127.0.0.1"
PRETENDED: Final = "203.0.113.9"


def nginx(site: Site) -> list[str]:
    """Set nginx up, and return its command."""
    server = changed(
        "nginx.conf",
        {
            "listen 443 ssl;": f"listen 127.0.0.1:{site.port} ssl;",
            "listen [::]:443 ssl;": "",
            "server_name auth.example.com;": "server_name localhost;",
            "/etc/ssl/auth.example.com/fullchain.pem": f"{site.folder}/cert.pem",
            "/etc/ssl/auth.example.com/privkey.pem": f"{site.folder}/key.pem",
            "127.0.0.1:8000": f"127.0.0.1:{site.upstream}",
        },
    )
    return nginx_command(site.folder, server)


def haproxy(site: Site) -> list[str]:
    """Set HAProxy up, and return its command."""
    text = changed(
        "haproxy.cfg",
        {
            "bind :443 ssl": f"bind 127.0.0.1:{site.port} ssl",
            "/etc/haproxy/auth.example.com.pem": str(joined_certificate(site.folder)),
            "127.0.0.1:8000": f"127.0.0.1:{site.upstream}",
        },
    )
    (site.folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-db", "-f", f"{site.folder}/haproxy.cfg"]


def caddy(site: Site) -> list[str]:
    """Set Caddy up, and return its command."""
    changes = {"{$TOKENKEEP_UPSTREAM:127.0.0.1:8000}": f"127.0.0.1:{site.upstream}"}
    return caddy_command("Caddyfile", site, "{$TOKENKEEP_SITE:auth.example.com}", changes)


PROXIES: Final[Mapping[str, Callable[[Site], list[str]]]] = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy}
LIMITING: Final = ["nginx", "haproxy"]


class Setup:
    """A proxy that runs, and the server behind it."""

    def __init__(self, port: int, server: ServerProcess, context: ssl.SSLContext) -> None:
        self.server = server
        self._url = f"https://localhost:{port}"
        self._context = context

    def client(self, address: str = CLIENT) -> httpx2.Client:
        """Return a client of the proxy, with a cookie jar, that has this address."""
        transport = httpx2.HTTPTransport(verify=self._context, local_address=address, trust_env=False)
        return httpx2.Client(base_url=self._url, transport=transport, timeout=LONGEST_WAIT)

    def answers(self) -> bool:
        """Tell whether the proxy passes requests on."""
        try:
            with self.client() as client:
                return client.get("/livez").status_code == 200
        except httpx2.TransportError:
            return False

    def addresses(self, path: str) -> set[str]:
        """Return the client addresses that the server has logged for a path."""
        lines = [json.loads(line) for line in self.server.log.splitlines() if line.startswith("{")]
        return {line["address"] for line in lines if line["event"] == "request" and line["path"] == path}


@pytest.fixture(scope="module", params=list(PROXIES))
def setup(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """Each proxy in turn, in front of a server whose issuer it serves over https."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    port, folder = free_port(), tmp_path_factory.mktemp(name)
    context = Certificate(folder, "localhost").context()
    with ServerProcess(folder, issuer=f"https://localhost:{port}", trusted_proxies="127.0.0.1") as server:
        server.start()
        server.add_user("Ada", PASSWORD)
        with running(PROXIES[name](Site(port, server.port, folder)), folder):
            ready = Setup(port, server, context)
            wait_until(ready.answers, f"{name} passes requests on")
            yield ready


def test_a_session_lives_behind_the_proxy(setup: Setup):
    """Login, refresh, /me and logout work over https, with a cookie that is locked to its host."""
    with setup.client() as client:
        login = client.post("/login", json={"name": "Ada", "password": PASSWORD})
        assert login.status_code == 200
        assert login.headers["set-cookie"].startswith("__Host-refreshToken=tkr_")
        assert "; Secure" in login.headers["set-cookie"]
        refreshed = client.post("/refresh")
        assert refreshed.status_code == 200
        bearer = {"Authorization": f"Bearer {refreshed.json()['accessToken']}"}
        assert client.get("/me", headers=bearer).json()["name"] == "Ada"
        assert client.post("/logout").json() == {"ok": True}
        assert client.get("/me", headers=bearer).status_code == 401


def test_the_client_is_who_the_proxy_saw(setup: Setup):
    """The logged address is the client's own, whatever the client claims it to be."""
    claims = {"X-Forwarded-For": PRETENDED, "Forwarded": f"for={PRETENDED}", "X-Real-IP": PRETENDED}
    with setup.client() as client:
        assert client.get("/.well-known/jwks.json", headers=claims).status_code == 200
    # The line is written once the answer is on its way.
    wait_until(lambda: bool(setup.addresses("/.well-known/jwks.json")), "the request is in the log")
    assert setup.addresses("/.well-known/jwks.json") == {CLIENT}


def test_metrics_stay_closed_through_the_proxy(setup: Setup):
    """What this machine may see, a client of the proxy may not."""
    assert setup.server.request("GET", "/metrics").status_code == 200
    with setup.client() as client:
        assert client.get("/metrics").status_code == 404


@pytest.mark.parametrize("setup", LIMITING, indirect=True)
@pytest.mark.parametrize(("host", "path"), [(6, "/login"), (7, "/%6Cogin"), (8, "/%6c%6F%67%69%6e?x")])
def test_the_proxy_limits_attempts_to_log_in(setup: Setup, host: int, path: str):
    """After some attempts, however their path is spelt, the proxy answers 429 by itself, and other routes go on."""
    with setup.client(f"127.0.0.{host}" if sys.platform == "linux" else CLIENT) as client:
        answers = [client.post(path, json={}) for _ in range(45)]
        # Where there is one address only, it has been limited under the first spelling.
        assert answers[0].status_code == 422 or CLIENT == "127.0.0.1"
        # It says what Tokenkeep itself would say.
        status, sentence = PROBLEMS["too_many_requests"]
        told = {"type": "about:blank", "title": "Too Many Requests", "status": status, "code": "too_many_requests"}
        assert answers[-1].json() == told | {"error": sentence}
        assert answers[-1].status_code == status
        assert answers[-1].headers["Content-Type"] == "application/problem+json"
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert answers[-1].headers["Cache-Control"] == "no-store"
        assert client.get("/me").status_code == 401
