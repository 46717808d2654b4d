"""Around every request: who sent it and by which way, bounds on its headers, headers of its answer, its log line."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokenkeep.api.addresses import Proxies
from tokenkeep.api.problems import RequestRefused, problem_of
from tokenkeep.contract.loopback import is_loopback
from tokenkeep.observability import Answered, Metrics, log_request, request_id

LARGEST_HEADERS: Final = 16 * 1024
"""Bytes of the largest header section."""

REFUSED: Final = "tokenkeep.refused"
"""Where a request's scope says why it was refused."""
ROUTE: Final = "tokenkeep.route"
"""Where a request's scope says which row of the route table answered it."""

# Of two, whoever is on the way may have read the other one (RFC 9110 §5.3, RFC 9112 §3.2).
_ONCE: Final = frozenset({b"host", b"content-length", b"content-type", b"sec-fetch-site", b"transfer-encoding"})
_OWN_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9_.-]{8,64}")
ANYONES: Final = frozenset({"/livez", "/readyz"})
"""Routes that orchestrators call by address and without https: there is nothing to overhear."""
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")


@dataclass(frozen=True, slots=True)
class FramePolicy:
    """What is let in.

    Attributes:
        hosts: accepted `Host` values; None where an application around this one decides.
        proxies: whose word on the client's address is taken.
        https_only: whether plain http is refused from others than proxies and this machine.
        secure: whether the public address is https.
    """

    hosts: frozenset[str] | None
    proxies: Proxies
    https_only: bool
    secure: bool


class Frame:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp, *, policy: FramePolicy, metrics: Metrics) -> None:
        self._app = app
        self._policy = policy
        self._metrics = metrics
        self._headers = (*_SECURITY_HEADERS, _STRICT_TRANSPORT) if policy.secure else _SECURITY_HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        headers = _Headers(scope)
        own_id = headers.first(b"x-request-id")
        known_as = own_id if own_id and _OWN_REQUEST_ID.fullmatch(own_id) else secrets.token_hex(8).encode()
        status = 0

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers, (b"x-request-id", known_as)]
            await send(message)

        marker = request_id.set(known_as.decode())
        try:
            refused = self._refusal(scope, headers)
            if refused is None:
                await self._app(scope, receive, send_framed)
            else:
                note_refusal(scope, refused.code, refused)
                await problem_of(refused)(scope, receive, send_framed)
        finally:
            self._tell(scope, status, time.monotonic() - started)
            request_id.reset(marker)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log an answered request; metrics know the table's path, the log the one that was asked."""
        request = Answered(
            method=scope["method"],
            path=scope["path"],
            route=scope.get(ROUTE, "other"),
            status=status,
            seconds=seconds,
            address=scope["client"][0] if scope.get("client") else "",
            refused=scope.get(REFUSED),
        )
        self._metrics.count_request(request)
        log_request(request)

    def _refusal(self, scope: Scope, headers: _Headers) -> RequestRefused | None:
        """Return why a request may not come in; name the client of one that may."""
        peer = scope["client"][0] if scope.get("client") else ""
        policy = self._policy
        if headers.size > LARGEST_HEADERS:
            return RequestRefused("headers_too_large")
        twice = headers.twice()
        if twice is not None:
            return RequestRefused("malformed_request", f"More than one {twice} header")
        # The server undoes chunks, and would take what any other coding wraps for the body.
        if (headers.first(b"transfer-encoding") or b"chunked").lower() != b"chunked":
            return RequestRefused("malformed_request", "A transfer coding other than chunked")
        anyones = scope["path"] in ANYONES
        if (
            policy.https_only
            and not anyones
            and scope.get("scheme") != "https"
            and not (is_loopback(peer) or policy.proxies.trusts(peer))
        ):
            return RequestRefused("https_required")
        if policy.hosts is not None and not anyones:
            host = headers.first(b"host")
            if host is None or host.decode("latin-1").lower() not in policy.hosts:
                return RequestRefused("misdirected_request")
        if policy.proxies.networks and policy.proxies.trusts(peer):
            client = policy.proxies.client_of(peer, headers.texts(b"x-forwarded-for"))
            scope["client"] = (client, 0)
        return None


def note_refusal(scope: Scope, code: str, why: object) -> None:
    """Have the log line of a request say why it was refused; the client is told less."""
    scope[REFUSED] = code if str(why) == code else f"{code}: {why}"


class _Headers:
    """The raw headers of a request."""

    __slots__ = ("_raw", "size")

    def __init__(self, scope: Scope) -> None:
        self._raw: list[tuple[bytes, bytes]] = scope["headers"]
        self.size = sum(len(name) + len(value) + 4 for name, value in self._raw)

    def first(self, wanted: bytes) -> bytes | None:
        return next((value for name, value in self._raw if name == wanted), None)

    def twice(self) -> str | None:
        """Return the name of a header that is there twice and may not be."""
        seen = set()
        for name, _ in self._raw:
            if name in seen:
                return name.decode().title()
            if name in _ONCE:
                seen.add(name)
        return None

    def texts(self, wanted: bytes) -> list[str]:
        return [value.decode("latin-1") for name, value in self._raw if name == wanted]
