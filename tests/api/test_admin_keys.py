"""/admin/keys: administrators see the signing keys, have them rotate and revoke one; nobody else does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.api.caller import Caller, Login, assert_problem
from tests.api.test_admin_users import behind_the_back
from tests.api.test_operations import INSUFFICIENT
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

pytestmark = pytest.mark.usefixtures("keys_read_when_told")

JWKS = "/.well-known/jwks.json"
LEAD = 340_000
INTERVAL = 90 * 86_400
TRAIL = 1_280


@pytest.fixture
async def root(call: Caller) -> Login:
    """An administrator who has logged in."""
    return await call.login("Root")


async def keys_of(call: Caller, root: Login) -> dict[str, dict[str, Any]]:
    """Return the one key in each state."""
    answer = await call("GET", "/admin/keys", bearer=root.access)
    assert answer.status_code == 200, answer.text
    return {key["state"]: key for key in answer.json()["keys"]}


async def published(call: Caller) -> set[str]:
    """Return the ids in the key set."""
    return {key["kid"] for key in (await call("GET", JWKS)).json()["keys"]}


async def test_keys_are_shown_with_their_timetable(call: Caller, root: Login):
    """Each key, from when until when it signs and how long it stays; and when the next one will sign."""
    document = (await call("GET", "/admin/keys", bearer=root.access)).json()
    start = START // 1000
    active, upcoming = sorted(document.pop("keys"), key=lambda key: key["state"])
    assert document == {"nextRotationAt": start + INTERVAL}
    assert {active.pop("kid"), upcoming.pop("kid")} == await published(call)
    assert active == {
        "alg": "ES256",
        "state": "active",
        "createdAt": start,
        "signsFrom": start,
        "signsUntil": start + INTERVAL,
        "leavesAt": start + INTERVAL + TRAIL,
    }
    assert upcoming == {
        "alg": "ES256",
        "state": "upcoming",
        "createdAt": start,
        "signsFrom": start + INTERVAL,
        "signsUntil": start + 2 * INTERVAL,
        "leavesAt": start + 2 * INTERVAL + TRAIL,
    }


async def test_a_rotation_waits_until_the_next_key_is_known(call: Caller, root: Login, clock: SettableClock):
    """The answer says when; the overview and the key set show the same keys as before."""
    before = await keys_of(call, root)
    answer = await call("POST", "/admin/keys/rotate", bearer=root.access)
    assert answer.status_code == 200
    assert answer.json()["nextRotationAt"] == (START + LEAD) // 1000
    assert {state: key["kid"] for state, key in (await keys_of(call, root)).items()} == {
        state: key["kid"] for state, key in before.items()
    }
    clock.advance(LEAD)
    answer = await call("POST", "/admin/keys/rotate", bearer=root.access, json={})
    after = {key["state"]: key["kid"] for key in answer.json()["keys"]}
    assert (after["active"], after["retiring"]) == (before["upcoming"]["kid"], before["active"]["kid"])
    await call.server.graph.key_ring.reload()
    assert await published(call) == set(after.values())
    overview = (await call("GET", "/admin", bearer=root.access)).json()["signingKeys"]
    assert {key["state"]: key["kid"] for key in overview} == after
    assert (await call("GET", "/me", bearer=root.access)).status_code == 200, "tokens of the old key stay good"


async def test_a_key_is_revoked_with_its_tokens(call: Caller, root: Login):
    """Also the administrator's own token ends, whose next one is of the next key, in the same second."""
    before = await keys_of(call, root)
    ada = await call.login("Ada")
    kid = before["active"]["kid"]
    answer = await call("POST", f"/admin/keys/{kid}/revoke", bearer=root.access)
    assert answer.status_code == 200
    after = {key["state"]: key for key in answer.json()["keys"]}
    assert after["revoked"] | {"leavesAt": 0} == {
        "kid": kid,
        "alg": "ES256",
        "state": "revoked",
        "createdAt": START // 1000,
        "signsFrom": START // 1000,
        "signsUntil": START // 1000,
        "leavesAt": 0,
        "revokedAt": START // 1000,
    }
    assert after["active"]["kid"] == before["upcoming"]["kid"]
    for token in (root.access, ada.access):
        assert_problem(await call("GET", "/me", bearer=token), "invalid_token", reason="JsonWebTokenError")
    assert kid not in await published(call)
    new = Login.of(await call("POST", "/refresh", cookie=ada.refresh))
    assert (await call("GET", "/me", bearer=new.access)).status_code == 200
    again = Login.of(await call("POST", "/refresh", cookie=root.refresh))
    repeated = await call("POST", f"/admin/keys/{kid}/revoke", bearer=again.access)
    assert repeated.status_code == 200
    assert (await call("GET", "/me", bearer=new.access)).status_code == 200


