"""/admin/users: administrators list, create and change accounts; nobody else does, nor who was one a moment ago."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from tests.api.caller import PASSWORD, Caller, Login, assert_problem
from tests.api.test_operations import INSUFFICIENT, database_of
from tests.settable_clock import START, SettableClock
from tokenkeep.api.endpoint import Call
from tokenkeep.contract.access_token import AccessToken
from tokenkeep.domain.sessions import Client
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.storage.sql.database import SqlTransaction

LAST = "The last administrator cannot give up the role, be disabled or be deleted"
NOBODY = "A" * 22


@pytest.fixture
async def root(call: Caller) -> Login:
    """An administrator who has logged in."""
    return await call.login("Root")


async def id_of(call: Caller, name: str = "Ada") -> str:
    """Return the id of an account."""
    return next(each.id for each in await call.server.accounts.list() if each.name == name)


async def behind_the_back(call: Caller, sql: str) -> None:
    """Change the database as another process would whose revocations have not arrived yet."""

    async def steps(tx: SqlTransaction) -> None:
        assert await tx.execute(sql) == 1

    await database_of(call.server).transact(steps)


def stored(call: Caller) -> list[tuple[Any, ...]]:
    """Return all accounts, sessions and revocations."""
    with closing(sqlite3.connect(call.server.settings.data_dir / "tokenkeep.db")) as connection:
        return [
            row
            for table in ("accounts", "sessions", "revocations")
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")
        ]


def last_event(call: Caller) -> dict[str, Any]:
    """Return the newest audit event."""
    with closing(sqlite3.connect(call.server.settings.data_dir / "tokenkeep.db")) as connection:
        connection.row_factory = sqlite3.Row
        return dict(connection.execute("SELECT * FROM audit_events ORDER BY id DESC LIMIT 1").fetchone())


async def test_accounts_are_listed_in_pages(call: Caller, root: Login):
    """A page has as many accounts as asked for, in the order of their names, and says what the next begins after."""
    for name in ("Bob", "Zoë", "张伟"):
        await call.server.accounts.create(name, PASSWORD, role="user", actor="operator")
    names: list[str] = []
    query = "?limit=2"
    while True:
        answer = (await call("GET", f"/admin/users{query}", bearer=root.access)).json()
        names += [each["name"] for each in answer["users"]]
        if "next" not in answer:
            break
        assert len(answer["users"]) == 2
        query = f"?limit=2&after={answer['next']}"
    assert names == ["Ada", "Bob", "Root", "Zoë", "张伟"]


async def test_an_account_is_shown_without_its_secrets(call: Caller, root: Login, clock: SettableClock):
    """What is shown is who it is and what it may do; no hash, no key of comparison, no version."""
    clock.advance(60_000)
    await call.login("Ada")
    ada = await id_of(call)
    answer = await call("GET", f"/admin/users/{ada}", bearer=root.access)
    assert answer.json() == {
        "id": ada,
        "name": "Ada",
        "role": "user",
        "disabled": False,
        "createdAt": START // 1000,
        "lastLoginAt": START // 1000 + 60,
    }
    assert answer.headers["cache-control"] == "no-store"
    listed = (await call("GET", "/admin/users", bearer=root.access)).json()["users"]
    assert listed[0] == answer.json()


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("?limit=0", "invalid_field", "limit"),
        ("?limit=201", "invalid_field", "limit"),
        ("?limit=-1", "invalid_field", "limit"),
        ("?limit=ten", "invalid_field", "limit"),
        ("?limit=null", "invalid_field", "limit"),
        ("?limit=", "invalid_field", "limit"),
        ("?limit=" + "9" * 40, "invalid_field", "limit"),
        ("?after=" + "x" * 129, "invalid_field", "after"),
        ("?after=%00", "invalid_field", "after"),
        ("?after=", "invalid_field", "after"),
        ("?limit=2&limit=2", "malformed_request", None),
        ("?limit=2&unknown=1", "malformed_request", None),
        ("?Limit=2", "malformed_request", None),
        ("?limit", "malformed_request", None),
        ("?after=%ff", "malformed_request", None),
        ("?after=%ed%a0%80", "malformed_request", None),
        ("?" + "&".join(["limit=1"] * 1_000), "malformed_request", None),
        ("?after=" + "x" * 4_096, "malformed_request", None),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(
    call: Caller, root: Login, query: str, code: str, field: str | None
):
    """Values out of bounds are refused by their name; unknown, repeated and malformed parameters make it no query."""
    for path in ("/admin/users", "/admin/audit") if field != "after" else ("/admin/users",):
        answer = await call("GET", path + query, bearer=root.access)
        assert (answer.json()["code"], answer.json().get("field")) == (code, field)


async def test_an_account_is_created(call: Caller, root: Login):
    """The first password is drawn, shown once, and must be replaced; the administrator is the one who did it."""
    answer = await call("POST", "/admin/users", json={"name": "Grace", "role": "editor"}, bearer=root.access)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body.keys() == {"user", "firstPassword"}
    assert (body["user"]["name"], body["user"]["role"], body["user"]["disabled"]) == ("Grace", "editor", False)
    assert len(body["firstPassword"]) == 24
    assert body["user"]["passwordExpiresAt"] == body["user"]["createdAt"] + 24 * 3600
    refused = await call("POST", "/login", json={"name": "Grace", "password": body["firstPassword"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "password_change_required")
    assert await call.login("Grace", body["firstPassword"], newPassword="only-grace-has-seen-it")
    admin = await id_of(call, "Root")
    created = [event for event in events(call) if event["kind"] == "account_created"][-1]
    assert (created["actor"], created["account_id"], created["detail"]) == (
        admin,
        body["user"]["id"],
        "editor, temporary password",
    )
    assert (created["address"], created["user_agent"][:12]) == ("192.0.2.1", "python-httpx")


async def test_no_two_first_passwords_are_the_same(call: Caller, root: Login):
    """Each account gets a password of its own, and the default role if none is named."""
    made = [(await call("POST", "/admin/users", json={"name": name}, bearer=root.access)).json() for name in "xyz"]
    assert len({each["firstPassword"] for each in made}) == 3
    assert {each["user"]["role"] for each in made} == {"user"}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"name": "ada"}, "name_taken", None),
        ({"name": ""}, "invalid_field", "name"),
        ({"name": "\u0430dmin"}, "invalid_field", "name"),
        ({"name": "Grace\u200b"}, "invalid_field", "name"),
        ({"name": 7}, "invalid_field", "name"),
        ({}, "invalid_field", "name"),
        ({"name": "Grace", "role": "Admin"}, "invalid_field", "role"),
        ({"name": "Grace", "password": PASSWORD}, "invalid_field", "password"),
    ],
)
async def test_impossible_account_is_refused(
    call: Caller, root: Login, body: dict[str, Any], code: str, field: str | None
):
    """A name that is taken or deceives, a role that is none, and a password that an administrator would choose."""
    answer = await call("POST", "/admin/users", json=body, bearer=root.access)
    assert (answer.json()["code"], answer.json().get("field")) == (code, field)
    assert len(await call.server.accounts.list()) == 2


async def test_an_account_is_disabled_and_enabled(call: Caller, root: Login):
    """Disabling ends its sessions and access tokens at once; enabled again, it logs in anew."""
    session = await call.login("Ada")
    ada = await id_of(call)
    for _ in range(2):
        answer = await call("POST", f"/admin/users/{ada}/disable", bearer=root.access)
        assert (answer.status_code, answer.json()["disabled"]) == (200, True)
    assert_problem(await call("GET", "/me", bearer=session.access), "invalid_token", reason="JsonWebTokenError")
    assert_problem(await call("POST", "/refresh", cookie=session.refresh), "no_valid_refresh_token")
    refused = await call("POST", "/login", json={"name": "Ada", "password": PASSWORD})
    assert_problem(refused, "invalid_credentials")
    assert [event["kind"] for event in events(call)].count("account_disabled") == 1, "nothing was done twice"
    answer = await call("POST", f"/admin/users/{ada}/enable", bearer=root.access)
    assert (answer.status_code, answer.json()["disabled"]) == (200, False)
    assert await call.login("Ada")


async def test_a_role_is_set(call: Caller, root: Login):
    """Access tokens with the old role end at once, and the next refresh carries the new one."""
    session = await call.login("Ada")
    ada = await id_of(call)
    answer = await call("PUT", f"/admin/users/{ada}/role", json={"role": "editor"}, bearer=root.access)
    assert (answer.status_code, answer.json()["role"]) == (200, "editor")
    assert_problem(await call("GET", "/me", bearer=session.access), "invalid_token", reason="JsonWebTokenError")
    renewed = Login.of(await call("POST", "/refresh", cookie=session.refresh))
    assert (await call("GET", "/me", bearer=renewed.access)).json()["role"] == "editor"
    refused = await call("PUT", f"/admin/users/{ada}/role", json={"role": "No Role"}, bearer=root.access)
    assert (refused.status_code, refused.json()["field"]) == (422, "role")


async def test_sessions_of_an_account_are_ended(call: Caller, root: Login):
    """All sessions and access tokens end, the account stays; one that is disabled has none, and stays as it is."""
    sessions = [await call.login("Ada") for _ in range(2)]
    ada = await id_of(call)
    answer = await call("DELETE", f"/admin/users/{ada}/sessions", bearer=root.access)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    for session in sessions:
        assert_problem(await call("GET", "/me", bearer=session.access), "invalid_token", reason="JsonWebTokenError")
        assert_problem(await call("POST", "/refresh", cookie=session.refresh), "no_valid_refresh_token")
    event = last_event(call)
    assert (event["kind"], event["actor"], event["detail"]) == (
        "logged_out_everywhere",
        await id_of(call, "Root"),
        "ended_by_admin",
    )
    assert await call.login("Ada")
    await call("POST", f"/admin/users/{ada}/disable", bearer=root.access)
    before = stored(call)
    assert (await call("DELETE", f"/admin/users/{ada}/sessions", bearer=root.access)).json() == {"ok": True}
    assert stored(call) == before


async def test_an_account_is_deleted(call: Caller, root: Login):
    """It is gone for good: nothing opens with its tokens, and its id finds nobody."""
    session = await call.login("Ada")
    ada = await id_of(call)
    answer = await call("DELETE", f"/admin/users/{ada}", bearer=root.access)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert_problem(await call("GET", "/me", bearer=session.access), "invalid_token", reason="JsonWebTokenError")
    assert_problem(await call("GET", f"/admin/users/{ada}", bearer=root.access), "not_found")
    assert_problem(await call("DELETE", f"/admin/users/{ada}", bearer=root.access), "not_found")


Change = Callable[[Caller, Login, str], Awaitable[httpx2.Response]]

CHANGES: dict[str, Change] = {
    "create": lambda call, session, _: call("POST", "/admin/users", json={"name": "Eve"}, bearer=session.access),
    "disable": lambda call, session, user: call("POST", f"/admin/users/{user}/disable", bearer=session.access),
    "enable": lambda call, session, user: call("POST", f"/admin/users/{user}/enable", bearer=session.access),
    "set role": lambda call, session, user: call(
        "PUT", f"/admin/users/{user}/role", json={"role": "admin"}, bearer=session.access
    ),
    "end sessions": lambda call, session, user: call("DELETE", f"/admin/users/{user}/sessions", bearer=session.access),
    "delete": lambda call, session, user: call("DELETE", f"/admin/users/{user}", bearer=session.access),
}
READS: dict[str, Change] = {
    "list": lambda call, session, _: call("GET", "/admin/users", bearer=session.access),
    "view": lambda call, session, user: call("GET", f"/admin/users/{user}", bearer=session.access),
    "audit": lambda call, session, _: call("GET", "/admin/audit", bearer=session.access),
}
ALL = {**CHANGES, **READS}

LOST: dict[str, str] = {
    "role taken away": "UPDATE accounts SET role = 'user' WHERE name = 'Root'",
    "disabled": "UPDATE accounts SET disabled_at = 1 WHERE name = 'Root'",
    "deleted": "DELETE FROM accounts WHERE name = 'Root'",
    "logged out everywhere": "UPDATE accounts SET token_version = token_version + 1 WHERE name = 'Root'",
}


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("asked", ALL)
async def test_who_was_an_administrator_a_moment_ago_is_none(call: Caller, root: Login, asked: str, lost: str):
    """While the access token is still believed, the row of the account decides, and nothing is changed or shown."""
    ada = await id_of(call)
    await behind_the_back(call, LOST[lost])
    assert call.server.verifier.verify(root.access).role == "admin", "the token still verifies"
    before = stored(call)
    assert_problem(await ALL[asked](call, root, ada), "forbidden")
    assert stored(call) == before
    await call.server.graph.refusals.flush()
    event = last_event(call)
    assert (event["kind"], event["actor"], event["account_id"]) == (
        "token_refused",
        "anyone",
        call.server.verifier.verify(root.access).subject,
    )


@pytest.mark.parametrize("asked", ALL)
async def test_others_are_refused(call: Caller, asked: str):
    """A user's token, a bad one, a cookie and none at all change and show nothing."""
    ada = await call.login("Ada")
    user = await id_of(call, "Root")
    before = stored(call)
    assert_problem(await ALL[asked](call, ada, user), "forbidden", challenge=INSUFFICIENT)
    answer = await ALL[asked](call, Login("x", ""), user)
    assert_problem(answer, "invalid_token", reason="JsonWebTokenError")
    answer = await call("GET", "/admin/users", cookie=ada.refresh)
    assert_problem(answer, "missing_token")
    assert stored(call) == before


