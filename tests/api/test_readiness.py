"""/readyz: what is missing is named from a closed list, soon, and nothing else is said; /livez depends on nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.api.caller import Caller, assert_problem
from tests.postgres_front import PostgresFront
from tests.postgres_server import PostgresSchema
from tests.settable_clock import SettableClock
from tokenkeep.contract.revocation import RevocationKind, digest
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.domain.readiness import Need
from tokenkeep.flows import background, check_readiness
from tokenkeep.policies import describe_api
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.sql import postgres

LONGEST_WAIT = 10.0
TOLD_OF_THE_DATABASE = "PostgreSQL at db.internal: the password of tokenkeep is refused"

Breaking = Callable[[Caller, SettableClock, pytest.MonkeyPatch], None]


async def fails() -> None:
    """Stand for a look at the database that finds none."""
    raise StorageUnavailable(TOLD_OF_THE_DATABASE)


def lose_the_database(call: Caller, _clock: SettableClock, patch: pytest.MonkeyPatch) -> None:
    """Have the database answer with an error."""
    patch.setattr(call.server.graph.storage, "revision", fails)


def forget_revocations(call: Caller, clock: SettableClock, patch: pytest.MonkeyPatch) -> None:
    """Have the list of revocations not be read for as long as it is relied on."""
    patch.setattr(call.server.graph.follow_revocations, "_vouch", lambda _asked_at: None)
    clock.elapse(5.0)


def forget_keys(call: Caller, clock: SettableClock, patch: pytest.MonkeyPatch) -> None:
    """Have the signing keys not be read for as long as they are relied on."""
    patch.setattr(call.server.graph.key_ring, "reload", fails)
    clock.elapse(20.0)


def revoke_the_key_that_signs(call: Caller, _clock: SettableClock, _patch: pytest.MonkeyPatch) -> None:
    """Have the only key that signs be revoked."""
    key_id = call.server.graph.key_ring.signer().kid
    assert key_id is not None
    call.server._revoked.add([digest(RevocationKind.KEY, call.server.settings.issuer, key_id)])


def set_the_clock_wrong(call: Caller, _clock: SettableClock, patch: pytest.MonkeyPatch) -> None:
    """Have the clock be off the database's."""
    patch.setattr(call.server.graph.watch_clock, "_offset", 2_001)


