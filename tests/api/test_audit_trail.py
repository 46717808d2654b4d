"""Every route leaves exactly the events it should, each with its outcome, its actor, and whom it concerns."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx2
import pytest

from tests.api.caller import PASSWORD, Caller, Login
from tests.api.test_operations import database_of
from tests.settable_clock import START, SettableClock
from tokenkeep.api.routes import routes_served
from tokenkeep.domain.accounts import TEMPORARY_FOR
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.sessions import RefreshToken
from tokenkeep.flows.ports import Transaction
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.sql.database import SqlTransaction

WRONG: Final = "wrong-horse-battery"
FEED_TOKEN: Final = "a feed token, long enough: 5b8e21d7"


@dataclass(frozen=True)
class Scene:
    """A server, somebody who has logged in, an administrator, and what a story needs of them."""

    call: Caller
    clock: SettableClock
    ada: Login
    root: Login
    ids: dict[str, str]

    async def refresh(self, token: str, **options: Any) -> httpx2.Response:
        """Present a refresh token."""
        return await self.call("POST", "/refresh", cookie=token, **options)

    async def admin(self, method: str, below: str, **body: Any) -> httpx2.Response:
        """Ask an administrator's route about Ada, as the administrator."""
        path = f"/admin/users/{self.ids['ada']}{below}"
        return await self.call(method, path, bearer=self.root.access, json=body or None)


@pytest.fixture
async def scene(settings: Settings, clock: SettableClock) -> AsyncIterator[Scene]:
    """A server that serves every route, with Ada, Root, the disabled Eve, and Hedy with a temporary password."""
    changed = replace(settings, registration=True, feed_token=Secret(FEED_TOKEN), max_sessions=2)
    async with AuthServer(changed, clock=clock) as server:
        call = Caller(server)
        await server.accounts.create("Eve", PASSWORD, role="user", actor="operator")
        await server.accounts.disable("Eve", actor="operator")
        await server.accounts.create("Hedy", WRONG, role="user", actor="operator", temporary=True)
        ids = {account.name.lower(): account.id for account in await server.accounts.list()}
        yield Scene(call, clock, await call.login("Ada"), await call.login("Root"), ids)


Act = Callable[[Scene], Awaitable[object]]
Told = tuple[str, str, str, str | None]
"""What an event says: kind, outcome, actor, and the account it concerns; people by their names."""


async def login(scene: Scene, name: str = "Ada", password: str = PASSWORD, **options: Any) -> httpx2.Response:
    """Try to log in."""
    return await scene.call("POST", "/login", json={"name": name, "password": password}, **options)


async def replace_password(scene: Scene, name: str, password: str, new: str = "another-good-password") -> None:
    """Try to log in with a password, and to set another one by it."""
    await scene.call("POST", "/login", json={"name": name, "password": password, "newPassword": new})


async def come_too_late(scene: Scene) -> None:
    """Log in with a temporary password that has ended."""
    scene.clock.advance(TEMPORARY_FOR)
    await replace_password(scene, "Hedy", WRONG)


async def reuse(scene: Scene) -> None:
    """Present a refresh token that was spent long ago."""
    await scene.refresh(scene.ada.refresh)
    scene.clock.advance(60_000)
    await scene.refresh(scene.ada.refresh)


async def lose_a_race(scene: Scene) -> None:
    """Present a refresh token that is two behind, within the grace."""
    second = Login.of(await scene.refresh(scene.ada.refresh))
    await scene.refresh(second.refresh)
    await scene.refresh(scene.ada.refresh)


async def put_the_database_back(scene: Scene) -> None:
    """Present a refresh token of a generation that the database has forgotten."""
    token = RefreshToken.parse(scene.ada.refresh)

    async def find(tx: Transaction) -> Any:
        return await tx.sessions.find_with_account(token.session_id)

    session, _ = await scene.call.server.graph.storage.read(find)
    ahead = replace(session, generation=session.generation + 1)
    await scene.refresh(scene.call.server.graph.services.refresh._families.text(ahead))


async def lose_the_role(scene: Scene) -> None:
    """Ask as an administrator who has just been demoted by another process."""

    async def demote(tx: SqlTransaction) -> None:
        await tx.execute("UPDATE accounts SET role = 'user' WHERE name = 'Root'")

    await database_of(scene.call.server).transact(demote)
    await scene.admin("POST", "/disable")


