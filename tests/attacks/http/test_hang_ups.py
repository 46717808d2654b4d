"""Clients that leave at any moment: nothing is left half done, and the server takes no harm."""

from __future__ import annotations

import json
import random
import time
from typing import Any, Final

import pytest

from tests.attacks.http.wire import Answer, Target
from tests.system.server_process import wait_until
from tests.system.stored import stored_by
from tokenkeep.jose import jwt

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("system")]

TIMES: Final = 200


def test_clients_that_leave_at_any_moment_do_no_harm(target: Target) -> None:
    """200 hang-ups in the headers, in the body, before and during the answer: each change is whole or not made."""
    dice = random.Random(4)
    before, seen, accounts = _rows(target, "sessions"), len(target.process.log), _accounts(target)
    for number in range(TIMES):
        requests = [
            target.login(),
            target.get("/me"),
            target.post("/logout", b"{}"),
            target.chunked("/login", b"5\r\n{"),
        ]
        request = requests[number % len(requests)]
        cut = dice.choice([dice.randrange(len(request)), len(request), len(request)])
        with target.connect(read_buffer=1) as connection:
            connection.send(request[:cut])
            if dice.random() < 0.5:
                time.sleep(dice.random() * 0.03)
            connection.hang_up(reset=dice.random() < 0.5)

    assert target.healthy()
    wait_until(lambda: _settled(target), "no login is under way any more")
    assert _accounts(target) == accounts
    added = [row for row in _rows(target, "sessions") if row not in before]
    assert all(row["generation"] == 0 and row["revoked_at"] is None and row["secret"] for row in added)
    started = _rows(target, "audit_events")
    assert {row["id"] for row in added} <= {row["session_id"] for row in started if row["kind"] == "session_started"}
    lines = target.lines(seen)
    assert not [line for line in lines if line["level"] in {"error", "critical"}]
    assert all("Traceback" not in json.dumps(line) for line in lines)
    assert "Traceback" not in target.process.log[seen:]


def test_a_refresh_whose_client_has_left_can_be_asked_for_again(target: Target) -> None:
    """A client that hangs up before the answer of a refresh gets the same answer again: the session lives on."""
    dice = random.Random(4)
    token = _entered(target.exchange(target.login()))["refreshToken"]
    for _ in range(20):
        request = target.post("/refresh", json.dumps({"refreshToken": token}).encode())
        with target.connect() as connection:
            connection.send(request)
            time.sleep(dice.random() * 0.01)
            connection.hang_up(reset=dice.random() < 0.5)
        token = _entered(target.exchange(request))["refreshToken"]

    (session,) = [row for row in _rows(target, "sessions") if row["generation"] >= 20]
    assert session["generation"] == 20
    assert session["revoked_at"] is None


def test_a_logout_whose_client_has_left_is_done_or_not(target: Target) -> None:
    """A client that hangs up during a logout leaves a session that has ended with its tokens, or has not at all."""
    dice = random.Random(4)
    left = [_entered(target.exchange(target.login())) for _ in range(10)]
    for entered in left:
        with target.connect() as connection:
            connection.send(target.post("/logout", json.dumps({"refreshToken": entered["refreshToken"]}).encode()))
            time.sleep(dice.random() * 0.01)
            connection.hang_up(reset=dice.random() < 0.5)

    wait_until(lambda: _settled(target), "nothing is under way any more")
    ended = {row["id"] for row in _rows(target, "sessions") if row["revoked_at"] is not None}
    revoked = {row["value"] for row in _rows(target, "revocations")}
    for entered in left:
        token = entered["accessToken"].encode()
        me = target.exchange(target.get("/me", fields=b"Authorization: Bearer %s\r\n" % token))
        assert me is not None
        assert (me.status == 401) is (entered["sid"] in ended) is (entered["sid"] in revoked)


def _entered(answer: Answer | None) -> dict[str, Any]:
    assert answer is not None
    assert answer.status == 200, answer.body
    tokens: dict[str, Any] = json.loads(answer.body)
    return {**tokens, "sid": jwt.decode_unverified(tokens["accessToken"]).claims["sid"]}


def _settled(target: Target) -> bool:
    """Tell whether every request that has begun is over: two looks at the log and the state see the same."""
    first = (target.state(), len(target.process.log))
    time.sleep(0.15)
    return first == (target.state(), len(target.process.log))


def _accounts(target: Target) -> list[dict[str, Any]]:
    """Return the accounts but for what a login may change of them."""
    return [{**row, "last_login_at": None} for row in _rows(target, "accounts")]


def _rows(target: Target, table: str) -> list[dict[str, Any]]:
    return stored_by(target.process)(f"SELECT * FROM {table}")
