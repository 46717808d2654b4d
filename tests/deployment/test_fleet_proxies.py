"""The balancers of docs/fleet.md by the real HAProxy, Caddy and nginx, where installed: nodes are gone or not ready."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.certificate import Certificate
from tests.deployment.proxy_process import Site, caddy_command, changed, joined_certificate, nginx_command, running
from tests.ports import free_port
from tests.system.server_process import LONGEST_WAIT, ServerProcess, wait_until

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system")]

PASSWORD: Final = "correct-horse-battery"
RETRY_AFTER: Final = "7"
"""What no balancer would say by itself."""
PAGE: Final = (Path(__file__).resolve().parents[2] / "docs/fleet.md").read_text("utf-8")


def haproxy(site: Site, gone: int) -> list[str]:
    """Set HAProxy up with the page's section in place of the last one of its file, and return its command."""
    folder = site.folder
    text = changed(
        "haproxy.cfg",
        {
            "bind :443 ssl": f"bind 127.0.0.1:{site.port} ssl",
            "/etc/haproxy/auth.example.com.pem": str(joined_certificate(site.folder)),
        },
    )
    [section] = re.findall(r"^```haproxy\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for written, tried in (("10.0.0.11:8000", gone), ("10.0.0.12:8000", site.upstream)):
        assert written in section
        section = section.replace(written, f"127.0.0.1:{tried}")
    (folder / "haproxy.cfg").write_text(text.partition("\nbackend tokenkeep\n")[0] + "\n" + section)
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


def caddy(site: Site, gone: int) -> list[str]:
    """Set Caddy up with its file for fleets, and return its command."""
    changes = {
        # The one that goes has the first turn once both have been seen: chance must not spare it.
        "{$TOKENKEEP_NODES:127.0.0.1:8000 127.0.0.1:8001} {": f"127.0.0.1:{gone} 127.0.0.1:{site.upstream} {{\n"
        "\t\tlb_policy first",
    }
    address = "{$TOKENKEEP_SITE:auth.example.com}"
    return caddy_command("fleet.Caddyfile", site, address, changes)


def nginx(site: Site, gone: int) -> list[str]:
    """Set nginx up with the page's section in place of the upstream of its file, and return its command."""
    [section] = re.findall(r"^```nginx\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for written, tried in (("10.0.0.11:8000", gone), ("10.0.0.12:8000", site.upstream)):
        assert written in section
        section = section.replace(written, f"127.0.0.1:{tried}")
    upstream, own = section.split("\n\n")
    text = changed(
        "nginx.conf",
        {
            "listen 443 ssl;": f"listen 127.0.0.1:{site.port} ssl;",
            "listen [::]:443 ssl;": "",
            "server_name auth.example.com;": f"server_name localhost;\n{own}",
            "/etc/ssl/auth.example.com/fullchain.pem": f"{site.folder}/cert.pem",
            "/etc/ssl/auth.example.com/privkey.pem": f"{site.folder}/key.pem",
        },
    )
    return nginx_command(site.folder, re.sub(r"^upstream tokenkeep \{.*?^\}", upstream, text, flags=re.M | re.S))


BALANCERS: Final[Mapping[str, Callable[[Site, int], list[str]]]] = {"haproxy": haproxy, "caddy": caddy, "nginx": nginx}
SENDS_ON: Final = ["haproxy", "nginx"]
"""Those that send requests to the nodes also when none of them is ready."""


class _Ready(BaseHTTPRequestHandler):
    """Says that it is ready, and knows nothing else."""

    status = 200

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.send_header("Retry-After", RETRY_AFTER)
        self.end_headers()
        self.server.asked.append(self.headers.get("X-Forwarded-For"))  # type: ignore[attr-defined]


class _Unready(_Ready):
    """Says that it is not, whatever it is asked."""

    status = 503


@contextmanager
def another_node(kind: type[_Ready] = _Ready) -> Iterator[HTTPServer]:
    """Stand in for a node that is about to go, or for one that lacks something."""
    server = HTTPServer(("127.0.0.1", 0), kind)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(LONGEST_WAIT)


@pytest.fixture(params=list(BALANCERS))
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[httpx2.Client]:
    """A client of a balancer with two nodes, one of which has gone just now, so that no check has noticed it yet."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    port = free_port()
    context = Certificate(tmp_path, "localhost").context()
    transport = httpx2.HTTPTransport(verify=context, trust_env=False)
    with (
        ServerProcess(tmp_path, issuer=f"https://localhost:{port}", trusted_proxies="127.0.0.1") as server,
        ExitStack() as balancing,
        httpx2.Client(base_url=f"https://localhost:{port}", transport=transport, timeout=LONGEST_WAIT) as opened,
    ):
        server.start()
        server.add_user("Ada", PASSWORD)
        with another_node() as leaving:
            command = BALANCERS[name](Site(port, server.port, tmp_path), leaving.server_port)
            balancing.enter_context(running(command, tmp_path))
            # Both get requests: the one that leaves has answered some that came past the balancer.
            wait_until(lambda: _answered(opened) and any(leaving.asked), f"{name} spreads requests")  # type: ignore[attr-defined]
        yield opened


def _answered(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def test_nobody_notices_a_node_that_has_gone(client: httpx2.Client):
    """From the first request on each is answered by the node that is there, also those that change something."""
    assert client.post("/login", json={"name": "Ada", "password": PASSWORD}).status_code == 200
    for _ in range(5):
        assert client.get("/readyz").json() == {"status": "ok"}
        assert client.post("/refresh").status_code == 200
    assert client.post("/logout").json() == {"ok": True}


@pytest.mark.parametrize("name", SENDS_ON)
def test_when_no_node_is_ready_clients_hear_it_from_a_node(name: str, tmp_path: Path):
    """Once the balancer has found out, requests are still answered by a node, which says when to come again."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    transport = httpx2.HTTPTransport(verify=Certificate(tmp_path, "localhost").context(), trust_env=False)
    port = free_port()
    with (
        another_node(_Unready) as node,
        running(BALANCERS[name](Site(port, node.server_port, tmp_path), node.server_port), tmp_path),
        httpx2.Client(base_url=f"https://localhost:{port}", transport=transport, timeout=LONGEST_WAIT) as client,
    ):
        # By checks of its own, which name no client, more often than takes two servers out; or by what clients ask.
        asked: list[str | None] = node.asked  # type: ignore[attr-defined]
        told = {"haproxy": lambda: asked.count(None), "nginx": lambda: len(asked)}[name]
        wait_until(lambda: _reached(client) and told() > 6, f"{name} knows")
        for _ in range(3):
            answer = client.get("/me")
            assert (answer.status_code, answer.headers.get("Retry-After")) == (503, RETRY_AFTER)


def _reached(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 503
    except httpx2.TransportError:
        return False
