"""`tokenkeep keys`: what is listed, when a rotation takes place, what a revocation says, and what leaves the server."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tokenkeep.jose import Key
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings


def listed(run: Run) -> dict[str, dict[str, Any]]:
    """Return what `keys list` tells of the one key in each state."""
    return {each["state"]: each for each in map(json.loads, run("keys", "list", "--json").out.splitlines())}


def behind_the_back(data: Path, sql: str, *values: object) -> None:
    """Change the database."""
    with closing(sqlite3.connect(data / "tokenkeep.db")) as connection, connection:
        assert connection.execute(sql, values).rowcount == 1


def start_with(data: Path, algorithm: str) -> None:
    """Start a server with a signature algorithm, and stop it."""

    async def open_and_close() -> None:
        async with AuthServer(Settings(data_dir=data, signing_algorithm=algorithm)):
            pass

    asyncio.run(open_and_close())


def publish_now(run: Run, data: Path) -> None:
    """Have the upcoming key be published since a moment ago."""
    behind_the_back(
        data,
        "UPDATE signing_keys SET created_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000 WHERE id = ?",
        listed(run)["upcoming"]["kid"],
    )


def test_keys_are_listed(run: Run, data: Path):
    """Each key with its state and its times, as a table and as JSON; nothing private."""
    keys = listed(run)
    assert keys.keys() == {"active", "upcoming"}
    assert keys["active"].keys() == {
        "kid", "alg", "state", "createdAt", "signsFrom", "signsUntil", "leavesAt", "requestedAt", "endedAt",
    }  # fmt: skip
    assert keys["active"]["alg"] == "ES256"
    assert keys["upcoming"]["signsFrom"] == keys["active"]["signsUntil"]
    outcome = run("keys", "list")
    assert outcome.code == 0
    for key in keys.values():
        assert key["kid"] in outcome.out
        assert key["state"] in outcome.out
    assert "in the key set until" in outcome.out
    assert f"data directory: {data}" in outcome.err


def test_a_plan_is_shown_and_nothing_changed(run: Run, data: Path):
    """`--plan` shows the timetable of a rotation that is asked for now, and asks for none."""
    publish_now(run, data)
    before = listed(run)
    outcome = run("keys", "rotate", "--plan")
    assert outcome.code == 0
    assert outcome.out.endswith("nothing was changed\n")
    assert before["active"]["kid"] in outcome.out
    assert listed(run).keys() == before.keys()
    assert listed(run)["upcoming"]["requestedAt"] is None


def test_a_rotation_takes_place_at_once_where_it_is_safe(run: Run, data: Path):
    """The next key signs, and the one before it stays in the key set."""
    before = listed(run)
    outcome = run("keys", "rotate")
    assert outcome.code == 0
    assert f"{before['upcoming']['kid']} signs from now on" in outcome.out
    after = listed(run)
    assert after["active"]["kid"] == before["upcoming"]["kid"]
    assert after["retiring"]["kid"] == before["active"]["kid"]
    assert after["retiring"]["leavesAt"] > after["active"]["signsFrom"]


def test_a_rotation_is_asked_for_where_verifiers_need_time(run: Run, data: Path):
    """A key that was published a moment ago signs later, by itself, and the command says when; again, the same."""
    publish_now(run, data)
    before = listed(run)
    for _ in range(2):
        outcome = run("keys", "rotate")
        assert outcome.code == 0
        assert f"{before['upcoming']['kid']} will sign from 20" in outcome.out
    after = listed(run)
    assert after["active"]["kid"] == before["active"]["kid"]
    assert after["upcoming"]["signsFrom"] - after["upcoming"]["createdAt"] == 340_000


def test_another_algorithm_waits_until_verifiers_are_ready(run: Run, data: Path):
    """List, plan and doctor say for what the key waits; `rotate` refuses until it is told that verifiers are ready."""
    start_with(data, "EdDSA")
    told = "tokenkeep keys rotate --verifiers-ready"
    assert told in run("keys", "list").out
    assert "EdDSA" in run("doctor", "--signing-algorithm", "EdDSA").out
    assert told in run("doctor", "--signing-algorithm", "EdDSA").out
    refused = run("keys", "rotate")
    assert refused.code == 1
    assert "EdDSA" in refused.complaint
    assert told in refused.complaint
    assert listed(run)["upcoming"]["requestedAt"] is None
    outcome = run("keys", "rotate", "--verifiers-ready")
    assert outcome.code == 0
    assert "will sign from 20" in outcome.out
    assert told not in run("keys", "list").out
    behind_the_back(data, "UPDATE signing_keys SET created_at = 0 WHERE state = 'upcoming'")
    assert "signs from now on" in run("keys", "rotate").out
    assert (listed(run)["active"]["alg"], listed(run)["retiring"]["alg"]) == ("EdDSA", "ES256")


def test_a_key_is_revoked_after_a_question(run: Run, data: Path):
    """Without a yes nothing is; then its tokens end, the next key signs, and a second time changes nothing."""
    before = listed(run)
    kid, following = before["active"]["kid"], before["upcoming"]["kid"]
    assert run("keys", "revoke", kid, stdin="n\n").code == 1
    assert {state: key["kid"] for state, key in listed(run).items()} == {"active": kid, "upcoming": following}
    outcome = run("keys", "revoke", kid, stdin="y\n")
    assert outcome.code == 0
    assert f"revoked {kid}, which was active, and every token that it signed" in outcome.out
    assert f"{following} (ES256) signs from now on" in outcome.out
    assert "new to verifiers" not in outcome.out
    after = listed(run)
    assert (after["revoked"]["kid"], after["active"]["kid"]) == (kid, following)
    again = run("keys", "revoke", kid, "--yes")
    assert (again.code, again.out) == (0, f"{kid} was revoked before; nothing was changed\n")
    assert {state: key["kid"] for state, key in listed(run).items()} == {
        state: key["kid"] for state, key in after.items()
    }


def test_a_signer_that_verifiers_do_not_know_is_told(run: Run, data: Path):
    """Where the next key waits for verifiers, a new one signs, and the command says what that means."""
    start_with(data, "EdDSA")
    outcome = run("keys", "revoke", listed(run)["active"]["kid"], "--yes")
    assert outcome.code == 0
    assert "(ES256) signs from now on" in outcome.out
    assert "new to verifiers" in outcome.out


def test_a_kid_may_look_like_an_option(run: Run, data: Path):
    """One of 64 begins with a hyphen; in an emergency nobody should have to know how to write that."""
    kid = "-yh" + "A" * 40
    behind_the_back(data, "UPDATE signing_keys SET id = ?, state = 'revoked' WHERE state = 'upcoming'", kid)
    for words in ((kid, "--yes"), ("--yes", kid), ("--yes", "--", kid)):
        outcome = run("keys", "revoke", *words)
        assert outcome.code == 0, outcome.err
        assert f"{kid} was revoked before" in outcome.out


@pytest.mark.parametrize("kid", ["", "x", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "\n"])
def test_what_is_no_kid_is_told(run: Run, data: Path, kid: str):
    """A kid that no key can have is a mistake of the call."""
    for words in (("revoke", "--yes", kid), ("export", "--kid", kid)):
        outcome = run("keys", *words)
        assert outcome.code == 2
        assert "tokenkeep keys list" in outcome.complaint


def test_an_unknown_key_is_told(run: Run, data: Path):
    """A key that never was is a refusal in a line."""
    for words in (("revoke", "A" * 43, "--yes"), ("export", "--kid", "A" * 43)):
        outcome = run("keys", *words)
        assert outcome.code == 1
        assert "tokenkeep keys list" in outcome.complaint


def test_public_keys_are_exported(run: Run, data: Path):
    """All published keys, or one, as PEM of the public part alone; what they are is said beside it."""
    keys = listed(run)
    outcome = run("keys", "export")
    assert outcome.code == 0
    assert outcome.out.count("-----BEGIN PUBLIC KEY-----") == 2
    assert "PRIVATE" not in outcome.out
    for key in keys.values():
        assert f"{key['kid']} ES256" in outcome.err
    kid = keys["active"]["kid"]
    one = run("keys", "export", "--kid", kid).out
    assert Key.from_pem(one.encode(), alg="ES256").thumbprint() == kid
    assert not Key.from_pem(one.encode(), alg="ES256").is_private


def test_a_shared_secret_is_not_exported(run: Run, folder: Path):
    """Whoever has it can sign: there is nothing public to give out, whether all are asked for or one."""
    start_with(folder / ".tokenkeep", "HS256")
    kid = listed(run)["active"]["kid"]
    for words in ((), ("--kid", kid)):
        outcome = run("keys", "export", *words)
        assert (outcome.code, outcome.out) == (1, "")
        assert "shared secret" in outcome.complaint


def test_a_shared_secret_is_rotated_and_revoked(run: Run, folder: Path):
    """Commands treat it as any other key."""
    start_with(folder / ".tokenkeep", "HS256")
    before = listed(run)
    assert run("keys", "revoke", before["active"]["kid"], "--yes").code == 0
    assert listed(run)["active"]["kid"] == before["upcoming"]["kid"]
    assert "will sign from" in run("keys", "rotate").out