@pytest.mark.parametrize("kid", ["A" * 43, "x", "A" * 42, "%00", "A" * 4_000])
async def test_an_unknown_key_is_not_found(call: Caller, root: Login, kid: str):
    """Whether or not it could be the id of a key."""
    assert_problem(await call("POST", f"/admin/keys/{kid}/revoke", bearer=root.access), "not_found")


async def test_another_algorithm_waits_for_verifiers(settings: Settings, clock: SettableClock):
    """The timetable says for which algorithm, and a rotation is refused until they are said to be ready."""
    async with AuthServer(replace(settings, signing_algorithm="EdDSA"), clock=clock) as server:
        call = Caller(server)
        root = await call.login("Root")
        document = (await call("GET", "/admin/keys", bearer=root.access)).json()
        assert document["waitsForVerifiersOf"] == "EdDSA"
        assert "nextRotationAt" not in document
        for body in (None, {}, {"verifiersReady": False}):
            answer = await call("POST", "/admin/keys/rotate", bearer=root.access, json=body)
            assert_problem(answer, "verifiers_not_ready")
        answer = await call("POST", "/admin/keys/rotate", bearer=root.access, json={"verifiersReady": True})
        assert answer.json()["nextRotationAt"] == (START + LEAD) // 1000
        assert "waitsForVerifiersOf" not in answer.json()


async def test_a_shared_secret_is_administered_and_not_published(settings: Settings, clock: SettableClock, tmp_path):
    """Keys that sign and verify alike are listed, rotated and revoked; no answer has more of them than their ids."""
    shared = replace(settings, data_dir=tmp_path / "shared", signing_algorithm="HS256")
    async with AuthServer(shared, clock=clock) as server:
        call = Caller(server)
        await server.accounts.create("Root", "correct-horse-battery", role="admin", actor="operator")
        root = await call.login("Root")
        kid = (await keys_of(call, root))["active"]["kid"]
        answer = await call("POST", f"/admin/keys/{kid}/revoke", bearer=root.access)
        assert {key["alg"] for key in answer.json()["keys"]} == {"HS256"}
        assert await published(call) == set()
        assert (await call("GET", "/me", bearer=root.access)).status_code == 401
        new = Login.of(await call("POST", "/refresh", cookie=root.refresh))
        assert (await call("GET", "/me", bearer=new.access)).status_code == 200


ASKED = [("GET", ""), ("POST", "/rotate"), ("POST", f"/{'A' * 43}/revoke")]


@pytest.mark.parametrize(("method", "below"), ASKED)
async def test_only_administrators_may_ask(call: Caller, method: str, below: str):
    """A user is refused, and so is whoever was an administrator a moment ago; nothing changes."""
    user, former = await call.login("Ada"), await call.login("Root")
    answer = await call(method, f"/admin/keys{below}", bearer=user.access)
    assert_problem(answer, "forbidden", challenge=INSUFFICIENT)
    assert_problem(await call(method, f"/admin/keys{below}"), "missing_token")
    await behind_the_back(call, "UPDATE accounts SET role = 'user', token_version = 9 WHERE name = 'Root'")
    assert_problem(await call(method, f"/admin/keys{below}", bearer=former.access), "forbidden")
    assert len(await published(call)) == 2


async def test_keys_that_were_read_too_long_ago_are_not_published(
    call: Caller, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
):
    """A set that may lack the key that signs elsewhere is not given out for five minutes more: 503, and not ready."""

    async def fails() -> None:
        raise StorageUnavailable("no")

    ring = call.server.graph.key_ring
    monkeypatch.setattr(ring, "reload", fails)
    clock.elapse(20)
    await call.server.graph.follow_revocations.poll()
    assert_problem(await call("GET", JWKS), "unavailable")
    assert_problem(await call("GET", "/readyz"), "unavailable", missing=["keys"])
    assert_problem(
        await call("POST", "/login", json={"name": "Ada", "password": "correct-horse-battery"}), "unavailable"
    )
    assert_problem(await call("GET", "/me", bearer="x"), "unavailable")
