"""A signing key that may have become known: nothing of it counts any more, here and everywhere, and signing goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from tests.flows.stage import Stage
from tests.settable_clock import START, SettableClock
from tokenkeep.contract.revocation import RevocationKind, RevocationSet, digest
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.errors import Forbidden, NotFound, StorageUnavailable, Unavailable
from tokenkeep.domain.key_rotation import RotationPolicy
from tokenkeep.domain.secrets import SecretMismatch
from tokenkeep.domain.signing_keys import KeyState
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.follow_revocations import FollowRevocations
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.ports import Transaction
from tokenkeep.flows.revoke import Revoker
from tokenkeep.flows.revoke_key import RevokedKey, RevokeKey
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.sql.database import Value
from tokenkeep.storage.sql.sqlite import SqliteTransaction

pytestmark = pytest.mark.usefixtures("keys_read_when_told")

DAY = 86_400_000
LEAD = 340_000
BY = Authority(OPERATOR)


@dataclass
class Process:
    """Another process on the same database: it reads keys and revocations when it is told to."""

    issuer: str
    revoked: RevocationSet
    ring: KeyRing
    follow: FollowRevocations
    rung: list[str]

    @classmethod
    def of(cls, stage: Stage) -> Process:
        """Return one that has read nothing yet."""
        issuer, revoked, rung = stage.server.settings.issuer, RevocationSet(), []
        storage, clock = stage.parts.storage, stage.clock
        ring = KeyRing(
            storage,
            clock,
            trusted_for=20,
            is_revoked=lambda key_id: revoked.holds(digest(RevocationKind.KEY, issuer, key_id)),
        )
        follow = FollowRevocations(
            storage, revoked, clock, issuer=issuer, max_staleness=5, key_revoked=lambda: rung.append("key")
        )
        return cls(issuer, revoked, ring, follow, rung)


async def ids(stage: Stage, state: str) -> list[str]:
    """Return the ids of the keys in a state."""
    return [row["id"] for row in await stage.rows("SELECT id FROM signing_keys WHERE state = $1", state)]


async def revoke(stage: Stage, key_id: str) -> RevokedKey:
    """Revoke a key by command."""
    return await stage.parts.services.revoke_key.revoke(key_id, by=BY)


@pytest.fixture(params=["ES256", "HS256"])
async def of_any_kind(request: pytest.FixtureRequest, settings: Settings, clock: SettableClock) -> AsyncIterator[Stage]:
    """A new server with key pairs, or with shared secrets; Ada can log in."""
    fresh = replace(settings, data_dir=settings.data_dir.parent / "fresh", signing_algorithm=request.param)
    async with AuthServer(fresh, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        yield stage


async def test_the_key_that_signs_is_revoked(of_any_kind: Stage):
    """Its tokens are refused at once, the upcoming key signs at once, and a new one is published to follow it."""
    stage = of_any_kind
    stage.clock.advance(LEAD)
    old = await stage.login()
    [active], [upcoming] = await ids(stage, "active"), await ids(stage, "upcoming")
    revoked = await revoke(stage, active)
    assert (revoked.was, revoked.signer_known) == (KeyState.ACTIVE, True)
    assert revoked.signer is not None
    assert revoked.signer.id == upcoming
    assert not stage.accepts(old)
    new = await stage.refresh(old.refresh_token)
    assert stage.accepts(new)
    assert stage.read(new).key_id == upcoming == stage.parts.key_ring.signer().kid
    assert await ids(stage, "active") == [upcoming]
    assert await ids(stage, "revoked") == [active]
    [following] = await ids(stage, "upcoming")
    assert {key.kid for key in stage.parts.key_ring.verification_keys()} == {upcoming, following}
    assert await stage.rows("SELECT sealed FROM signing_keys WHERE state = 'revoked'") == [{"sealed": b""}]


async def test_a_revocation_is_recorded_and_kept(stage: Stage):
    """Who did it is in the audit log; the entry outlives every key set that a verifier may still hold."""
    [active] = await ids(stage, "active")
    await revoke(stage, active)
    [event] = await stage.events("signing_key_revoked")
    assert (event["actor"], event["detail"]) == ("operator", active)
    [row] = await stage.revocations()
    assert (row["kind"], row["value"], row["version"], row["actor"]) == ("kid", active, None, "operator")
    assert row["expires_at"] == START + 2 * DAY


async def test_the_revocation_is_the_last_thing_of_its_transaction(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Nothing is written after the row for whose number all others wait."""
    [active] = await ids(stage, "active")
    written: list[str] = []
    execute = SqliteTransaction.execute

    async def noting(tx: SqliteTransaction, sql: str, *values: Value) -> int:
        written.append(sql.split()[2])
        return await execute(tx, sql, *values)

    monkeypatch.setattr(SqliteTransaction, "execute", noting)
    await revoke(stage, active)
    assert written[-1] == "revocations"
    assert "signing_keys" in written