@pytest.mark.parametrize("asked", [name for name in ALL if name not in {"create", "list", "audit"}])
@pytest.mark.parametrize("user", [NOBODY, "x", "A" * 23, "A" * 21 + "=", "Ada", "é" * 22, "A" * 1_000])
async def test_who_does_not_exist_is_not_found(call: Caller, root: Login, asked: str, user: str):
    """An id that nobody has, and what is no id at all, are answered alike."""
    before = stored(call)
    answer = await ALL[asked](call, root, user)
    assert_problem(answer, "not_found")
    assert stored(call) == before


LOWERINGS = {
    "disable": CHANGES["disable"],
    "delete": CHANGES["delete"],
    "give up the role": lambda call, session, user: call(
        "PUT", f"/admin/users/{user}/role", json={"role": "user"}, bearer=session.access
    ),
}


@pytest.mark.parametrize("asked", LOWERINGS)
async def test_the_last_administrator_stays(call: Caller, root: Login, asked: str):
    """Who is the only enabled administrator cannot stop being one over HTTP; with another one they can."""
    user = await id_of(call, "Root")
    await call.server.accounts.create("Disabled", PASSWORD, role="admin", actor="operator")
    await call.server.accounts.disable("Disabled", actor="operator")
    before = stored(call)
    assert_problem(await LOWERINGS[asked](call, root, user), "last_administrator", LAST)
    assert stored(call) == before
    await call.server.accounts.enable("Disabled", actor="operator")
    assert (await LOWERINGS[asked](call, root, user)).status_code == 200
    assert_problem(await call("GET", "/admin", bearer=root.access), "invalid_token", reason="JsonWebTokenError")


