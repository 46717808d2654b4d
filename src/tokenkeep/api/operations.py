"""Handlers for operators: overview and health."""

from __future__ import annotations

from typing import Any

from tokenkeep.api.endpoint import Answer, Call
from tokenkeep.api.schemas import Health, OverviewResponse, SigningKeyState
from tokenkeep.domain.identifiers import AccountId


async def admin(call: Call[Any]) -> Answer:
    """Show an administrator how many accounts and sessions there are, and the signing keys."""
    overview = await call.services.overview.view(AccountId(call.bearer().subject))
    keys = [SigningKeyState(key.id, key.key.alg, key.state) for key in overview.signing_keys]
    return Answer(OverviewResponse(overview.accounts, overview.live_sessions, keys))


async def livez(_call: Call[Any]) -> Answer:
    """Tell that the process runs."""
    return Answer(Health("ok"))


async def metrics(call: Call[Any]) -> Answer:
    """Show what this process counts, to this machine or to whoever has the operations token."""
    # A scraper that kept its connection would go on seeing the same one of several workers, and never another.
    return Answer(call.services.metrics(), {"Connection": "close"}, "text/plain; version=0.0.4; charset=utf-8")


async def readyz(call: Call[Any]) -> Answer:
    """Tell whether requests can be served now and, if not, which of a few things is missing."""
    await call.services.readiness.check()
    return Answer(Health("ok"))
