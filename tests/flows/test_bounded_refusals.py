"""What strangers can make the audit log grow by: so much from a place, so much in all, and the rest is counted."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.flows.stage import Stage
from tokenkeep.domain.audit import REFUSALS, EventKind
from tokenkeep.domain.sessions import Client
from tokenkeep.flows.note_refusals import MOST_OF_KIND, MOST_OF_PLACE

PLACES = MOST_OF_KIND + 200
MINUTE = 60_000


def note(stage: Stage, kind: EventKind, number: int) -> None:
    """Refuse something to one of very many addresses."""
    stage.parts.refusals.note(kind, Client(address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))


async def count(stage: Stage, kind: EventKind) -> int:
    """Return how many events of a kind have been written."""
    await stage.parts.refusals.flush()
    return len(await stage.events(kind))


def dropped(stage: Stage) -> dict[str, float]:
    """Return the overflow by kind, as it is scraped."""
    text = stage.parts.services.metrics().decode()
    [family] = [each for each in text_string_to_metric_families(text) if each.name == "tokenkeep_audit_dropped"]
    return {sample.labels["event"]: sample.value for sample in family.samples}


async def test_many_places_together_do_not_fill_the_log(stage: Stage):
    """One refusal from each of 500 addresses: 300 are written in a minute, the overflow is in the metrics."""
    for number in range(PLACES):
        note(stage, EventKind.LOGIN_REFUSED, number)
    assert await count(stage, EventKind.LOGIN_REFUSED) == MOST_OF_KIND
    assert dropped(stage) == {kind: 200 if kind is EventKind.LOGIN_REFUSED else 0 for kind in REFUSALS}
    stage.clock.advance(MINUTE)
    note(stage, EventKind.LOGIN_REFUSED, 0)
    assert await count(stage, EventKind.LOGIN_REFUSED) == MOST_OF_KIND + 1


async def test_a_flood_of_one_kind_hides_no_other(stage: Stage):
    """While one kind overflows, the others are written."""
    for number in range(PLACES):
        note(stage, EventKind.REQUEST_REFUSED, number)
    for kind in REFUSALS[:3]:
        note(stage, kind, 1)
        assert await count(stage, kind) == 1


async def test_one_place_has_its_share_only(stage: Stage):
    """An address, or the IPv6 network of one holder, gets 60 events of a kind in a minute; its neighbour its own."""
    here = [Client(address=f"2001:db8:0:1::{number:x}") for number in range(MOST_OF_PLACE + 40)]
    for client in (*here, Client(address="2001:db8:0:2::1")):
        stage.parts.refusals.note(EventKind.LOGIN_REFUSED, client)
    assert await count(stage, EventKind.LOGIN_REFUSED) == MOST_OF_PLACE + 1
    assert dropped(stage)[EventKind.LOGIN_REFUSED] == 40


async def test_what_a_minute_remembers_is_bounded(stage: Stage):
    """Addresses beyond what may be written leave nothing in memory."""
    for number in range(20 * PLACES):
        note(stage, EventKind.TOKEN_REFUSED, number)
    assert len(stage.parts.refusals._of_place) == MOST_OF_KIND
