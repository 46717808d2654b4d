"""Calls to an open server through its ASGI application, and what every answer must look like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from tokenkeep.server import AuthServer

PASSWORD: Final = "correct-horse-battery"
ISSUER: Final = "http://127.0.0.1:8000"
COOKIE: Final = "refreshToken"

SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
}

# Every problem: its status and its usual sentence. Written here again, so that no change of the table goes unnoticed.
PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "malformed_request": (400, "Malformed request"),
    "invalid_credentials": (401, "Invalid credentials"),
    "no_valid_refresh_token": (401, "No valid refresh token"),
    "invalid_refresh_token": (401, "Invalid refresh token"),
    "missing_token": (401, "Missing token"),
    "invalid_token": (401, "Invalid token"),
    "invalid_feed_token": (401, "The feed token is missing or wrong"),
    "forbidden": (403, "Forbidden"),
    "password_change_required": (403, "Password change required"),
    "cross_site": (403, "Cross-site request refused"),
    "https_required": (403, "Use https; plain http is accepted from the trusted proxies only"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "Method not allowed"),
    "request_timeout": (408, "The request body came too slowly"),
    "name_taken": (409, "Name already taken"),
    "last_administrator": (409, "The last administrator cannot give up the role, be disabled or be deleted"),
    "verifiers_not_ready": (
        409,
        "The next key has another algorithm: have every verifier accept it, then say that they are ready",
    ),
    "body_too_large": (413, "The request body is too large"),
    "unsupported_media_type": (415, "The request body must be application/json"),
    "misdirected_request": (421, "This host is not served here; see the setting allowed_hosts"),
    "invalid_field": (422, "Invalid field"),
    "headers_too_large": (431, "The request headers are too large"),
    "internal_error": (500, "Internal error"),
    "too_many_requests": (429, "Too many attempts, try again later"),
    "unavailable": (503, "Temporarily unavailable"),
    "storage_unavailable": (503, "Temporarily unavailable"),
    "busy": (503, "Too many logins at once, try again shortly"),
}

Content = bytes | AsyncIterator[bytes]


@dataclass(frozen=True)
class Caller:
    """Sends requests to a server; keeps no cookies, so that each test says what it sends."""

    server: AuthServer
    address: str = "192.0.2.1"

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: Content | None = None,
        headers: Sequence[tuple[str, str]] | Mapping[str, str] = (),
        cookie: str | None = None,
        bearer: str | None = None,
    ) -> httpx2.Response:
        """Return the answer to one request; `cookie` is a refresh token, `bearer` an access token."""
        sent = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if cookie is not None:
            sent.append(("Cookie", f"{self.cookie}={cookie}"))
        if bearer is not None:
            sent.append(("Authorization", f"Bearer {bearer}"))
        transport = httpx2.ASGITransport(app=self.server.app, client=(self.address, 49152))
        async with httpx2.AsyncClient(transport=transport) as client:
            return await client.request(method, self.origin + path, json=json, content=content, headers=sent)

    @property
    def origin(self) -> str:
        """Scheme, host and port of the server's public address."""
        parts = urlsplit(self.server.settings.issuer)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def cookie(self) -> str:
        """The name of the refresh cookie."""
        return "__Host-refreshToken" if self.server.settings.issuer.startswith("https") else "refreshToken"

    async def login(self, name: str = "Ada", password: str = PASSWORD, **body: Any) -> Login:
        """Log in as one of the accounts of the prepared database."""
        answer = await self("POST", "/login", json={"name": name, "password": password, **body})
        assert answer.status_code == 200, answer.text
        return Login.of(answer)


@dataclass(frozen=True)
class Login:
    """What an answer of /login or /refresh hands over."""

    access: str
    refresh: str

    @classmethod
    def of(cls, answer: httpx2.Response) -> Login:
        """Return the tokens of an answer, wherever the refresh token is."""
        body = answer.json()
        refresh = body.get("refreshToken") or answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
        return cls(body["accessToken"], refresh)


def assert_problem(
    answer: httpx2.Response, code: str, sentence: str | None = None, *, challenge: str | None = None, **members: object
) -> None:
    """Hold an answer to the whole of a problem document, its status, and the headers that belong to it.

    Args:
        sentence: the sentence, where it is not the usual one.
        challenge: the `WWW-Authenticate` header, where it is not the code's usual one.
        members: further members: `reason`, `field` or `missing`.
    """
    status, usual = PROBLEMS[code]
    expected = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "error": sentence or usual,
        **members,
    }
    assert answer.json() == expected
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers.get_list(name) == [value], name
    assert "set-cookie" not in answer.headers
    assert ("retry-after" in answer.headers) is (status == 503)
    expected_challenge = challenge or CHALLENGES.get(code)
    assert answer.headers.get_list("www-authenticate") == ([expected_challenge] if expected_challenge else [])


CHALLENGES: Final = {
    "missing_token": "Bearer",
    "invalid_token": 'Bearer error="invalid_token"',
    "invalid_feed_token": "Bearer",
}
