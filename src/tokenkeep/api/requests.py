"""What a request says, read strictly: its body, its headers, who sent it. Bounded in size and time."""

from __future__ import annotations

import asyncio
import re
from typing import Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request

from tokenkeep.api.problems import RequestRefused
from tokenkeep.api.schemas import QueryParameters, RequestBody
from tokenkeep.domain.sessions import Client
from tokenkeep.jose.encoding import decode_object
from tokenkeep.jose.errors import TokenError

B = TypeVar("B", bound=RequestBody)
Q = TypeVar("Q", bound=QueryParameters)

LARGEST_BODY: Final = 16 * 1024
"""Bytes of the largest request body."""
BODY_TIMEOUT: Final = 10.0
"""Seconds in which a body must have arrived."""
LONGEST_QUERY: Final = 4 * 1024
"""Bytes of the longest query."""
LONGEST_USER_AGENT: Final = 256
"""Characters of a user agent that are kept."""

_JSON: Final = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)
# How msgspec words its complaints; what they repeat of the request is never passed on.
_AT_FIELD: Final = re.compile(r" - at `\$\.(\w{1,64})`\Z")
_NAMED_FIELD: Final = re.compile(r"`(\w{1,64})`")
_FIELD_COMPLAINTS: Final = (
    ("Object contains unknown field ", "Unknown field"),
    ("Object missing required field ", "Required field missing"),
)


async def read_body(request: Request, schema: type[B], *, required: bool) -> B | None:
    """Return the body as the schema has it; None for an empty body that may be empty.

    Raises:
        RequestRefused: too large, too slow, no JSON object, or not what the schema says.
    """
    data = await _receive(request)
    if not data and not required:
        return None
    if not _JSON.fullmatch(request.headers.get("content-type", "")):
        raise RequestRefused("unsupported_media_type")
    try:
        members = decode_object(data)
    except TokenError:
        raise RequestRefused("malformed_request", "The request body must be one well-formed JSON object") from None
    try:
        return msgspec.convert(members, schema)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None


def read_query(request: Request, schema: type[Q]) -> Q:
    """Return the query as the schema has it.

    Raises:
        RequestRefused: too long, malformed, with a parameter that is unknown or there twice, or a value that is not
            what the schema says.
    """
    raw: bytes = request.scope["query_string"]
    if len(raw) > LONGEST_QUERY:
        raise RequestRefused("malformed_request", "The query is too long")
    try:
        pairs = (
            parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict") if raw else []
        )
    except ValueError:
        raise RequestRefused("malformed_request", "The query is malformed") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise RequestRefused("malformed_request", "A query parameter is there twice")
    if not given.keys() <= set(schema.__struct_encode_fields__):
        raise RequestRefused("malformed_request", "Unknown query parameter")
    try:
        return msgspec.convert(given, schema, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None


def sender(request: Request) -> Client:
    """Return what the request says of its sender."""
    address = request.client.host if request.client else ""
    user_agent = request.headers.get("user-agent", "")
    printable = "".join(character if character.isprintable() else "?" for character in user_agent)
    return Client(printable[:LONGEST_USER_AGENT], address)


async def gone(request: Request) -> None:
    """Return when the client has gone away; what it still sends until then is dropped.

    Where what lies before repeats the end of the body instead of telling more, it never returns.
    """
    ends = 0
    while (message := await request.receive())["type"] != "http.disconnect":
        ends += not message.get("more_body", False)
        if ends > 1:
            await asyncio.Future()


async def _receive(request: Request) -> bytes:
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or len(declared) > 18 or int(declared) > LARGEST_BODY:
        raise RequestRefused("body_too_large")
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                received += chunk
                if len(received) > LARGEST_BODY:
                    raise RequestRefused("body_too_large")
    except TimeoutError:
        raise RequestRefused("request_timeout") from None
    except ClientDisconnect:
        raise RequestRefused("malformed_request", "The request ended early") from None
    return bytes(received)


def _invalid(complaint: str) -> RequestRefused:
    """Return the refusal of a body that does not fit its schema; names come from the schema, or look like one."""
    for opening, sentence in _FIELD_COMPLAINTS:
        if complaint.startswith(opening):
            named = _NAMED_FIELD.match(complaint, len(opening))
            return RequestRefused("invalid_field", sentence, field=named[1] if named else None)
    where = _AT_FIELD.search(complaint)
    return RequestRefused("invalid_field", "The field has the wrong type or value", field=where[1] if where else None)
