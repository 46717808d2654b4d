"""`tokenkeep sessions` and `token revoke`: who is logged in, and the end of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.cli.conftest import Run
from tests.cli.test_users import PASSWORD
from tokenkeep.domain.errors import NoValidRefreshToken
from tokenkeep.domain.sessions import Client, Delivery, RefreshToken
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.login import Credentials
from tokenkeep.jose import jwt
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.verifier import InvalidToken

FIREFOX = Client("Firefox [bold]", "192.0.2.1")

T = TypeVar("T")
LogIn = Callable[[str], TokenPair]


def serve(data: Path, work: Callable[[AuthServer], Awaitable[T]]) -> T:
    """Open a server on the data directory, let it do something, and close it."""

    async def open_and_work() -> T:
        async with AuthServer(Settings(data_dir=data, hash_concurrency=1)) as server:
            return await work(server)

    return asyncio.run(open_and_work())


@pytest.fixture
def log_in(run: Run, data: Path) -> LogIn:
    """Logs somebody in, who is added the first time."""
    added: set[str] = set()

    def log_in(name: str) -> TokenPair:
        if name not in added:
            assert run("users", "add", name, "--password-stdin", stdin=PASSWORD).code == 0
            added.add(name)
        credentials = Credentials(name, PASSWORD)
        return serve(
            data,
            lambda server: server.graph.services.login.login(credentials, FIREFOX, delivery=Delivery.COOKIE),
        )

    return log_in


def is_alive(data: Path, pair: TokenPair) -> bool:
    """Tell whether a server accepts the access token and the refresh token of a pair; both must agree."""

    async def work(server: AuthServer) -> bool:
        try:
            server.verifier.verify(pair.access_token)
            accepted = True
        except InvalidToken:
            accepted = False
        try:
            await server.graph.services.refresh.refresh(pair.refresh_token, FIREFOX, delivery=Delivery.COOKIE)
        except NoValidRefreshToken:
            assert not accepted
            return False
        return accepted

    return serve(data, work)


def session_of(pair: TokenPair) -> str:
    """Return the id of a pair's session."""
    return RefreshToken.parse(pair.refresh_token).session_id


def test_sessions_are_listed(run: Run, data: Path, log_in: LogIn):
    """Of one account or of everyone, the last used first, for people and for programs, and without any secret."""
    first, second, graces = log_in("Ada"), log_in("Ada"), log_in("Grace")
    listed = [json.loads(line) for line in run("sessions", "list", "--json").out.splitlines()]
    assert [each["id"] for each in listed] == [session_of(pair) for pair in (graces, second, first)]
    assert [each["name"] for each in listed] == ["Grace", "Ada", "Ada"]
    assert listed[0].keys() == {
        *("id", "accountId", "name", "createdAt", "lastUsedAt", "expiresAt", "delivery", "address", "userAgent"),
    }
    assert (listed[0]["address"], listed[0]["userAgent"], listed[0]["delivery"]) == (
        "192.0.2.1",
        "Firefox [bold]",
        "cookie",
    )
    adas = [json.loads(line)["id"] for line in run("sessions", "list", "ADA", "--json").out.splitlines()]
    assert adas == [session_of(second), session_of(first)]
    assert len(run("sessions", "list", "--json", "--limit", "1").out.splitlines()) == 1
    table = run("sessions", "list").out
    assert "Firefox [bold]" in table
    assert all(session_of(pair) in table for pair in (first, second, graces))
    for pair in (first, second, graces):
        assert pair.refresh_token[26:] not in table + str(listed)


def test_nobody_is_listed_as_nothing(run: Run, data: Path):
    """A fresh installation has no session, and an account that does not exist is named, with the way to find it."""
    assert run("sessions", "list", "--json").out == ""
    outcome = run("sessions", "list", "Nobody")
    assert outcome.code == 1
    assert "there is no account named 'Nobody'; tokenkeep users list shows them" in outcome.complaint