PUBLISHED_FOR_LONG: Final = 400_000
"""Milliseconds after which every verifier knows a key."""


async def rotate_keys(scene: Scene, *, after: int = 0) -> httpx2.Response:
    """Ask for a rotation of the signing keys, some milliseconds after the start."""
    scene.clock.advance(after)
    return await scene.call("POST", "/admin/keys/rotate", bearer=scene.root.access)


async def revoke_signer(scene: Scene) -> httpx2.Response:
    """Revoke the key that signs."""
    kid = scene.call.server.graph.key_ring.signer().kid
    return await scene.call("POST", f"/admin/keys/{kid}/revoke", bearer=scene.root.access)


def change_password(current: str) -> Act:
    """Return a change of Ada's password."""
    body = {"currentPassword": current, "newPassword": "another-good-password"}
    return lambda scene: scene.call("POST", "/password", json=body, bearer=scene.ada.access)


STARTED: Final = ("session_started", "done", "ada", "ada")
ENDED: Final = ("session_ended", "done", "ada", "ada")
ROTATED: Final = ("refresh_rotated", "done", "ada", "ada")
STRANGER: Final = ("token_refused", "refused", "anyone", None)
ANOTHER_SITE: Final = ("request_refused", "refused", "anyone", None)

TRAIL: Final[dict[str, tuple[Act, list[Told]]]] = {
    "POST /login": (login, [STARTED]),
    "POST /login with the cookie of a session": (
        lambda scene: login(scene, cookie=scene.ada.refresh),
        [STARTED, ENDED],
    ),
    "POST /login beyond as many sessions as may live": (
        lambda scene: repeat(lambda: login(scene)),
        [STARTED, STARTED, ("session_ended", "done", "system", "ada")],
    ),
    "POST /login with a wrong password": (
        lambda scene: login(scene, password=WRONG),
        [("login_refused", "refused", "anyone", "ada")],
    ),
    "POST /login as nobody": (
        lambda scene: login(scene, "Nobody"),
        [("login_refused", "refused", "anyone", None)],
    ),
    "POST /login when disabled": (
        lambda scene: login(scene, "Eve"),
        [("login_refused", "refused", "anyone", "eve")],
    ),
    "POST /login with a temporary password": (
        lambda scene: login(scene, "Hedy", WRONG),
        [("login_refused", "refused", "anyone", "hedy")],
    ),
    "POST /login with a temporary password and a new one": (
        lambda scene: replace_password(scene, "Hedy", WRONG),
        [("session_started", "done", "hedy", "hedy"), ("password_changed", "done", "hedy", "hedy")],
    ),
    "POST /login with a temporary password and a bad one": (
        lambda scene: replace_password(scene, "Hedy", WRONG, "short"),
        [("login_refused", "refused", "anyone", "hedy")],
    ),
    "POST /login with a temporary password that has ended": (
        come_too_late,
        [("login_refused", "refused", "anyone", "hedy")],
    ),
    "POST /login with a lasting password and a new one": (
        lambda scene: replace_password(scene, "Ada", PASSWORD),
        [("login_refused", "refused", "anyone", "ada")],
    ),
    "POST /login from another site": (
        lambda scene: login(scene, headers={"Origin": "https://evil.example"}),
        [ANOTHER_SITE],
    ),
    "POST /refresh": (lambda scene: scene.refresh(scene.ada.refresh), [ROTATED]),
    "POST /refresh twice at once": (
        lambda scene: repeat(lambda: scene.refresh(scene.ada.refresh)),
        [ROTATED, ("refresh_replayed", "done", "ada", "ada")],
    ),
    "POST /refresh too late": (
        lose_a_race,
        [ROTATED, ROTATED, ("refresh_refused", "refused", "anyone", "ada")],
    ),
    "POST /refresh with a stolen token": (reuse, [ROTATED, ("refresh_reused", "alarm", "system", "ada")]),
    "POST /refresh after the database was put back": (
        put_the_database_back,
        [("refresh_rolled_back", "alarm", "system", "ada")],
    ),
    "POST /refresh with a forged token": (
        lambda scene: scene.refresh(scene.ada.refresh[:-4] + "AAAA"),
        [("refresh_refused", "refused", "anyone", None)],
    ),
    "POST /refresh with no token at all": (lambda scene: scene.call("POST", "/refresh"), []),
    "POST /refresh with something else": (
        lambda scene: scene.refresh("x"),
        [("refresh_refused", "refused", "anyone", None)],
    ),
    "POST /refresh with two tokens": (
        lambda scene: scene.refresh(scene.ada.refresh, json={"refreshToken": scene.root.refresh}),
        [("refresh_refused", "refused", "anyone", None)],
    ),
    "POST /logout": (lambda scene: scene.call("POST", "/logout", cookie=scene.ada.refresh), [ENDED]),
    "POST /logout with something else": (lambda scene: scene.call("POST", "/logout", cookie="x"), []),
    "GET /me": (lambda scene: scene.call("GET", "/me", bearer=scene.ada.access), []),
    "GET /me with a forged token": (
        lambda scene: scene.call("GET", "/me", bearer=scene.ada.access[:-4] + "AAAA"),
        [STRANGER],
    ),
    "GET /me without a token": (lambda scene: scene.call("GET", "/me"), []),
    "GET /verify": (lambda scene: scene.call("GET", "/verify", bearer=scene.ada.access), []),
    "GET /verify without a token": (lambda scene: scene.call("GET", "/verify"), []),
    "GET /verify with a forged token": (
        lambda scene: scene.call("GET", "/verify", bearer=scene.ada.access[:-4] + "AAAA"),
        [STRANGER],
    ),
    "GET /verify for another role": (
        lambda scene: scene.call("GET", "/verify?role=admin", bearer=scene.ada.access),
        [("token_refused", "refused", "anyone", "ada")],
    ),
    "GET /sessions": (lambda scene: scene.call("GET", "/sessions", bearer=scene.ada.access), []),
    "DELETE /sessions/{session}": (
        lambda scene: scene.call(
            "DELETE", f"/sessions/{RefreshToken.parse(scene.ada.refresh).session_id}", bearer=scene.ada.access
        ),
        [ENDED],
    ),
    "DELETE /sessions": (
        lambda scene: scene.call("DELETE", "/sessions", bearer=scene.ada.access),
        [("logged_out_everywhere", "done", "ada", "ada")],
    ),
    "POST /password": (change_password(PASSWORD), [STARTED, ("password_changed", "done", "ada", "ada")]),
    "POST /password with a wrong one": (
        change_password(WRONG),
        [("login_refused", "refused", "anyone", "ada")],
    ),
    "POST /register": (
        lambda scene: scene.call("POST", "/register", json={"name": "Grace", "password": PASSWORD}),
        [("account_created", "done", "somebody new", "somebody new")],
    ),
    "POST /register with a name that is taken": (
        lambda scene: scene.call("POST", "/register", json={"name": "Ada", "password": PASSWORD}),
        [],
    ),
    "GET /admin": (lambda scene: scene.call("GET", "/admin", bearer=scene.root.access), []),
    "GET /admin as a user": (
        lambda scene: scene.call("GET", "/admin", bearer=scene.ada.access),
        [("token_refused", "refused", "anyone", "ada")],
    ),
    "GET /admin/users": (lambda scene: scene.call("GET", "/admin/users", bearer=scene.root.access), []),
    "POST /admin/users": (
        lambda scene: scene.call("POST", "/admin/users", bearer=scene.root.access, json={"name": "Grace"}),
        [("account_created", "done", "root", "somebody new")],
    ),
    "GET /admin/users/{user}": (lambda scene: scene.admin("GET", ""), []),
    "DELETE /admin/users/{user}": (
        lambda scene: scene.admin("DELETE", ""),
        [("account_deleted", "done", "root", "ada")],
    ),
    "POST /admin/users/{user}/disable": (
        lambda scene: scene.admin("POST", "/disable"),
        [("account_disabled", "done", "root", "ada")],
    ),
    "POST /admin/users/{user}/disable by who was an administrator": (
        lose_the_role,
        [("token_refused", "refused", "anyone", "root")],
    ),
    "POST /admin/users/{user}/enable": (
        lambda scene: scene.call("POST", f"/admin/users/{scene.ids['eve']}/enable", bearer=scene.root.access),
        [("account_enabled", "done", "root", "eve")],
    ),
    "POST /admin/users/{user}/enable when it is enabled": (lambda scene: scene.admin("POST", "/enable"), []),
    "PUT /admin/users/{user}/role": (
        lambda scene: scene.admin("PUT", "/role", role="editor"),
        [("role_changed", "done", "root", "ada")],
    ),
    "DELETE /admin/users/{user}/sessions": (
        lambda scene: scene.admin("DELETE", "/sessions"),
        [("logged_out_everywhere", "done", "root", "ada")],
    ),
    "GET /admin/keys": (lambda scene: scene.call("GET", "/admin/keys", bearer=scene.root.access), []),
    "POST /admin/keys/rotate": (
        rotate_keys,
        [("key_rotation_requested", "done", "root", None)],
    ),
    "POST /admin/keys/rotate when the next key is known": (
        lambda scene: rotate_keys(scene, after=PUBLISHED_FOR_LONG),
        [
            ("key_rotation_requested", "done", "root", None),
            ("signing_key_activated", "done", "root", None),
            ("signing_key_created", "done", "root", None),
        ],
    ),
    "POST /admin/keys/{kid}/revoke": (
        revoke_signer,
        [
            ("signing_key_revoked", "done", "root", None),
            ("signing_key_activated", "done", "root", None),
            ("signing_key_created", "done", "root", None),
        ],
    ),
    "POST /admin/keys/{kid}/revoke by nobody": (
        lambda scene: scene.call("POST", f"/admin/keys/{'A' * 43}/revoke", bearer=scene.ada.access),
        [("token_refused", "refused", "anyone", "ada")],
    ),
    "GET /admin/audit": (lambda scene: scene.call("GET", "/admin/audit", bearer=scene.root.access), []),
    "GET /.well-known/jwks.json": (lambda scene: scene.call("GET", "/.well-known/jwks.json"), []),
    "GET /revocations": (lambda scene: scene.call("GET", "/revocations", bearer=FEED_TOKEN), []),
    "GET /revocations without its token": (
        lambda scene: scene.call("GET", "/revocations", bearer=scene.root.access),
        [("request_refused", "refused", "anyone", None)],
    ),
    "GET /tokenkeep.js": (lambda scene: scene.call("GET", "/tokenkeep.js"), []),
    "GET /livez": (lambda scene: scene.call("GET", "/livez"), []),
    "GET /readyz": (lambda scene: scene.call("GET", "/readyz"), []),
    "GET /metrics": (lambda scene: scene.call("GET", "/metrics"), []),
}
"""Each route, rightly and wrongly asked, and the events that it leaves, in their order."""


