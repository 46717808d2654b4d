"""The handler that publishes the key set (RFC 7517)."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from tokenkeep.api.endpoint import Answer, Call

MAX_AGE: Final = 300
"""Seconds for which anyone may keep the key set; a new key is published at least as long before it signs."""


async def jwks(call: Call[Any]) -> Answer:
    """Publish the public keys with which access tokens are verified."""
    document = msgspec.json.encode(call.services.key_ring.public_keys().to_jwks())
    tag = f'"{hashlib.sha256(document).hexdigest()[:32]}"'
    headers = {
        "Cache-Control": f"public, max-age={MAX_AGE}",
        "ETag": tag,
        "Access-Control-Allow-Origin": "*",
    }
    if call.if_none_match is not None and _names(call.if_none_match, tag):
        return Answer(b"", headers, not_modified=True)
    return Answer(document, headers)


def _names(if_none_match: str, tag: str) -> bool:
    """Tell whether the client has the document already, by the weak comparison of RFC 9110 §13.1.2."""
    return any(each.strip().removeprefix("W/") in {tag, "*"} for each in if_none_match.split(","))
