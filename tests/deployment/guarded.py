"""A service that tells what it was sent, the proxies that guard it with files of deploy/, and who asks through them."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final, Self

from tests.deployment.proxy_process import DEPLOY, Site, caddy_command, changed, joined_certificate, nginx_command
from tests.system.server_process import LONGEST_WAIT, ServerProcess
from tokenkeep.jose import Key, KeySet
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

ISSUER: Final = "https://auth.example.com"
ORDERS: Final = "https://orders.example.com"
OTHER: Final = "https://other.example.com"
PASSWORD: Final = "correct-horse-battery"
ADDRESS: Final = "127.0.0.5" if sys.platform == "linux" else "127.0.0.1"
"""Where requests come from: where all of 127.0.0.0/8 is loopback, from another address than the proxy's."""

Headers = Iterable[tuple[str, str]]


class Service:
    """An HTTP server that knows nothing of tokens, and answers with what reached it."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # the end of an answer does not wait until its beginning has arrived

            def handle_one_request(self) -> None:
                try:
                    self.raw_requestline = self.rfile.readline(65_537)
                except ConnectionError:  # a proxy is done with it
                    self.raw_requestline = b""
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                told = {"method": self.command, "target": self.path, "headers": self.headers.items()}
                told["body"] = self._body().decode("latin-1")
                service.received.append(told)
                content = json.dumps(told).encode()
                # A path says with which status it is to be answered.
                last = self.path.rpartition("/")[2]
                self.send_response(int(last) if last.isdecimal() else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def _body(self) -> bytes:
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length", "0")))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass(frozen=True)
class Answer:
    """What came back through the proxy."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def told(self) -> dict[str, Any]:
        """Return what the service was sent."""
        assert self.status == 200, self.body
        told: dict[str, Any] = json.loads(self.body)
        return told

    def claimed(self) -> dict[str, list[str]]:
        """Return what the service was told in headers about a bearer, as one reads them that takes `_` for `-`."""
        claimed: dict[str, list[str]] = {}
        for name, value in self.told()["headers"]:
            plain = name.lower().replace("_", "-")
            if plain.startswith("x-auth-"):
                claimed.setdefault(plain, []).append(value)
        return claimed


@dataclass
class Stage:
    """A service, its proxy, the auth server, and the keys with which that signs."""

    name: str
    port: int
    context: ssl.SSLContext
    server: ServerProcess
    service: Service
    folder: Path
    keys: KeySet = field(default_factory=lambda: KeySet([]))
    signer: Key | None = None

    def ask(
        self,
        target: str = "/",
        token: str | None = None,
        *,
        method: str = "GET",
        headers: Headers = (),
        body: bytes | Iterable[bytes] = b"",
        address: str = ADDRESS,
    ) -> Answer:
        """Send one request through the proxy, target and headers exactly as given; a body in pieces is chunked."""
        connection = http.client.HTTPSConnection(
            "localhost", self.port, timeout=LONGEST_WAIT, context=self.context, source_address=(address, 0)
        )
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", f"localhost:{self.port}")
            for name, value in [*headers, *([("Authorization", f"Bearer {token}")] if token is not None else [])]:
                connection.putheader(name, value.encode("latin-1"))
            in_pieces = not isinstance(body, bytes)
            if in_pieces:
                connection.putheader("Transfer-Encoding", "chunked")
            elif body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None, encode_chunked=in_pieces)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def login(self, name: str = "Ada", audience: str | None = ORDERS) -> dict[str, str]:
        """Log in at the auth server, as a program."""
        body = {"name": name, "password": PASSWORD, "delivery": "body"}
        answer = self.server.request("POST", "/login", json=body | ({"audience": audience} if audience else {}))
        assert answer.status_code == 200, answer.text
        handed: dict[str, str] = answer.json()
        return handed

    def answers(self) -> bool:
        """Tell whether the proxy refuses who has no token, which it can do only when all is up."""
        try:
            return self.ask().status == 401
        except OSError:
            return False

    def read_keys(self) -> None:
        """Read the keys of the auth server from its database, private parts too."""

        async def read() -> None:
            settings = Settings(issuer=ISSUER, trusted_proxies=("127.0.0.1",), data_dir=self.server.data)
            server = AuthServer(settings)
            await server.open_for_commands()
            try:
                await server.graph.key_ring.reload()
                self.keys = server.graph.key_ring.public_keys()
                self.signer = server.graph.key_ring.signer()
            finally:
                await server.close()

        asyncio.run(read())