async def repeat(act: Callable[[], Awaitable[object]]) -> None:
    """Do it twice."""
    await act()
    await act()


def stored(scene: Scene) -> list[dict[str, Any]]:
    """Return all events in the order in which they were stored."""
    with closing(sqlite3.connect(scene.call.server.settings.data_dir / "tokenkeep.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM audit_events ORDER BY rowid")]


def counted(scene: Scene) -> dict[str, int]:
    """Return how often each event was counted in the metrics."""
    samples = scene.call.server._metrics._events.collect()
    return {
        sample.labels["event"]: int(sample.value)
        for metric in samples
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


@pytest.mark.parametrize("story", TRAIL)
async def test_a_route_leaves_exactly_its_events(scene: Scene, story: str):
    """Kind, outcome, actor and account of each event, where it came from, and the metric that counts it."""
    act, expected = TRAIL[story]
    names = {known_as: name for name, known_as in scene.ids.items()}
    before, counted_before = len(stored(scene)), counted(scene)
    await act(scene)
    await scene.call.server.graph.refusals.flush()
    events = stored(scene)[before:]
    told = [
        (
            event["kind"],
            EventKind(event["kind"]).outcome.value,
            names.get(event["actor"], event["actor"] if len(event["actor"]) < 22 else "somebody new"),
            names.get(event["account_id"], "somebody new") if event["account_id"] else None,
        )
        for event in events
    ]
    assert told == expected
    for event in events:
        assert (event["address"], event["user_agent"][:12]) == ("192.0.2.1", "python-httpx")
        assert START <= event["at"] <= scene.clock.now()
    grown = {kind: number - counted_before[kind] for kind, number in counted(scene).items()}
    assert {kind: number for kind, number in grown.items() if number} == {
        kind: [each[0] for each in expected].count(kind) for kind in {each[0] for each in expected}
    }


def test_every_route_has_its_story():
    """No route is missing from the table."""
    routes = {f"{route.method} {route.path}" for route in routes_served(registration=True, feed=True)}
    assert routes <= TRAIL.keys()
