"""Signing keys follow one another: by themselves, by command, to another algorithm, and each step once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.stage import Stage
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.errors import NotFound, StorageUnavailable, Unavailable, VerifiersNotReady
from tokenkeep.domain.key_rotation import RotationPolicy
from tokenkeep.domain.readiness import Need
from tokenkeep.domain.signing_keys import KeyState
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.rotate_keys import RotateKeys
from tokenkeep.jose import Key
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.verifier import CannotTell

pytestmark = pytest.mark.usefixtures("keys_read_when_told")

DAY = 86_400_000
LEAD = 340_000
TRAIL = 1_280_000
BY = Authority(OPERATOR)


@pytest.fixture
async def other_algorithm(settings: Settings, clock: SettableClock) -> AsyncIterator[Stage]:
    """A server that was started with ES256 before, and with EdDSA now; Ada can log in."""
    async with AuthServer(settings, clock=clock) as server:
        await Stage(server, clock).add()
    async with AuthServer(replace(settings, signing_algorithm="EdDSA"), clock=clock) as server:
        yield Stage(server, clock)


async def states(stage: Stage) -> dict[str, str]:
    """Return the id of the one key in each state; those that ended count with their state."""
    return {row["state"]: row["id"] for row in await stage.rows("SELECT id, state FROM signing_keys")}


async def advance(stage: Stage) -> bool:
    """Do what a server does by itself, and read the keys."""
    changed = await stage.parts.rotate_keys.advance()
    await stage.parts.key_ring.reload()
    return changed


async def test_nothing_happens_before_its_time(stage: Stage):
    """Until the interval is over the keys stay as they are, however often one looks."""
    before = await stage.contents()
    stage.clock.advance(90 * DAY - 1)
    assert not await advance(stage)
    assert await stage.contents() == before


async def test_a_key_lives(stage: Stage):
    """After the interval the next key signs and another is published; the old one leaves after its last token."""
    await stage.add()
    first = await states(stage)
    stage.clock.advance(90 * DAY)
    old = await stage.login()
    assert await advance(stage)
    second = await states(stage)
    assert (second["active"], second["retiring"]) == (first["upcoming"], first["active"])
    assert second["upcoming"] not in first.values()
    assert stage.parts.key_ring.signer().kid == first["upcoming"]
    assert {key.kid for key in stage.parts.key_ring.public_keys()} == set(second.values())
    new = await stage.login()
    assert stage.accepts(old)
    assert stage.accepts(new)
    stage.clock.advance(TRAIL - 1)
    assert not await advance(stage)
    stage.clock.advance(1)
    assert await advance(stage)
    third = await states(stage)
    assert third == {"active": second["active"], "upcoming": second["upcoming"], "retired": first["active"]}
    assert first["active"] not in {key.kid for key in stage.parts.key_ring.verification_keys()}
    told = await stage.events("signing_key_activated", "signing_key_created", "signing_key_retired")
    assert [(event["kind"], event["actor"], event["detail"]) for event in told[3:]] == [
        ("signing_key_activated", "system", second["active"]),
        ("signing_key_created", "system", second["upcoming"]),
        ("signing_key_retired", "system", first["active"]),
    ]


async def test_the_retired_key_leaves_nothing_private(stage: Stage):
    """Of a retired key the database keeps no private part."""
    stage.clock.advance(90 * DAY)
    await advance(stage)
    stage.clock.advance(TRAIL)
    await advance(stage)
    assert await stage.rows("SELECT sealed FROM signing_keys WHERE state = 'retired'") == [{"sealed": b""}]


async def test_an_overdue_key_is_not_followed_by_an_unknown_one(stage: Stage):
    """However long the server stood still, a key that has just been made does not sign before the lead is over."""
    stage.clock.advance(400 * DAY)
    assert await advance(stage)
    await stage.execute("UPDATE signing_keys SET activated_at = $1 WHERE state = 'active'", START)
    assert not await advance(stage)
    stage.clock.advance(LEAD - 1)
    assert not await advance(stage)
    stage.clock.advance(1)
    assert await advance(stage)


async def test_tokens_of_longer_lives_are_waited_for(stage: Stage):
    """Where tokens lived longer once, keys stay longer: their length was remembered with the database."""
    await stage.parts.follow_revocations.remember_access_life(DAY)
    stage.clock.advance(90 * DAY)
    await advance(stage)
    stage.clock.advance(TRAIL + DAY - 900_001)
    assert not await advance(stage)
    stage.clock.advance(1)
    assert await advance(stage)


async def test_a_rotation_by_command_waits_for_verifiers(stage: Stage):
    """A key that was published a moment ago is asked to sign, and does when every verifier has it."""
    before = await states(stage)
    stage.clock.advance(LEAD - 1)
    rotated = await stage.parts.rotate_keys.rotate(by=BY)
    assert (rotated.promoted, rotated.plan.promotion_at) == (False, START + LEAD)
    assert await states(stage) == before
    assert not await advance(stage)
    # Asking again changes nothing, and leaves no second event.
    again = await stage.parts.rotate_keys.rotate(by=BY)
    assert (again.promoted, again.plan.promotion_at) == (False, START + LEAD)
    assert len(await stage.events("key_rotation_requested")) == 1
    stage.clock.advance(1)
    assert await advance(stage)
    assert (await states(stage))["active"] == before["upcoming"]


async def test_a_rotation_by_command_is_made_at_once_where_it_is_safe(stage: Stage):
    """A key that every verifier has signs from the command on, and leaves with who asked for it in the audit log."""
    before = await states(stage)
    stage.clock.advance(LEAD)
    rotated = await stage.parts.rotate_keys.rotate(by=BY)
    assert rotated.promoted
    after = await states(stage)
    assert (after["active"], after["retiring"]) == (before["upcoming"], before["active"])
    assert rotated.plan.active is not None
    assert rotated.plan.active.id == before["upcoming"]
    kinds = ("key_rotation_requested", "signing_key_activated", "signing_key_created")
    assert [(event["kind"], event["actor"]) for event in (await stage.events(*kinds))[-3:]] == [
        (kind, "operator") for kind in kinds
    ]


async def test_a_preview_changes_nothing(stage: Stage):
    """The timetable of a rotation that is not asked for is that of one that is."""
    before = await stage.contents()
    preview = await stage.parts.services.list_keys.preview()
    assert preview.promotion_at == START + LEAD
    assert await stage.contents() == before
    assert (await stage.parts.rotate_keys.rotate(by=BY)).plan.promotion_at == preview.promotion_at


async def test_processes_that_rotate_at_once_make_one_key(stage: Stage):
    """Of eight processes that find a rotation due, one carries it out."""
    policy = RotationPolicy(90 * DAY)
    stage.clock.advance(90 * DAY)
    crowd = [RotateKeys(stage.parts.storage, stage.parts.key_ring, policy) for _ in range(8)]
    assert sorted(await asyncio.gather(*(each.advance() for each in crowd))) == [False] * 7 + [True]
    assert sorted(await states(stage)) == ["active", "retiring", "upcoming"]
    assert len(await stage.rows("SELECT id FROM signing_keys")) == 3
    assert len(await stage.events("signing_key_activated")) == 2


async def test_another_algorithm_waits_for_verifiers(other_algorithm: Stage):
    """The key that never signed is replaced by one of the new algorithm, which signs only when verifiers are ready."""
    stage = other_algorithm
    rows = await stage.rows("SELECT algorithm, state FROM signing_keys ORDER BY state")
    assert [(row["algorithm"], row["state"]) for row in rows] == [
        ("ES256", "active"),
        ("ES256", "retired"),
        ("EdDSA", "upcoming"),
    ]
    assert {key.alg for key in stage.parts.key_ring.public_keys()} == {"ES256", "EdDSA"}
    stage.clock.advance(400 * DAY)
    assert not await advance(stage)
    with pytest.raises(VerifiersNotReady, match="EdDSA"):
        await stage.parts.rotate_keys.rotate(by=BY)
    assert stage.parts.key_ring.signer().alg == "ES256"


async def test_an_algorithm_is_changed_like_any_key(other_algorithm: Stage):
    """Once verifiers are ready the new key signs, old tokens stay good, and then the old algorithm is not accepted."""
    stage = other_algorithm
    old_key = stage.parts.key_ring.signer()
    old = await stage.login()
    assert not (await stage.parts.rotate_keys.rotate(by=BY, verifiers_ready=True)).promoted
    stage.clock.advance(LEAD)
    assert await advance(stage)
    new = await stage.login()
    assert stage.parts.key_ring.signer().alg == "EdDSA"
    assert stage.accepts(old)
    assert stage.accepts(new)
    assert [
        key["algorithm"] for key in await stage.rows("SELECT algorithm FROM signing_keys WHERE state='upcoming'")
    ] == ["EdDSA"]
    stage.clock.advance(TRAIL)
    assert await advance(stage)
    assert old_key.kid not in {key.kid for key in stage.parts.key_ring.verification_keys()}
    assert "ES256" not in {key.alg for key in stage.parts.key_ring.verification_keys()}


@pytest.mark.parametrize(("before", "after"), [("ES256", "HS256"), ("HS256", "ES256")])
async def test_a_shared_secret_and_a_key_pair_follow_one_another(
    settings: Settings, clock: SettableClock, tmp_path: Path, before: str, after: str
):
    """A server starts with the other kind of key set, the old kind signs on, and sessions outlive the change."""
    settings = replace(settings, data_dir=tmp_path / "of-one-kind")
    async with AuthServer(replace(settings, signing_algorithm=before), clock=clock) as server:
        await Stage(server, clock).add()
    async with AuthServer(replace(settings, signing_algorithm=after), clock=clock) as server:
        stage = Stage(server, clock)
        old = await stage.login()
        assert (stage.parts.key_ring.signer().alg, stage.accepts(old)) == (before, True)
        assert {key.alg for key in stage.parts.key_ring.public_keys()} == {"ES256"}
        await stage.parts.rotate_keys.rotate(by=BY, verifiers_ready=True)
        clock.advance(LEAD)
        assert await advance(stage)
        # One kind verifies at a time: what is published must never be taken for a secret.
        assert {key.alg for key in stage.parts.key_ring.verification_keys()} == {after}
        assert not stage.accepts(old)
        new = await stage.refresh(old.refresh_token)
        assert (stage.parts.key_ring.signer().alg, stage.accepts(new)) == (after, True)
        clock.advance(TRAIL)
        assert await advance(stage)
        assert {key.alg for key in stage.parts.key_ring.verification_keys()} == {after}


async def test_a_change_of_mind_takes_the_next_key_back(other_algorithm: Stage, settings: Settings):
    """Who sets the old algorithm again gets a next key of it; that of the other never signed."""
    await other_algorithm.server.close()
    async with AuthServer(settings, clock=other_algorithm.clock) as server:
        stage = Stage(server, other_algorithm.clock)
        live = await stage.rows("SELECT algorithm FROM signing_keys WHERE state IN ('active', 'upcoming')")
        assert [key["algorithm"] for key in live] == ["ES256", "ES256"]
        stage.clock.advance(90 * DAY)
        assert await advance(stage)


async def test_a_process_with_older_settings_does_not_take_the_next_key_back(other_algorithm: Stage):
    """The algorithm is looked at when a process starts, not by what it does later: two would go on for ever."""
    policy = RotationPolicy(90 * DAY)
    older = RotateKeys(other_algorithm.parts.storage, other_algorithm.parts.key_ring, policy)
    before = await other_algorithm.contents()
    for _ in range(3):
        assert not await older.advance()
    assert await other_algorithm.contents() == before


async def test_a_key_that_is_gone_is_replaced(stage: Stage):
    """Where the key to follow is missing, one of the algorithm of the other is made."""
    await stage.execute("DELETE FROM signing_keys WHERE state = 'upcoming'")
    assert await advance(stage)
    assert sorted(await states(stage)) == ["active", "upcoming"]
    await stage.execute("DELETE FROM signing_keys WHERE state = 'upcoming'")
    with pytest.raises(NotFound):
        await stage.parts.rotate_keys.rotate(by=BY)


async def test_a_ring_that_was_read_too_long_ago_stands_still(stage: Stage):
    """Without a look at the keys for 20 seconds none signs, is published or verifies: 503, and nothing stored."""
    await stage.add()
    pair = await stage.login()
    ring = stage.parts.key_ring
    stage.clock.elapse(19.9)
    await stage.parts.follow_revocations.poll()
    assert ring.signer()
    stage.clock.elapse(0.1)
    await stage.parts.follow_revocations.poll()
    before = await stage.contents()
    for call in (ring.signer, ring.public_keys):
        with pytest.raises(Unavailable):
            call()
    with pytest.raises(CannotTell):
        stage.read(pair)
    with pytest.raises(Unavailable):
        await stage.login()
    with pytest.raises(Unavailable):
        await stage.refresh(pair.refresh_token)
    assert await stage.contents() == before
    with pytest.raises(Unavailable) as told:
        await stage.parts.services.readiness.check()
    assert told.value.missing == (Need.KEYS,)
    await ring.reload()
    assert stage.accepts(await stage.refresh(pair.refresh_token))
    await stage.parts.services.readiness.check()


async def test_a_reading_counts_from_when_it_was_asked_for(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Time that passes while the database answers is not time in which the keys are known."""
    read = stage.parts.storage.read

    async def slowly(*steps: object) -> object:
        found = await read(*steps)  # type: ignore[arg-type]
        stage.clock.elapse(15)
        return found

    monkeypatch.setattr(stage.parts.storage, "read", slowly)
    await stage.parts.key_ring.reload()
    stage.clock.elapse(4.9)
    assert stage.parts.key_ring.fresh
    stage.clock.elapse(0.1)
    assert not stage.parts.key_ring.fresh


