"""/login, /refresh, /logout and /me: what they take, what they answer, and how tokens travel."""

from __future__ import annotations

import json

import pytest

from tests.api.caller import ISSUER, PASSWORD, Caller, Login, assert_problem
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.audit import EventFilter, EventKind
from tokenkeep.jose import jwt

CREDENTIALS = {"name": "Ada", "password": PASSWORD}
BODY_ONLY = "Delivery in the body is for clients that are not browsers"


async def test_login_hands_over_both_tokens(call: Caller):
    """The access token is in the body, the refresh token in the cookie and nowhere else."""
    answer = await call("POST", "/login", json=CREDENTIALS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body.keys() == {"accessToken", "tokenType", "expiresIn"}
    assert (body["tokenType"], body["expiresIn"]) == ("Bearer", 900)
    assert type(body["expiresIn"]) is int
    [cookie] = answer.headers.get_list("set-cookie")
    token = Login.of(answer).refresh
    assert token.startswith("tkr_")
    assert len(token) == 75
    assert cookie == f"refreshToken={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800"
    assert token not in answer.text


async def test_login_as_the_story_tells_it(call: Caller):
    """Log in, ask who one is, refresh, log out, and nothing works any more."""
    first = await call.login("Root")
    me = await call("GET", "/me", bearer=first.access)
    assert me.json() == {"id": jwt.decode_unverified(first.access).claims["sub"], "name": "Root", "role": "admin"}
    answer = await call("POST", "/refresh", cookie=first.refresh)
    assert answer.status_code == 200
    assert answer.json().keys() == {"accessToken", "tokenType", "expiresIn"}
    second = Login.of(answer)
    assert second.refresh != first.refresh
    out = await call("POST", "/logout", cookie=second.refresh)
    assert (out.status_code, out.json()) == (200, {"ok": True})
    for token in (first, second):
        assert_problem(await call("POST", "/refresh", cookie=token.refresh), "no_valid_refresh_token")
        refused = await call("GET", "/me", bearer=token.access)
        assert_problem(refused, "invalid_token", reason="JsonWebTokenError")


@pytest.mark.parametrize("credentials", [("Ada", "wrong-horse-battery"), ("Nobody", PASSWORD), ("Ada", "")])
async def test_refused_login_looks_always_the_same(call: Caller, credentials: tuple[str, str]):
    """Wrong password and unknown name get the same answer, byte for byte."""
    answer = await call("POST", "/login", json=dict(zip(("name", "password"), credentials, strict=True)))
    assert_problem(answer, "invalid_credentials")


async def test_disabled_account_looks_like_a_wrong_password(call: Caller):
    """Status, headers and body of both refusals are the same but for the request's id."""
    await call.server.accounts.disable("Ada", actor="operator")
    answers = [
        await call("POST", "/login", json={"name": name, "password": PASSWORD}, headers={"X-Request-ID": "the-same-id"})
        for name in ("Ada", "Nobody")
    ]
    assert answers[0].content == answers[1].content
    assert answers[0].headers.multi_items() == answers[1].headers.multi_items()
    assert_problem(answers[0], "invalid_credentials")


async def test_login_ends_the_session_of_its_cookie(call: Caller):
    """A planted or old cookie is dead after a login that carried it."""
    old = await call.login()
    answer = await call("POST", "/login", json=CREDENTIALS, cookie=old.refresh)
    assert answer.status_code == 200
    assert_problem(await call("POST", "/refresh", cookie=old.refresh), "no_valid_refresh_token")
    assert_problem(await call("GET", "/me", bearer=old.access), "invalid_token", reason="JsonWebTokenError")


@pytest.mark.parametrize("planted", ["", "x", "tkr_" + "A" * 71, "eyJhbGciOiJub25lIn0.e30."])
async def test_login_never_adopts_a_cookie(call: Caller, planted: str):
    """Whatever cookie comes with a login, the session is a new one."""
    answer = await call("POST", "/login", json=CREDENTIALS, cookie=planted)
    assert answer.status_code == 200
    assert Login.of(answer).refresh != planted


async def test_login_for_an_audience(call: Caller):
    """An audience that is not served is a refused field; the issuer may be named."""
    answer = await call("POST", "/login", json={**CREDENTIALS, "audience": "https://other.example"})
    assert_problem(answer, "invalid_field", "This audience is not served here", field="audience")
    assert (await call("POST", "/login", json={**CREDENTIALS, "audience": ISSUER})).status_code == 200
    assert (await call("POST", "/login", json={**CREDENTIALS, "audience": None})).status_code == 200


async def test_refresh_sets_the_cookie_anew(call: Caller, clock: SettableClock):
    """Each refresh sets the successor with a full idle life."""
    first = await call.login()
    clock.advance(3_600_000)
    answer = await call("POST", "/refresh", cookie=first.refresh)
    token = Login.of(answer).refresh
    [cookie] = answer.headers.get_list("set-cookie")
    assert cookie == f"refreshToken={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800"
    assert answer.headers["cache-control"] == "no-store"


async def test_refresh_takes_an_empty_body_or_an_object(call: Caller):
    """No body, an empty object and an audience are all refreshes."""
    token = (await call.login()).refresh
    for arguments in ({}, {"json": {}}, {"json": {"audience": ISSUER}}, {"content": b""}):
        answer = await call("POST", "/refresh", cookie=token, **arguments)
        assert answer.status_code == 200, arguments
        token = Login.of(answer).refresh


@pytest.mark.parametrize("headers", [{}, {"Cookie": "refreshToken="}, {"Cookie": "other=tkr_x; refreshtoken=y"}])
async def test_refresh_without_a_token(call: Caller, headers: dict[str, str]):
    """No cookie, an empty one, or one of another name is no refresh token."""
    assert_problem(await call("POST", "/refresh", headers=headers), "no_valid_refresh_token")


@pytest.mark.parametrize("token", ["x", "tkr_", "tkr_" + "A" * 71, '"tkr_x"', "tkr_" + "A" * 4_000])
async def test_refresh_with_a_malformed_token(call: Caller, token: str):
    """A cookie that is no token is invalid."""
    assert_problem(await call("POST", "/refresh", cookie=token), "invalid_refresh_token")


async def test_used_token_is_refused(call: Caller, clock: SettableClock):
    """A reuse is told as no valid token, and ends the session."""
    first = await call.login()
    second = Login.of(await call("POST", "/refresh", cookie=first.refresh))
    clock.advance(10_000)
    assert_problem(await call("POST", "/refresh", cookie=first.refresh), "no_valid_refresh_token")
    assert_problem(await call("POST", "/refresh", cookie=second.refresh), "no_valid_refresh_token")


async def test_overtaken_token_is_refused_and_the_session_lives(call: Caller):
    """Two behind is told as invalid; the newest token still works."""
    first = await call.login()
    second = Login.of(await call("POST", "/refresh", cookie=first.refresh))
    third = Login.of(await call("POST", "/refresh", cookie=second.refresh))
    assert_problem(await call("POST", "/refresh", cookie=first.refresh), "invalid_refresh_token")
    assert (await call("POST", "/refresh", cookie=third.refresh)).status_code == 200


async def test_other_program_is_noticed_by_its_user_agent(call: Caller):
    """The user agent of the request is what counts as the program."""
    headers = {"User-Agent": "Firefox"}
    answer = await call("POST", "/login", json=CREDENTIALS, headers=headers)
    first = Login.of(answer)
    assert (await call("POST", "/refresh", cookie=first.refresh, headers=headers)).status_code == 200
    assert (await call("POST", "/refresh", cookie=first.refresh, headers=headers)).status_code == 200
    stolen = await call("POST", "/refresh", cookie=first.refresh, headers={"User-Agent": "curl"})
    assert_problem(stolen, "no_valid_refresh_token")


async def test_token_in_the_body(call: Caller):
    """A client that is no browser gets its refresh token in the body, and no cookie at any time."""
    answer = await call("POST", "/login", json={**CREDENTIALS, "delivery": "body"})
    assert answer.status_code == 200
    assert answer.json().keys() == {"accessToken", "tokenType", "expiresIn", "refreshToken"}
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    token = answer.json()["refreshToken"]
    answer = await call("POST", "/refresh", json={"refreshToken": token})
    assert answer.json().keys() == {"accessToken", "tokenType", "expiresIn", "refreshToken"}
    assert "set-cookie" not in answer.headers
    last = Login.of(answer)
    assert (await call("POST", "/logout", json={"refreshToken": last.refresh})).json() == {"ok": True}
    refused = await call("POST", "/refresh", json={"refreshToken": last.refresh})
    assert_problem(refused, "no_valid_refresh_token")
    assert_problem(await call("GET", "/me", bearer=last.access), "invalid_token", reason="JsonWebTokenError")


async def test_deliveries_do_not_mix(call: Caller):
    """A session delivered one way never works the other way, and nothing happens to it."""
    by_cookie = await call.login()
    by_body = await call.login(delivery="body")
    assert_problem(await call("POST", "/refresh", json={"refreshToken": by_cookie.refresh}), "invalid_refresh_token")
    assert_problem(await call("POST", "/refresh", cookie=by_body.refresh), "invalid_refresh_token")
    assert (await call("POST", "/refresh", cookie=by_cookie.refresh)).status_code == 200
    assert (await call("POST", "/refresh", json={"refreshToken": by_body.refresh})).status_code == 200


async def test_cookie_and_body_at_once_is_invalid(call: Caller):
    """Nobody has to guess which of two tokens is meant, and neither is spent."""
    by_cookie = await call.login()
    by_body = await call.login(delivery="body")
    both = await call("POST", "/refresh", json={"refreshToken": by_body.refresh}, cookie=by_cookie.refresh)
    assert_problem(both, "invalid_refresh_token")
    answer = await call("POST", "/refresh", cookie=by_cookie.refresh)
    assert jwt.decode_unverified(answer.json()["accessToken"]).claims["iat"] == START // 1000
    assert (await call("POST", "/refresh", json={"refreshToken": by_body.refresh})).status_code == 200


async def test_two_tokens_at_once_are_remembered(call: Caller):
    """A request that carries a token in the cookie and one in the body is in the audit log, as an invalid one."""
    by_cookie, by_body = await call.login(), await call.login(delivery="body")
    await call("POST", "/refresh", json={"refreshToken": by_body.refresh}, cookie=by_cookie.refresh)
    await call.server.graph.refusals.flush()
    [event] = await call.server.graph.audit.search(EventFilter(kind=EventKind.REFRESH_REFUSED))
    assert (event.detail, event.address) == ("invalid", call.address)


async def test_pages_get_no_token_in_the_body(call: Caller):
    """A request of a page, known by its Origin, is refused delivery in the body, and no session begins."""
    headers = {"Origin": ISSUER}
    answer = await call("POST", "/login", json={**CREDENTIALS, "delivery": "body"}, headers=headers)
    assert_problem(answer, "cross_site", BODY_ONLY)
    token = (await call.login(delivery="body")).refresh
    answer = await call("POST", "/refresh", json={"refreshToken": token}, headers=headers)
    assert_problem(answer, "cross_site", BODY_ONLY)
    assert (await call("POST", "/refresh", json={"refreshToken": token})).status_code == 200


@pytest.mark.parametrize("token", ["", "x", "tkr_" + "A" * 71])
async def test_malformed_token_in_the_body(call: Caller, token: str):
    """A token in the body that is none is invalid."""
    assert_problem(await call("POST", "/refresh", json={"refreshToken": token}), "invalid_refresh_token")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"json": {}},
        {"cookie": ""},
        {"cookie": "x"},
        {"cookie": "tkr_" + "A" * 71},
        {"json": {"refreshToken": "x"}},
        {"json": {"refreshToken": None}},
    ],
    ids=json.dumps,
)
async def test_logout_of_nobody_is_a_logout(call: Caller, arguments: dict):
    """Absent or unknown tokens get the same answer as a real one, and the cookie is cleared."""
    answer = await call("POST", "/logout", **arguments)
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    [cookie] = answer.headers.get_list("set-cookie")
    assert cookie == "refreshToken=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
    assert answer.headers["cache-control"] == "no-store"