@pytest.mark.parametrize("state", ["upcoming", "retiring"])
async def test_another_key_is_revoked(stage: Stage, state: str):
    """The one that signs goes on, and there is a key to follow it."""
    stage.clock.advance(90 * DAY)
    await stage.parts.rotate_keys.advance()
    await stage.parts.key_ring.reload()
    signer = stage.parts.key_ring.signer().kid
    [key_id] = await ids(stage, state)
    revoked = await revoke(stage, key_id)
    assert (revoked.was.value, revoked.signer.id if revoked.signer else None) == (state, signer)
    assert await ids(stage, "active") == [signer]
    assert len(await ids(stage, "upcoming")) == 1
    assert await ids(stage, "revoked") == [key_id]
    assert key_id not in {key.kid for key in stage.parts.key_ring.public_keys()}


async def test_a_retired_key_is_revoked_too(stage: Stage):
    """Who learns late that a key has become known can still have everybody refuse it."""
    stage.clock.advance(90 * DAY)
    await stage.parts.rotate_keys.advance()
    stage.clock.advance(DAY)
    await stage.parts.rotate_keys.advance()
    [key_id] = await ids(stage, "retired")
    assert (await revoke(stage, key_id)).was is KeyState.RETIRED
    assert [row["value"] for row in await stage.revocations()] == [key_id]


async def test_revoking_again_changes_nothing(stage: Stage):
    """A second time is no error, leaves no event, and replaces no other key."""
    [active] = await ids(stage, "active")
    await revoke(stage, active)
    before = await stage.contents()
    assert (await revoke(stage, active)).was is KeyState.REVOKED
    assert await stage.contents() == before


async def test_an_unknown_key_is_refused(stage: Stage):
    """A key that never was is told, and where to look; nothing changes."""
    before = await stage.contents()
    with pytest.raises(NotFound, match="keys list"):
        await revoke(stage, "A" * 43)
    assert await stage.contents() == before


@pytest.mark.parametrize("other", ["confirm", "hold"])
@pytest.mark.parametrize("act", ["revoke", "rotate"])
async def test_only_administrators_change_keys(stage: Stage, monkeypatch: pytest.MonkeyPatch, other: str, act: str):
    """Who is none is refused before a key is drawn, and who ceased to be one meanwhile in the change's transaction."""
    account = await stage.add()
    [active] = await ids(stage, "active")
    stage.clock.advance(LEAD)
    before = await stage.contents()
    monkeypatch.setattr(Authority, other, _does_not_look)
    by = Authority(account.id, token_version=account.token_version)
    parts = stage.parts
    acting = parts.services.revoke_key.revoke(active, by=by) if act == "revoke" else parts.rotate_keys.rotate(by=by)
    with pytest.raises(Forbidden):
        await acting
    assert await stage.contents() == before


async def _does_not_look(authority: Authority, tx: Transaction) -> None:
    """Stand in for one of the two looks at whether somebody is an administrator."""


async def test_recovery_keeps_the_algorithm_that_verifiers_know(settings: Settings, clock: SettableClock):
    """The settings of a command on the host need not name the algorithm that the server was started with."""
    signed = replace(settings, data_dir=settings.data_dir.parent / "eddsa", signing_algorithm="EdDSA")
    async with AuthServer(signed, clock=clock):
        pass
    await AuthServer(replace(signed, signing_algorithm="ES256"), clock=clock).recover()
    async with AuthServer(signed, clock=clock) as server:
        stage = Stage(server, clock)
        rows = await stage.rows("SELECT algorithm, state FROM signing_keys ORDER BY algorithm, state")
        assert [(row["algorithm"], row["state"]) for row in rows] == [
            ("EdDSA", "active"),
            ("EdDSA", "revoked"),
            ("EdDSA", "revoked"),
            ("EdDSA", "upcoming"),
        ]


async def test_a_key_of_an_algorithm_that_is_not_accepted_yet_is_not_promoted(settings: Settings, clock: SettableClock):
    """While another algorithm waits for verifiers, a new key of the old one signs; the other goes on waiting."""
    async with AuthServer(replace(settings, signing_algorithm="EdDSA"), clock=clock) as server:
        stage = Stage(server, clock)
        [active], [upcoming] = await ids(stage, "active"), await ids(stage, "upcoming")
        clock.advance(DAY)
        revoked = await revoke(stage, active)
        assert revoked.signer is not None
        assert (revoked.signer.algorithm, revoked.signer_known) == ("ES256", False)
        assert stage.parts.key_ring.signer().kid == revoked.signer.id
        assert await ids(stage, "upcoming") == [upcoming]
        plan = await stage.parts.services.list_keys.timetable(by=BY)
        assert plan.waits_for == "EdDSA"