WAYS: dict[str, tuple[Breaking, list[Need], str]] = {
    "database": (lose_the_database, [Need.DATABASE], "storage_unavailable"),
    "revocations": (forget_revocations, [Need.REVOCATIONS], "unavailable"),
    "keys": (forget_keys, [Need.KEYS], "unavailable"),
    "no key": (revoke_the_key_that_signs, [Need.KEYS], "unavailable"),
    "clock": (set_the_clock_wrong, [Need.CLOCK], "unavailable"),
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_missing_is_named_and_nothing_else(
    call: Caller, clock: SettableClock, monkeypatch: pytest.MonkeyPatch, way: str
):
    """Each need alone: 503 with its name and the usual sentence, /livez goes on, and it is ready again afterwards."""
    break_it, missing, code = WAYS[way]
    with monkeypatch.context() as patch:
        break_it(call, clock, patch)
        if way == "keys":
            await call.server.graph.follow_revocations.poll()
        answer = await call("GET", "/readyz")
        assert_problem(answer, code, missing=missing)
        assert answer.headers["retry-after"] == "1"
        head = await call("HEAD", "/readyz")
        assert (head.status_code, head.content) == (503, b"")
        lives = await call("GET", "/livez")
        assert (lives.status_code, lives.json()) == (200, {"status": "ok"})
    if way == "no key":
        return  # what is revoked stays so
    await call.server.graph.key_ring.reload()
    await call.server.graph.follow_revocations.poll()
    assert (await call("GET", "/readyz")).json() == {"status": "ok"}


async def test_all_that_is_missing_is_named(call: Caller, clock: SettableClock, monkeypatch: pytest.MonkeyPatch):
    """With everything gone each need is named once, and nothing of what the database said."""
    for break_it in (lose_the_database, forget_revocations, forget_keys, set_the_clock_wrong):
        break_it(call, clock, monkeypatch)
    answer = await call("GET", "/readyz")
    assert_problem(answer, "storage_unavailable", missing=list(Need))
    for word in ("PostgreSQL", "db.internal", "password"):
        assert word not in f"{answer.text}{answer.headers}"


async def test_the_log_tells_operators_more(
    call: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The line of the request has what the database said."""
    caplog.set_level("INFO")
    lose_the_database(call, SettableClock(), monkeypatch)
    await call("GET", "/readyz")
    [line] = [record for record in caplog.records if getattr(record, "path", "") == "/readyz"]
    assert line.refused == f"storage_unavailable: {TOLD_OF_THE_DATABASE}"  # type: ignore[attr-defined]
    assert line.levelname == "WARNING"


async def test_a_database_that_hangs_is_not_waited_for(call: Caller, monkeypatch: pytest.MonkeyPatch):
    """All who ask are answered in time, the database is asked once for all, and once more for those who come later."""
    asked = 0
    gate = asyncio.Event()

    async def hangs() -> int:
        nonlocal asked
        asked += 1
        await gate.wait()
        return 0

    monkeypatch.setattr(check_readiness, "LONGEST_ANSWER", 0.1)
    monkeypatch.setattr(call.server.graph.storage, "revision", hangs)
    for times in (1, 2):
        async with asyncio.timeout(LONGEST_WAIT):
            answers = await asyncio.gather(*(call("GET", "/readyz") for _ in range(20)))
        for answer in answers:
            assert answer.status_code == 503
            assert answer.json()["missing"] == ["database"]
        # The chore that reads revocations asks too, and hangs from then on.
        assert asked - 1 <= times
    gate.set()
    assert (await call("GET", "/readyz")).status_code == 200


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
async def test_a_silent_postgres_makes_not_ready_soon(
    postgres_schema: PostgresSchema, postgres_front: PostgresFront, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A PostgreSQL that says nothing and does not hang up costs a second, not the time of a statement; /livez none."""
    # For what still waits for the database in the end.
    monkeypatch.setattr(background, "LONGEST_END", 0.05)
    monkeypatch.setattr(postgres, "CLOSE_TIMEOUT", 0.05)
    place = urlencode({"search_path": postgres_schema.name, "sslmode": "disable"})
    url = f"postgresql://postgres@127.0.0.1:{postgres_front.port}/postgres?{place}"
    settings = Settings(
        database_url=Secret(url), secret=Secret("a secret of thirty-two bytes, or more"), data_dir=tmp_path / "data"
    )
    async with AuthServer(settings) as server:
        call = Caller(server)
        assert (await call("GET", "/readyz")).status_code == 200
        postgres_front.silent = True
        asked_at = time.monotonic()
        assert_problem(await call("GET", "/readyz"), "storage_unavailable", missing=["database"])
        assert time.monotonic() - asked_at < postgres.STATEMENT_TIMEOUT / 2
        assert (await call("GET", "/livez")).status_code == 200
        postgres_front.silent = False
        async with asyncio.timeout(LONGEST_WAIT):
            while (await call("GET", "/readyz")).status_code != 200:
                await asyncio.sleep(0.01)


async def test_metrics_tell_how_old_the_knowledge_is(
    call: Caller, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
):
    """The ages of the list of revocations and of the signing keys grow until they are read again."""
    graph = call.server.graph
    monkeypatch.setattr(graph.follow_revocations, "_vouch", lambda _asked_at: None)
    near = Caller(call.server, "127.0.0.1")
    names = ("tokenkeep_revocations_age_seconds", "tokenkeep_signing_keys_age_seconds")

    async def ages() -> list[float]:
        told = (await near("GET", "/metrics")).text
        return [float(told.partition(f"\n{name} ")[2].partition("\n")[0]) for name in names]

    assert await ages() == [0.0, 0.0]
    clock.elapse(3.0)
    assert await ages() == [3.0, 3.0]
    await graph.key_ring.reload()
    assert await ages() == [3.0, 0.0]
    monkeypatch.undo()
    await graph.follow_revocations.poll()
    assert await ages() == [0.0, 0.0]


def test_the_description_lists_what_can_be_missing(call: Caller):
    """The closed list of names is that of the OpenAPI document, so that clients can hold to it."""
    schemas = describe_api(call.server.settings)["components"]["schemas"]
    assert set(schemas["Need"]["enum"]) == {"database", "revocations", "keys", "clock"}
    assert "Need" in str(schemas["Problem"]["properties"]["missing"])
