"""The handler that shows administrators the audit log."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from msgspec import UNSET, UnsetType

from tokenkeep.api.endpoint import Answer, Call
from tokenkeep.api.instants import seconds
from tokenkeep.api.schemas import AuditEvent, AuditPage, AuditQuery
from tokenkeep.domain.audit import Event, EventFilter

T = TypeVar("T")


async def search_audit(call: Call[Any]) -> Answer:
    """Show the newest events that fit, the newest first, a page at a time."""
    query = cast("AuditQuery", call.query)
    since, before = _given(query.since), _given(query.before)
    wanted = EventFilter(
        kind=_given(query.event),
        actor=_given(query.actor),
        account_id=_given(query.account_id),
        session_id=_given(query.session_id),
        address=_given(query.address),
        since=None if since is None else since * 1000,
        before=None if before is None else before * 1000,
        older_than=_given(query.older_than),
        limit=query.limit,
    )
    page = await call.services.administer.search_audit(wanted, by=call.administrator())
    return Answer(AuditPage([_item(each) for each in page.items], page.items[-1].id if page.more else None))


def _given(value: T | UnsetType) -> T | None:
    return None if value is UNSET else value


def _item(event: Event) -> AuditEvent:
    return AuditEvent(
        id=event.id,
        at=seconds(event.at),
        event=event.kind,
        outcome=event.kind.outcome,
        actor=event.actor,
        account_id=event.account_id,
        session_id=event.session_id,
        address=event.address,
        user_agent=event.user_agent,
        detail=event.detail,
    )
