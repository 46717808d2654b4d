"""Signing keys: two are there after the first start, and never more by starting again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.stage import Stage
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.errors import Unavailable
from tokenkeep.domain.secrets import SecretMismatch
from tokenkeep.flows.establish_keys import EstablishKeys
from tokenkeep.jose import Key
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings


async def test_first_start_makes_a_signer_and_its_successor(tmp_path: Path, clock: SettableClock):
    """A new database gets one active and one upcoming key of the configured algorithm."""
    async with AuthServer(Settings(data_dir=tmp_path / "data"), clock=clock) as server:
        stage = Stage(server, clock)
        keys = await stage.rows("SELECT id, algorithm, state, created_at, activated_at FROM signing_keys")
        by_state = {key["state"]: key for key in keys}
        assert by_state.keys() == {"active", "upcoming"}
        assert {key["algorithm"] for key in keys} == {"ES256"}
        assert (by_state["active"]["activated_at"], by_state["upcoming"]["activated_at"]) == (START, None)
        assert stage.parts.key_ring.signer().kid == by_state["active"]["id"]
        assert {key.kid for key in stage.parts.key_ring.public_keys()} == {key["id"] for key in keys}
        events = await stage.events("signing_key_created")
        assert {event["detail"] for event in events} == {key["id"] for key in keys}
        assert {event["actor"] for event in events} == {"system"}


async def test_establishing_again_changes_nothing(stage: Stage):
    """Keys that are there are not made again."""
    before = await stage.contents()
    assert await EstablishKeys(stage.parts.storage, "ES256").establish() == 0
    assert await stage.contents() == before


async def test_processes_that_start_at_once_end_with_one_pair(stage: Stage):
    """However many establish keys at the same time, there is one key of each kind."""

    async def forget(tx) -> None:
        await tx.execute("DELETE FROM signing_keys")

    await stage.database.transact(forget)
    made = await asyncio.gather(*(EstablishKeys(stage.parts.storage, "ES256").establish() for _ in range(8)))
    assert sum(made) == 2
    states = await stage.rows("SELECT state FROM signing_keys ORDER BY state")
    assert [row["state"] for row in states] == ["active", "upcoming"]


@pytest.mark.parametrize("lost", ["active", "upcoming"])
async def test_missing_key_is_made_and_the_other_stays(stage: Stage, lost: str):
    """Only what is missing is made."""
    [kept] = await stage.rows("SELECT id FROM signing_keys WHERE state <> $1", lost)
    await stage.execute("DELETE FROM signing_keys WHERE state = $1", lost)
    assert await EstablishKeys(stage.parts.storage, "ES256").establish() == 1
    rows = await stage.rows("SELECT id, state FROM signing_keys")
    assert {row["state"] for row in rows} == {"active", "upcoming"}
    assert kept["id"] in {row["id"] for row in rows}


async def test_restart_keeps_the_keys(settings: Settings, clock: SettableClock):
    """Tokens from before a restart verify after it."""
    published = []
    for _ in range(2):
        async with AuthServer(settings, clock=clock) as server:
            published.append({key.kid for key in server.graph.key_ring.public_keys()})
    assert published[0] == published[1]


async def test_private_keys_are_not_stored_in_the_open(stage: Stage):
    """What is in the database is sealed: no member of the private JWK can be read in it."""
    private = stage.parts.key_ring.signer().to_jwk(private=True)["d"]
    rows = await stage.rows("SELECT sealed FROM signing_keys")
    assert all(str(private).encode() not in row["sealed"] and b'"d"' not in row["sealed"] for row in rows)


async def test_published_set_has_public_parts_only(stage: Stage):
    """Nothing private is in the set that verifiers are given, nor can it be asked for."""
    for keys in (stage.parts.key_ring.public_keys(), stage.parts.key_ring.verification_keys()):
        assert not any(key.is_private for key in keys)
        assert all(set(jwk) & {"d", "k", "p", "q"} == set() for jwk in keys.to_jwks()["keys"])


async def test_other_server_secret_opens_nothing(settings: Settings, clock: SettableClock):
    """A server with the wrong secret does not start, and says so; it makes no new keys."""
    wrong = replace(settings, secret=Secret("another server secret, long enough: 5e7d"))
    with pytest.raises(SecretMismatch):
        async with AuthServer(wrong, clock=clock):
            pass
    async with AuthServer(settings, clock=clock) as server:
        assert len(await Stage(server, clock).rows("SELECT id FROM signing_keys")) == 2


async def test_sealed_keys_cannot_be_swapped(stage: Stage):
    """A sealed key opens only under the id that it was sealed for."""
    [one, other] = await stage.rows("SELECT id, sealed FROM signing_keys")
    await stage.execute("UPDATE signing_keys SET sealed = $1 WHERE id = $2", one["sealed"], other["id"])
    with pytest.raises(SecretMismatch):
        await stage.parts.key_ring.reload()


async def test_shared_secret_is_never_published(tmp_path: Path, clock: SettableClock):
    """With HS256 the published set is empty, and the server still verifies its own tokens."""
    settings = Settings(data_dir=tmp_path / "data", signing_algorithm="HS256")
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        pair = await stage.login()
        assert stage.accepts(pair)
        assert list(stage.parts.key_ring.public_keys()) == []
        assert stage.parts.key_ring.public_keys().to_jwks() == {"keys": []}
        assert isinstance(stage.parts.key_ring.signer(), Key)


async def test_ring_without_an_active_key_signs_nothing(stage: Stage):
    """Without an active key no token is issued, rather than one signed with some other key."""
    await stage.execute("UPDATE signing_keys SET state = 'retired' WHERE state = 'active'")
    await stage.parts.key_ring.reload()
    with pytest.raises(Unavailable):
        stage.parts.key_ring.signer()