def nginx(site: Site, service: Service) -> list[str]:
    """Set nginx up, and return its command."""
    server = changed(
        "guard-nginx.conf",
        {
            "listen 443 ssl;": f"listen 127.0.0.1:{site.port} ssl;",
            "listen [::]:443 ssl;": "",
            "server_name orders.example.com;": "server_name localhost;",
            "/etc/ssl/orders.example.com/fullchain.pem": f"{site.folder}/cert.pem",
            "/etc/ssl/orders.example.com/privkey.pem": f"{site.folder}/key.pem",
            "127.0.0.1:8000": f"127.0.0.1:{site.upstream}",
            "127.0.0.1:9000": f"127.0.0.1:{service.port}",
        },
    )
    return nginx_command(site.folder, server)


def caddy(site: Site, service: Service) -> list[str]:
    """Set Caddy up, and return its command."""
    changes = {
        "127.0.0.1:8000": f"127.0.0.1:{site.upstream}",
        "127.0.0.1:9000": f"127.0.0.1:{service.port}",
    }
    return caddy_command("guard.Caddyfile", site, "orders.example.com", changes)


def haproxy(site: Site, service: Service) -> list[str]:
    """Set HAProxy up, and return its command: a master that reloads on a signal, as under systemd."""
    text = changed(
        "guard-haproxy.cfg",
        {
            "bind :443 ssl": f"bind 127.0.0.1:{site.port} ssl",
            "/etc/haproxy/orders.example.com.pem": str(joined_certificate(site.folder)),
            "/etc/haproxy/tokenkeep/": f"{site.folder}/keys/",
            "127.0.0.1:9000": f"127.0.0.1:{service.port}",
        },
    )
    (site.folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-W", "-db", "-f", f"{site.folder}/haproxy.cfg"]


GUARDS: Final[Mapping[str, Callable[[Site, Service], list[str]]]] = {"nginx": nginx, "caddy": caddy, "haproxy": haproxy}


def export_keys(folder: Path, keys: Iterable[Key], *, reload: str = "true") -> subprocess.CompletedProcess[str]:
    """Run the script of deploy/ that gives HAProxy its keys, with what stands for the commands that it calls.

    Args:
        folder: where HAProxy's keys are in `keys`.
        keys: what Tokenkeep exports.
        reload: the shell command that reloads HAProxy.
    """
    commands = folder / "commands"
    commands.mkdir(exist_ok=True)
    (commands / "exported").write_bytes(b"".join(key.to_pem() for key in keys))
    for name, script in {
        "as-tokenkeep": f"[ \"$*\" = 'tokenkeep keys export' ] && echo 'kid ES256' >&2 && cat {commands}/exported",
        "systemctl": reload,
    }.items():
        (commands / name).write_text(f"#!/bin/sh\n{script}\n")
        (commands / name).chmod(0o755)
    script = (DEPLOY / "guard-haproxy-keys").read_text("utf-8")
    assert "folder=/etc/haproxy/tokenkeep\n" in script
    (commands / "script").write_text(script.replace("/etc/haproxy/tokenkeep", f"{folder}/keys"))
    return subprocess.run(
        ["sh", str(commands / "script")],
        env={"PATH": f"{commands}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT,
        check=False,
    )


def installed(name: str) -> bool:
    """Tell whether a proxy is there to be run."""
    return shutil.which(name) is not None