async def test_a_reading_that_began_earlier_does_not_undo_a_later_one(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Of two readings under way the later one counts, whichever ends last."""
    read, was_read, held = stage.parts.storage.read, asyncio.Event(), asyncio.Event()

    async def late(*steps: object) -> object:
        found = await read(*steps)  # type: ignore[arg-type]
        was_read.set()
        await held.wait()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(stage.parts.storage, "read", late)
        earlier = asyncio.create_task(stage.parts.key_ring.reload())
        await was_read.wait()
    stage.clock.advance(90 * DAY)
    assert await advance(stage)
    signer = stage.parts.key_ring.signer().kid
    held.set()
    await earlier
    assert stage.parts.key_ring.signer().kid == signer


async def test_a_failed_reading_leaves_the_keys_for_a_while(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """One look that fails does no harm."""

    async def fail(*_: object) -> object:
        raise StorageUnavailable("no")

    with monkeypatch.context() as patched:
        patched.setattr(stage.parts.storage, "read", fail)
        with pytest.raises(StorageUnavailable):
            await stage.parts.key_ring.reload()
    assert isinstance(stage.parts.key_ring.signer(), Key)


async def test_every_state_is_told_in_the_timetable(stage: Stage):
    """All keys are listed with their state, also those that ended."""
    stage.clock.advance(90 * DAY)
    await advance(stage)
    stage.clock.advance(TRAIL)
    await advance(stage)
    plan = await stage.parts.services.list_keys.timetable(by=BY)
    assert sorted(each.key.state for each in plan.keys) == sorted(
        [KeyState.ACTIVE, KeyState.UPCOMING, KeyState.RETIRED]
    )