@pytest.mark.parametrize("asked", LOWERINGS)
async def test_a_successor_must_have_come_in_first(call: Caller, root: Login, asked: str):
    """Who was only just made an administrator may never replace the temporary password, and is nobody's successor."""
    user = await id_of(call, "Root")
    created = await call("POST", "/admin/users", json={"name": "Hedy", "role": "admin"}, bearer=root.access)
    before = stored(call)
    assert_problem(await LOWERINGS[asked](call, root, user), "last_administrator", LAST)
    assert stored(call) == before
    await call.login("Hedy", created.json()["firstPassword"], newPassword="another-good-password")
    assert (await LOWERINGS[asked](call, root, user)).status_code == 200


async def test_what_does_not_lower_is_not_counted(call: Caller, root: Login):
    """The only administrator may keep the role, be enabled, and log out everywhere."""
    user = await id_of(call, "Root")
    answer = await call("PUT", f"/admin/users/{user}/role", json={"role": "admin"}, bearer=root.access)
    assert answer.status_code == 200
    assert (await call("POST", f"/admin/users/{user}/enable", bearer=root.access)).status_code == 200
    assert (await call("DELETE", f"/admin/users/{user}/sessions", bearer=root.access)).status_code == 200


async def test_commands_may_lower_the_last_administrator(call: Caller):
    """Whoever is on the host can always make another administrator, so nothing is refused there."""
    await call.server.accounts.set_role("Root", "user", actor="operator")
    await call.server.accounts.delete("Root", actor="operator")
    assert [account.name for account in await call.server.accounts.list()] == ["Ada"]


async def test_a_token_for_another_service_administers_nothing(call: Caller, settings: Settings, clock: SettableClock):
    """An administrator's token that was issued for some API does not open these routes."""
    await call.server.close()
    async with AuthServer(replace(settings, audiences=("https://orders.example.com",)), clock=clock) as server:
        other = Caller(server)
        session = await other.login("Root", audience="https://orders.example.com")
        for asked in ALL.values():
            answer = await asked(other, session, NOBODY)
            assert_problem(answer, "invalid_token", reason="JsonWebTokenError")


def events(call: Caller) -> list[dict[str, Any]]:
    """Return all audit events in their order."""
    with closing(sqlite3.connect(call.server.settings.data_dir / "tokenkeep.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM audit_events ORDER BY id")]


def test_a_token_without_a_version_is_no_authority():
    """No account has version 0, so that a token that tells none never acts."""
    token = AccessToken("https://issuer.test", NOBODY, ("a",), 0, 1, "jti", "tokenkeep", role="admin")
    call: Call[Any] = Call(services=None, client=Client(), token=token)  # type: ignore[arg-type]
    assert call.administrator().token_version == 0
