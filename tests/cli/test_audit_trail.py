"""Every command leaves exactly the events it should, and between them routes and commands leave every kind there is."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.api.test_audit_trail import TRAIL as ROUTES
from tests.cli.conftest import Run
from tests.cli.test_commands import LEAVES
from tests.cli.test_users import PASSWORD
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.sessions import Client, Delivery, RefreshToken
from tokenkeep.flows.login import Credentials
from tokenkeep.jose import jwt
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings


@dataclass(frozen=True)
class LoggedIn:
    """Somebody with a session: the account, the session's id, and its access token."""

    data: Path
    account: str
    session: str
    token: str


@pytest.fixture
def ada(run: Run, data: Path) -> LoggedIn:
    """Ada, who was added by command and has logged in."""
    assert run("users", "add", "Ada", "--password-stdin", stdin=PASSWORD).code == 0
    return log_in(data)


def log_in(data: Path) -> LoggedIn:
    """Log Ada in, and return what she then has."""

    async def open_and_log_in() -> LoggedIn:
        async with AuthServer(Settings(data_dir=data, hash_concurrency=1)) as server:
            login = server.graph.services.login
            pair = await login.login(Credentials("Ada", PASSWORD), Client(), delivery=Delivery.COOKIE)
            account = server.verifier.verify(pair.access_token).subject
            session = RefreshToken.parse(pair.refresh_token).session_id
            return LoggedIn(data, account, session, pair.access_token)

    return asyncio.run(open_and_log_in())


def file_of_one(path: Path) -> Path:
    """Write a file of one account without a password, to be imported."""
    path.write_text('{"name": "Grace"}\n')
    return path


def key_of(ada: LoggedIn) -> str:
    """Return the id of the key that signed Ada's token."""
    return str(jwt.decode_unverified(ada.token).header["kid"])


def revoked_key_of(ada: LoggedIn) -> str:
    """Return the id of the key that signed Ada's token, as if it had been revoked before."""
    with closing(sqlite3.connect(ada.data / "tokenkeep.db")) as connection, connection:
        connection.execute("UPDATE signing_keys SET state = 'revoked' WHERE id = ?", [key_of(ada)])
    return key_of(ada)


FIRST_KEYS: Final = [
    ("signing_key_created", "system"),
    ("signing_key_activated", "system"),
    ("signing_key_created", "system"),
]
"""What is left by making a key that signs and one that follows it."""
ANOTHER_ALGORITHM: Final = [("signing_key_retired", "system"), ("signing_key_created", "system")]
"""What is left by a start with another algorithm than that of the key that was to follow."""

Call = Callable[[LoggedIn], tuple[list[str], str]]
"""The words of a command and its standard input."""

