"""Handlers of what browsers are given."""

from __future__ import annotations

from typing import Any, Final

from tokenkeep.api.endpoint import Answer, Call
from tokenkeep.api.revalidation import revalidated
from tokenkeep.pages import BROWSER_CLIENT

SCRIPT: Final = "text/javascript"


async def browser_client(call: Call[Any]) -> Answer:
    """Serve the browser client, to be imported by pages as a module."""
    return revalidated(
        BROWSER_CLIENT, call.if_none_match, cache_control="public, no-cache", media_type=f"{SCRIPT}; charset=utf-8"
    )
