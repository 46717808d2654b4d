"""Requests no well-behaved client would send, straight to the ASGI application, and what must be true of any answer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from tests.system.stored import Ask, asking_file
from tokenkeep.server import AuthServer

JSON: Final = ("Content-Type", "application/json")
NAME: Final = "Ada"
PASSWORD: Final = "correct horse battery staple"

_MEMBERS: Final = {"type", "title", "status", "code", "error"}
_OPTIONAL_MEMBERS: Final = {"reason", "field"}
# RFC 6749 §5.2 allows these characters in an error text; they need no escaping anywhere.
_HARMLESS: Final = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
_STATE: Final = ("accounts", "sessions", "signing_keys", "revocations")

Header = tuple[str | bytes, str | bytes]
Message = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it left the server."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return the values of all headers of a name, which is in lower case."""
        return [value for each, value in self.headers if each == name]

    def header(self, name: str) -> str:
        """Return the value of the one header of a name."""
        (value,) = self.all(name)
        return value

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    def refused(self, status: int, code: str) -> dict[str, Any]:
        """Return the problem document, which must be a proper one with this status and code."""
        document = check_problem(self.status, self.header("content-type"), self.body)
        assert (self.status, document["code"]) == (status, code), document
        assert self.header("cache-control") == "no-store"
        assert self.header("x-content-type-options") == "nosniff"
        return document


def check_problem(status: int, content_type: str, body: bytes) -> dict[str, Any]:
    """Return the problem document of an answer, after making sure that it is one and shows nothing it should not."""
    assert content_type == "application/problem+json"
    document: dict[str, Any] = json.loads(body)
    assert set(document) - _OPTIONAL_MEMBERS == _MEMBERS
    assert document["status"] == status
    assert _HARMLESS.fullmatch(document["error"]), document["error"]
    return document


class Attacker:
    """Sends whatever it is told to an open server, over no socket at all.

    Each answer must be one that the OpenAPI document declares for its route: status, media type and code.
    """

    def __init__(self, server: AuthServer) -> None:
        self.server = server
        self._declared: Mapping[str, Any] | None = None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Iterable[Header] = (),
        body: bytes | Iterable[bytes] = b"",
        host: str | None = "127.0.0.1:8000",
        client: str | None = "127.0.0.1",
        scheme: str = "http",
        receive: Callable[[], Awaitable[Message]] | None = None,
        declared: bool = True,
    ) -> Reply:
        """Send one request and return its answer.

        Args:
            path: as it stands in the request line, query included.
            body: all of it, or its pieces.
            host: the `Host` header, if there is to be one.
            client: the address of the connection, if it has one.
            receive: what the application gets to read instead of the body.
            declared: whether the answer must be one that the OpenAPI document declares.
        """
        raw_path, _, query = path.partition("?")
        fields = [*([("Host", host)] if host is not None else []), *headers]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": scheme,
            "path": unquote(raw_path, errors="replace"),
            "raw_path": raw_path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [(_octets(name).lower(), _octets(value)) for name, value in fields],
            "server": ("127.0.0.1", 8000),
            "client": (client, 50_000) if client is not None else None,
        }
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        pieces = [body] if isinstance(body, bytes) else body
        async with asyncio.timeout(10):
            await self.server.app(scope, receive or pieces_as_messages(pieces).__anext__, send)
        reply = _reply(sent)
        if declared:
            await self._check_declared(method, scope["path"], reply)
        return reply

    async def login(self, *, delivery: str = "body", headers: Iterable[Header] = (), **options: Any) -> Reply:
        """Log in with the right name and password."""
        body = json.dumps({"name": NAME, "password": PASSWORD, "delivery": delivery}).encode()
        return await self.ask("POST", "/login", headers=[JSON, *headers], body=body, **options)

    def state(self) -> list[Any]:
        """Return all rows that matter, to be compared with later ones."""
        return state_of(asking_file(self.server.settings.data_dir))

    async def document(self) -> dict[str, Any]:
        """Return the OpenAPI document that the server serves."""
        host = urlsplit(self.server.settings.issuer).netloc
        document: dict[str, Any] = (await self.ask("GET", "/openapi.json", host=host, declared=False)).json()
        return document

    async def _check_declared(self, method: str, path: str, reply: Reply) -> None:
        if self._declared is None:
            self._declared = (await self.document())["paths"]
        operations = next((found for name, found in self._declared.items() if fits(name, path)), {})
        operation = operations.get({"HEAD": "get"}.get(method, method.lower() if method.isupper() else ""))
        if operation is None:
            assert reply.status >= 400, f"{method} {path} answered {reply.status}"
            return
        assert str(reply.status) in operation["responses"], f"{method} {path} answered {reply.status} {reply.body!r}"
        declared = operation["responses"][str(reply.status)].get("content", {})
        if reply.body:
            media_type = reply.header("content-type").partition(";")[0]
            assert media_type in {name.partition(";")[0] for name in declared}, f"{method} {path}: {media_type}"
        if reply.status >= 400 and reply.body:
            _, named = declared["application/problem+json"]["schema"]["allOf"]
            assert reply.json()["code"] in named["properties"]["code"]["enum"], f"{method} {path}: {reply.body!r}"


async def pieces_as_messages(pieces: Iterable[bytes]) -> AsyncIterator[Message]:
    """Give a body out piece by piece; then wait, as a client does that stays connected."""
    for piece in pieces:
        yield {"type": "http.request", "body": piece, "more_body": True}
    yield {"type": "http.request", "body": b"", "more_body": False}
    await asyncio.Event().wait()


def state_of(ask: Ask) -> list[Any]:
    """Return all rows of a server's database but the audit trail, which may tell of refusals."""
    return [(table, sorted(ask(f"SELECT * FROM {table}"), key=repr)) for table in _STATE]


def filled(template: str) -> str:
    """Return a path of a route, with an id that nobody has in each of its places."""
    return re.sub(r"\{\w+\}", "A" * 22, template)


def fits(template: str, path: str) -> bool:
    """Tell whether a path is one of a route's."""
    pattern = "[^/]+".join(re.escape(part) for part in re.split(r"\{\w+\}", template))
    return re.fullmatch(pattern, path) is not None


def _reply(sent: list[Message]) -> Reply:
    start, *rest = sent
    assert start["type"] == "http.response.start"
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"])
    return Reply(start["status"], headers, b"".join(message.get("body", b"") for message in rest))


def _octets(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text
