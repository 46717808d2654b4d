"""A web server at an origin of its own: pages that use the browser client, and an API that tells what it was sent."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

PAGE = '<!doctype html><title>A page</title><script type="module" src="/page.js"></script>'
POLICY = "default-src 'none'; script-src 'self' {issuer}; connect-src http://127.0.0.1:* http://localhost:*"
"""What such a page needs, and no more: nothing inline, no `eval`."""
SCRIPT = """
import {{ AuthClient, AuthError }} from "{issuer}/tokenkeep.js";
window.open_client = (options) => {{
  const auth = new AuthClient({{ issuer: "{issuer}", ...options }});
  auth.changes = [];
  auth.addEventListener("change", () => auth.changes.push(auth.user && auth.user.name));
  return auth;
}};
window.auth = open_client({{}});
window.told = (promise) => promise.then(
  (value) => ({{ value }}),
  (error) => ({{ error: error.name, code: error.code, status: error.status, field: error.field,
                 retryAfter: error.retryAfter, known: error instanceof AuthError }}),
);
"""


class Neighbour:
    """Serves until it is left; `authorizations` are what came to its API, path by path."""

    def __init__(self, port: int, *, issuer: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.authorizations: list[tuple[str, str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self, issuer))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(neighbour: Neighbour, issuer: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            self._answer(204, b"", {"Access-Control-Allow-Headers": "Authorization"})

        def do_GET(self) -> None:
            if self.path == "/page":
                policy = POLICY.format(issuer=issuer)
                self._answer(200, PAGE.encode(), {"Content-Type": "text/html", "Content-Security-Policy": policy})
            elif self.path == "/page.js":
                script = SCRIPT.format(issuer=issuer).encode()
                self._answer(200, script, {"Content-Type": "text/javascript"})
            else:
                neighbour.authorizations.append((self.path, self.headers.get("Authorization")))
                moved = {"Location": self.path.partition("?to=")[2]} if self.path.startswith("/moved") else {}
                self._answer(307 if moved else 200, b"{}", {"Content-Type": "application/json", **moved})

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Access-Control-Allow-Origin": "*", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