async def test_logout_answers_the_same_for_a_session(call: Caller):
    """A logout that ended a session, and one that repeats it, look alike."""
    session = await call.login()
    answers = [
        await call("POST", "/logout", cookie=session.refresh, headers={"X-Request-ID": "the-same-id"}) for _ in range(2)
    ]
    assert answers[0].headers.multi_items() == answers[1].headers.multi_items()
    assert answers[0].content == answers[1].content == b'{"ok":true}'


async def test_logout_ends_both_sessions_that_are_named(call: Caller):
    """A cookie and a token in the body are both ended: nobody who logs out stays logged in."""
    by_cookie = await call.login()
    by_body = await call.login(delivery="body")
    answer = await call("POST", "/logout", json={"refreshToken": by_body.refresh}, cookie=by_cookie.refresh)
    assert answer.status_code == 200
    for session in (by_cookie, by_body):
        assert_problem(await call("GET", "/me", bearer=session.access), "invalid_token", reason="JsonWebTokenError")


async def test_logout_needs_no_access_token(call: Caller, clock: SettableClock):
    """Logging out works long after the access token has expired."""
    session = await call.login()
    clock.advance(3_600_000)
    assert (await call("POST", "/logout", cookie=session.refresh)).status_code == 200
    assert_problem(await call("POST", "/refresh", cookie=session.refresh), "no_valid_refresh_token")