def test_sessions_of_an_account_are_ended(run: Run, data: Path, log_in: LogIn):
    """Every session of the account ends with its access tokens; others go on."""
    adas, graces = [log_in("Ada"), log_in("Ada")], log_in("Grace")
    outcome = run("sessions", "revoke", "ada")
    assert (outcome.code, outcome.out) == (0, "ended 2 sessions of ada\n")
    assert f"data directory: {data}" in outcome.err
    assert not any(is_alive(data, pair) for pair in adas)
    assert is_alive(data, graces)
    assert run("sessions", "revoke", "Ada").out == "ended 0 sessions of Ada\n"


def test_one_session_is_ended(run: Run, data: Path, log_in: LogIn):
    """The session named ends, and its sibling goes on; a second time there is no such session."""
    lost, kept = log_in("Ada"), log_in("Ada")
    outcome = run("sessions", "revoke", "--session", session_of(lost))
    assert outcome.code == 0
    assert outcome.out.startswith("ended a session of the account ")
    assert not is_alive(data, lost)
    assert is_alive(data, kept)
    again = run("sessions", "revoke", "--session", session_of(lost))
    assert again.code == 1
    assert "tokenkeep sessions list shows them" in again.complaint


@pytest.mark.parametrize("text", ["x", "", "A" * 23, "A" * 21 + "="])
def test_what_is_no_session_id_is_told(run: Run, data: Path, text: str):
    """An id that no session can have is a mistake of the call, and the way to find the right one is told."""
    outcome = run("sessions", "revoke", "--session", text)
    assert outcome.code == 2
    assert "tokenkeep sessions list" in outcome.complaint


def test_an_id_in_the_place_of_a_name_is_taken_for_a_name(run: Run, data: Path, log_in: LogIn):
    """Nobody's name can make a command end something else than it says; the way to end one session is told."""
    pair = log_in("Ada")
    outcome = run("sessions", "revoke", session_of(pair))
    assert outcome.code == 1
    assert "--session" in outcome.complaint
    assert is_alive(data, pair)


def test_everyone_is_logged_out_after_a_question(run: Run, data: Path, log_in: LogIn):
    """Without `--yes` and without a yes nobody is; then everybody is."""
    pairs = [log_in("Ada"), log_in("Grace")]
    assert run("sessions", "revoke", "--all", stdin="n\n").code == 1
    assert all(is_alive(data, pair) for pair in pairs)
    assert "ended 2 sessions" in run("sessions", "revoke", "--all", stdin="y\n").out
    assert not any(is_alive(data, pair) for pair in pairs)
    assert run("sessions", "revoke", "--all", "--yes").out == "ended 0 sessions\n"


def test_one_token_is_revoked(run: Run, data: Path, log_in: LogIn):
    """The token on standard input is refused from then on; its session goes on, and the token is not repeated."""
    pair = log_in("Ada")
    outcome = run("token", "revoke", stdin=f"Bearer {pair.access_token}\n")
    assert outcome.code == 0
    assert jwt.decode_unverified(pair.access_token).claims["jti"] in outcome.out
    assert "Ada" in outcome.out
    assert pair.access_token not in outcome.out + outcome.err
    assert f"data directory: {data}" in outcome.err

    async def work(server: AuthServer) -> None:
        with pytest.raises(InvalidToken, match="revoked"):
            server.verifier.verify(pair.access_token)
        renewed = await server.graph.services.refresh.refresh(pair.refresh_token, FIREFOX, delivery=Delivery.COOKIE)
        assert server.verifier.verify(renewed.access_token).session_id == session_of(pair)

    serve(data, work)


def test_what_is_no_token_of_this_server_is_refused(run: Run, data: Path, log_in: LogIn):
    """A damaged token, a refresh token and nothing at all end in one line, and revoke nothing."""
    pair = log_in("Ada")
    for text in ("", "x", pair.access_token[:-4] + "AAAA", pair.refresh_token, b"\xff\xfe"):
        outcome = run("token", "revoke", stdin=text)
        assert outcome.code == 1
        assert outcome.err.splitlines()[-1].startswith("tokenkeep: ")
        assert pair.refresh_token not in outcome.complaint
    assert is_alive(data, pair)