TRAIL: Final[dict[str, tuple[Call, list[tuple[str, str]]]]] = {
    "users add": (
        lambda _: (["users", "add", "Grace", "--password-stdin"], PASSWORD),
        [("account_created", "operator")],
    ),
    "users add --temporary": (
        lambda _: (["users", "add", "Grace", "--temporary", "--password-stdin"], PASSWORD),
        [("account_created", "operator")],
    ),
    "users import": (
        lambda ada: (["users", "import", str(file_of_one(ada.data.parent / "people.jsonl"))], ""),
        [("account_imported", "operator")],
    ),
    "users list": (lambda _: (["users", "list"], ""), []),
    "users disable": (lambda _: (["users", "disable", "Ada"], ""), [("account_disabled", "operator")]),
    "users enable": (lambda _: (["users", "enable", "Ada"], ""), []),
    "users set-role": (lambda _: (["users", "set-role", "Ada", "admin"], ""), [("role_changed", "operator")]),
    "users set-password": (
        lambda _: (["users", "set-password", "Ada", "--password-stdin"], "another-good-password"),
        [("password_set", "operator")],
    ),
    "users set-password --temporary": (
        lambda _: (["users", "set-password", "Ada", "--temporary", "--password-stdin"], "another-good-password"),
        [("password_set", "operator")],
    ),
    "users delete": (lambda _: (["users", "delete", "Ada", "--yes"], ""), [("account_deleted", "operator")]),
    "sessions list": (lambda _: (["sessions", "list"], ""), []),
    "sessions revoke": (lambda _: (["sessions", "revoke", "Ada"], ""), [("logged_out_everywhere", "operator")]),
    "sessions revoke one": (
        lambda ada: (["sessions", "revoke", "--session", ada.session], ""),
        [("session_ended", "operator")],
    ),
    "sessions revoke everyone's": (
        lambda _: (["sessions", "revoke", "--all", "--yes"], ""),
        [("everyone_logged_out", "operator")],
    ),
    "keys list": (lambda _: (["keys", "list"], ""), []),
    "keys rotate": (
        lambda ada: (["keys", "rotate"], ""),
        [
            ("key_rotation_requested", "operator"),
            ("signing_key_activated", "operator"),
            ("signing_key_created", "operator"),
        ],
    ),
    "keys rotate --plan": (lambda _: (["keys", "rotate", "--plan"], ""), []),
    "keys revoke": (
        lambda ada: (["keys", "revoke", key_of(ada), "--yes"], ""),
        [
            ("signing_key_revoked", "operator"),
            ("signing_key_activated", "operator"),
            ("signing_key_created", "operator"),
        ],
    ),
    "keys revoke twice": (
        lambda ada: (["keys", "revoke", revoked_key_of(ada), "--yes"], ""),
        [],
    ),
    "keys export": (lambda _: (["keys", "export"], ""), []),
    "token inspect": (lambda ada: (["token", "inspect"], ada.token), []),
    "token verify": (lambda ada: (["token", "verify", "--key", "missing.pem"], ada.token), []),
    "token revoke": (lambda ada: (["token", "revoke"], ada.token), [("token_revoked", "operator")]),
    "secret generate": (lambda _: (["secret", "generate"], ""), []),
    "settings": (lambda _: (["settings"], ""), []),
    "doctor": (lambda _: (["doctor"], ""), []),
    "audit tail": (lambda _: (["audit", "tail"], ""), []),
    "audit search": (lambda _: (["audit", "search"], ""), []),
    "migrate": (lambda _: (["migrate"], ""), []),
    "recover": (
        lambda _: (["recover", "--yes"], ""),
        [
            ("signing_key_revoked", "operator"),
            ("signing_key_revoked", "operator"),
            ("recovered", "operator"),
            *FIRST_KEYS,
        ],
    ),
    "purge": (lambda _: (["purge"], ""), []),
    "calibrate": (lambda _: (["calibrate", "--help"], ""), []),
    "openapi": (lambda _: (["openapi"], ""), []),
}
"""Each command but `serve`, and the events that it leaves, with who did it."""


def stored(data: Path) -> list[tuple[str, str]]:
    """Return kind and actor of all events in the order in which they were stored."""
    with closing(sqlite3.connect(data / "tokenkeep.db")) as connection:
        return connection.execute("SELECT kind, actor FROM audit_events ORDER BY rowid").fetchall()


@pytest.mark.parametrize("command", TRAIL)
def test_a_command_leaves_exactly_its_events(run: Run, ada: LoggedIn, command: str):
    """What is done by command is done by the operator; what only looks leaves nothing."""
    call, expected = TRAIL[command]
    before = len(stored(ada.data))
    words, typed = call(ada)
    run(*words, stdin=typed)
    events = stored(ada.data)
    if command == "purge":  # the prepared directory is from long ago: its events may be forgotten by now
        assert len(events) <= before
    else:
        assert events[before:] == expected


def test_every_command_has_its_story():
    """No command is missing from the table; `serve` does nothing that routes and chores do not."""
    assert {" ".join(path) for path in LEAVES} - {"serve"} <= TRAIL.keys()


def test_every_kind_of_event_is_left_by_something():
    """The list of events is closed: each kind is in the story of a route or of a command."""
    told = {event[0] for _, events in ROUTES.values() for event in events}
    told |= {event[0] for _, events in TRAIL.values() for event in events}
    told |= {kind for kind, _ in ANOTHER_ALGORITHM}
    assert told == {kind.value for kind in EventKind}


def test_a_first_start_makes_keys(data: Path):
    """The first start leaves an event for each signing key and for the first signature, done by the system."""
    assert stored(data) == FIRST_KEYS


async def test_a_start_with_another_algorithm_replaces_the_next_key(data: Path):
    """It leaves an event for each of the two, done by the system."""
    async with AuthServer(Settings(data_dir=data, signing_algorithm="EdDSA")):
        pass
    assert stored(data) == [*FIRST_KEYS, *ANOTHER_ALGORITHM]
