"""Documents that a client may keep and ask about: answered whole, or with "still the same" (RFC 9110 §13.1.2)."""

from __future__ import annotations

import hashlib

from tokenkeep.api.endpoint import Answer


def revalidated(
    document: bytes, if_none_match: str | None, *, cache_control: str, media_type: str = "application/json"
) -> Answer:
    """Return the answer with a public document, without its body if the client names that it has it.

    Pages of any origin may read it.

    Args:
        if_none_match: the value of the request's `If-None-Match`.
        cache_control: how long whoever has it need not ask.
    """
    tag = f'"{hashlib.sha256(document).hexdigest()[:32]}"'
    headers = {"Cache-Control": cache_control, "ETag": tag, "Access-Control-Allow-Origin": "*"}
    if if_none_match is not None and _names(if_none_match, tag):
        return Answer(b"", headers, not_modified=True)
    return Answer(document, headers, media_type)


def _names(if_none_match: str, tag: str) -> bool:
    """Tell whether the client has the document already, by the weak comparison."""
    return any(each.strip().removeprefix("W/") in {tag, "*"} for each in if_none_match.split(","))
