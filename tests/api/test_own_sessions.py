"""/sessions and /password: one's own sessions and password, seen and changed with an access token."""

from __future__ import annotations

import pytest

from tests.api.caller import ISSUER, PASSWORD, Caller, Login, assert_problem
from tests.settable_clock import START, SettableClock

NEW_PASSWORD = "another-good-password"
CHANGE = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}


async def ids(call: Caller, session: Login) -> dict[bool, list[str]]:
    """Return the ids of the bearer's sessions: under True the one that asks, under False the others."""
    listed = (await call("GET", "/sessions", bearer=session.access)).json()["sessions"]
    return {current: [each["id"] for each in listed if each["current"] is current] for current in (True, False)}


async def test_sessions_are_listed(call: Caller, clock: SettableClock):
    """The list says when and where from each session is used, marks the one that asks, and holds no token."""
    first = await call.login()
    clock.advance(60_000)
    second = await call.login()
    answer = await call("GET", "/sessions", bearer=second.access)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    newest, oldest = answer.json()["sessions"]
    assert newest.keys() == {"id", "createdAt", "lastUsedAt", "expiresAt", "userAgent", "address", "current"}
    assert (newest["current"], oldest["current"]) == (True, False)
    assert (oldest["createdAt"], newest["createdAt"]) == (START // 1000, START // 1000 + 60)
    assert newest["expiresAt"] == START // 1000 + 60 + 7 * 86_400
    assert newest["address"] == "192.0.2.1"
    assert newest["userAgent"].startswith("python-httpx")
    for token in (first.refresh, second.refresh):
        assert token not in answer.text
        assert token[26:] not in answer.text


async def test_one_session_is_ended(call: Caller):
    """A session that was left open elsewhere ends, and with it its tokens."""
    mine, lost = await call.login(), await call.login()
    [other] = (await ids(call, mine))[False]
    answer = await call("DELETE", f"/sessions/{other}", bearer=mine.access)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert_problem(await call("POST", "/refresh", cookie=lost.refresh), "no_valid_refresh_token")
    assert_problem(await call("GET", "/me", bearer=lost.access), "invalid_token", reason="JsonWebTokenError")
    assert (await call("GET", "/me", bearer=mine.access)).status_code == 200
    assert_problem(await call("DELETE", f"/sessions/{other}", bearer=mine.access), "not_found")


async def test_sessions_of_others_are_not_found(call: Caller):
    """Another's session looks like one that does not exist, and goes on."""
    mine, roots = await call.login("Ada"), await call.login("Root")
    [session] = (await ids(call, roots))[True]
    for asked in (session, "A" * 22, "x", "A" * 23, "..", "%2e%2e", "A" * 1_000, "é" * 22):
        answer = await call("DELETE", f"/sessions/{asked}", bearer=mine.access)
        assert answer.status_code == 404, asked
        assert_problem(answer, "not_found")
    assert (await call("GET", "/me", bearer=roots.access)).status_code == 200


async def test_all_sessions_are_ended(call: Caller):
    """Logging out everywhere ends every session, this one too, and clears the cookie."""
    sessions = [await call.login() for _ in range(3)]
    answer = await call("DELETE", "/sessions", bearer=sessions[0].access, cookie=sessions[0].refresh)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert answer.headers["set-cookie"] == "refreshToken=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
    for session in sessions:
        assert_problem(await call("GET", "/me", bearer=session.access), "invalid_token", reason="JsonWebTokenError")
        assert_problem(await call("POST", "/refresh", cookie=session.refresh), "no_valid_refresh_token")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/sessions"), ("DELETE", "/sessions"), ("DELETE", "/sessions/" + "A" * 22), ("POST", "/password")],
)
async def test_an_access_token_is_needed(call: Caller, method: str, path: str):
    """A cookie alone opens none of these routes."""
    session = await call.login()
    body = CHANGE if path == "/password" else None
    assert_problem(await call(method, path, json=body, cookie=session.refresh), "missing_token")
    assert_problem(await call(method, path, json=body, bearer="x"), "invalid_token", reason="JsonWebTokenError")
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200


async def test_password_is_changed(call: Caller):
    """Everything of before ends; the answer is that of a login, with a new cookie."""
    elsewhere, mine = await call.login(), await call.login()
    answer = await call("POST", "/password", json=CHANGE, bearer=mine.access, cookie=mine.refresh)
    assert answer.status_code == 200
    assert answer.json().keys() == {"accessToken", "tokenType", "expiresIn"}
    assert answer.headers["cache-control"] == "no-store"
    renewed = Login.of(answer)
    for session in (elsewhere, mine):
        assert_problem(await call("GET", "/me", bearer=session.access), "invalid_token", reason="JsonWebTokenError")
        assert_problem(await call("POST", "/refresh", cookie=session.refresh), "no_valid_refresh_token")
    assert (await call("GET", "/me", bearer=renewed.access)).status_code == 200
    assert (await call("POST", "/refresh", cookie=renewed.refresh)).status_code == 200
    old = await call("POST", "/login", json={"name": "Ada", "password": PASSWORD})
    assert_problem(old, "invalid_credentials")
    assert await call.login(password=NEW_PASSWORD)


async def test_session_by_body_gets_its_new_token_in_the_body(call: Caller):
    """A program goes on as it began."""
    session = await call.login(delivery="body")
    answer = await call("POST", "/password", json=CHANGE, bearer=session.access)
    assert answer.json().keys() == {"accessToken", "tokenType", "expiresIn", "refreshToken"}
    assert "set-cookie" not in answer.headers


async def test_page_gets_no_token_in_the_body_by_changing_the_password(call: Caller):
    """A request of a page, known by its Origin, never gets a refresh token in the body."""
    session = await call.login(delivery="body")
    answer = await call("POST", "/password", json=CHANGE, bearer=session.access, headers={"Origin": ISSUER})
    assert "refreshToken" not in answer.text


@pytest.mark.parametrize(
    ("body", "code", "sentence", "field"),
    [
        ({**CHANGE, "currentPassword": "wrong-horse-battery"}, "invalid_credentials", None, None),
        (
            {**CHANGE, "newPassword": "short"},
            "invalid_field",
            "The password must have at least 15 characters",
            "newPassword",
        ),
        (
            {**CHANGE, "newPassword": "x" * 1025},
            "invalid_field",
            "The password must have at most 1024 characters",
            "newPassword",
        ),
        (
            {**CHANGE, "currentPassword": "x" * 1025},
            "invalid_field",
            "The password must have at most 1024 characters",
            "currentPassword",
        ),
        ({"newPassword": NEW_PASSWORD}, "invalid_field", "Required field missing", "currentPassword"),
        ({**CHANGE, "name": "Root"}, "invalid_field", "Unknown field", "name"),
    ],
)
async def test_refused_change_changes_nothing(
    call: Caller, body: dict[str, str], code: str, sentence: str | None, field: str | None
):
    """A wrong or unfit password is refused by its field, and every session goes on."""
    session = await call.login()
    answer = await call("POST", "/password", json=body, bearer=session.access)
    assert_problem(answer, code, sentence, **({"field": field} if field else {}))
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200
    assert await call.login()


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
@pytest.mark.parametrize(("method", "path"), [("DELETE", "/sessions"), ("POST", "/password")])
async def test_other_pages_are_refused(call: Caller, method: str, path: str, headers: dict[str, str]):
    """Routes that set the cookie are closed to other pages, even with an access token."""
    session = await call.login()
    answer = await call(method, path, json=CHANGE if method == "POST" else None, bearer=session.access, headers=headers)
    assert answer.json()["code"] == "cross_site"
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200