async def test_verifiers_that_are_ready_stay_so(settings: Settings, clock: SettableClock):
    """A new key in the place of one that was asked to sign is asked as well, and not before it is known."""
    async with AuthServer(replace(settings, signing_algorithm="EdDSA"), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.parts.rotate_keys.rotate(by=BY, verifiers_ready=True)
        [upcoming] = await ids(stage, "upcoming")
        await revoke(stage, upcoming)
        clock.advance(LEAD)
        assert await stage.parts.rotate_keys.advance()
        await stage.parts.key_ring.reload()
        assert stage.parts.key_ring.signer().alg == "EdDSA"


async def test_an_algorithm_that_is_accepted_is_promoted(settings: Settings, clock: SettableClock):
    """Once verifiers are ready for the next algorithm, an emergency takes it."""
    async with AuthServer(replace(settings, signing_algorithm="EdDSA"), clock=clock) as server:
        stage = Stage(server, clock)
        await stage.parts.rotate_keys.rotate(by=BY, verifiers_ready=True)
        await revoke(stage, (await ids(stage, "active"))[0])
        assert stage.parts.key_ring.signer().alg == "EdDSA"


async def test_two_at_once_revoke_once(stage: Stage):
    """However many revoke the same key, one of them does, and one key follows it."""
    [active] = await ids(stage, "active")
    told = await asyncio.gather(*(revoke(stage, active) for _ in range(4)))
    assert sorted(each.was for each in told) == ["active", "revoked", "revoked", "revoked"]
    assert len(await stage.revocations()) == 1
    assert len(await stage.rows("SELECT id FROM signing_keys")) == 3


async def test_nothing_is_signed_with_a_revoked_key_before_the_keys_are_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    """If the keys cannot be read after it, the revocation stands, and the process signs nothing until they are."""
    process = Process.of(stage)
    await process.ring.reload()
    active = process.ring.signer().kid
    reload, left = process.ring.reload, [True]

    async def once() -> None:
        if not left:
            raise StorageUnavailable("no")
        left.pop()
        await reload()

    monkeypatch.setattr(process.ring, "reload", once)
    revoker = Revoker(process.issuer, process.revoked, lambda: None)
    flow = RevokeKey(stage.parts.storage, process.ring, revoker, RotationPolicy(90 * DAY))
    assert (await flow.revoke(active, by=BY)).was is KeyState.ACTIVE
    assert await ids(stage, "revoked") == [active]
    with pytest.raises(Unavailable):
        process.ring.signer()
    assert active not in {key.kid for key in process.ring.public_keys()}
    await reload()
    assert process.ring.signer().kid != active


async def test_another_process_learns_of_it_with_the_revocations(stage: Stage):
    """It signs with that key no more from the moment it reads the revocation, and is told to read the keys."""
    process = Process.of(stage)
    await process.ring.reload()
    await process.follow.poll()
    active = process.ring.signer().kid
    await revoke(stage, active)
    assert process.ring.signer().kid == active
    await process.follow.poll()
    assert process.rung == ["key"]
    with pytest.raises(Unavailable):
        process.ring.signer()
    assert active not in {key.kid for key in process.ring.public_keys()}
    await process.ring.reload()
    assert process.ring.signer().kid == stage.parts.key_ring.signer().kid != active


async def test_other_revocations_read_no_keys(stage: Stage):
    """The end of a session has nothing to do with the keys."""
    process = Process.of(stage)
    await stage.add()
    await stage.logout((await stage.login()).refresh_token)
    await process.follow.poll()
    assert await stage.revocations()
    assert process.rung == []


async def test_a_command_with_another_secret_adds_no_key(settings: Settings, clock: SettableClock):
    """A key sealed with a secret that the server does not have would stop it: nothing is changed."""
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        [active] = await ids(stage, "active")
        before = await stage.contents()
        beside = AuthServer(replace(settings, secret=Secret("another server secret, long enough: 5e7d")), clock=clock)
        await beside.open_for_commands()
        try:
            for act in (
                beside.graph.services.revoke_key.revoke(active, by=BY),
                beside.graph.rotate_keys.rotate(by=BY),
            ):
                with pytest.raises(SecretMismatch):
                    await act
        finally:
            await beside.close()
        assert await stage.contents() == before