async def test_access_token_expires(call: Caller, clock: SettableClock):
    """After 15 minutes and the leeway an access token is expired, and is told so."""
    session = await call.login()
    clock.advance(904_999)
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200
    clock.advance(1)
    assert_problem(await call("GET", "/me", bearer=session.access), "invalid_token", reason="TokenExpiredError")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Basic QWRhOnNlY3JldA==")],
        [("Authorization", "")],
        [("X-Authorization", "Bearer x")],
    ],
    ids=["none", "another scheme", "empty", "another header"],
)
async def test_me_without_a_token(call: Caller, headers: list[tuple[str, str]]):
    """A request without a bearer token is told how to authenticate, and no more."""
    assert_problem(await call("GET", "/me", headers=headers), "missing_token")


async def test_token_elsewhere_is_ignored(call: Caller):
    """Access tokens in the query, in a cookie or in a body are not looked at."""
    access = (await call.login()).access
    assert_problem(await call("GET", f"/me?access_token={access}"), "missing_token")
    assert_problem(await call("GET", "/me", cookie=access), "missing_token")


async def test_me_with_a_bad_token(call: Caller):
    """A tampered token, a refresh token and plain text are all invalid."""
    session = await call.login()
    for bad in (session.access + "x", session.access[:-4], session.refresh, "x", "e30.e30.AA"):
        assert_problem(await call("GET", "/me", bearer=bad), "invalid_token", reason="JsonWebTokenError")


async def test_two_authorization_headers_are_ambiguous(call: Caller):
    """A request with two tokens is refused, whichever of them is good."""
    access = (await call.login()).access
    headers = [("Authorization", f"Bearer {access}"), ("Authorization", f"Bearer {access}")]
    answer = await call("GET", "/me", headers=headers)
    sentence = "More than one Authorization header"
    assert_problem(answer, "malformed_request", sentence, challenge='Bearer error="invalid_request"')


async def test_me_is_answered_from_the_token(call: Caller):
    """Who one is is said by the token; a changed role ends the token rather than changing the answer."""
    session = await call.login()
    await call.server.accounts.set_role("Ada", "editor", actor="operator")
    assert_problem(await call("GET", "/me", bearer=session.access), "invalid_token", reason="JsonWebTokenError")
    renewed = Login.of(await call("POST", "/refresh", cookie=session.refresh))
    assert (await call("GET", "/me", bearer=renewed.access)).json()["role"] == "editor"
