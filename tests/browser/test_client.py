"""The browser client: logging in and out, calling APIs, and what it does when something goes wrong."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.conftest import AUDIENCE, PASSWORD, Profile, end_early
from tests.system.server_process import ServerProcess

LOGIN = f"auth.login('Ada', '{PASSWORD}')"
LATER = 14 * 60
"""Seconds after which an access token is due to be replaced, and not yet at its end."""
AFTER_ITS_END = 16 * 60
"""Seconds after which an access token has ended."""


async def pass_time(page: Page, seconds: int) -> None:
    """Put the clocks of a page forward: the time of day, and the one that only ever runs."""
    await page.evaluate(
        f"for (const clock of [Date, performance]) {{ const now = clock.now.bind(clock);"
        f" clock.now = () => now() + {seconds * 1000}; }}"
    )


async def told(page: Page, promise: str) -> dict[str, Any]:
    """Return the value or the error of a promise."""
    answer: dict[str, Any] = await page.evaluate(f"told({promise})")
    return answer


def claims(token: str) -> dict[str, Any]:
    """Return the claims of an access token."""
    payload = token.split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return read


def token_of(**claims: str) -> str:
    """Return something with the form of an access token, for answers in the server's place."""
    payload = base64.urlsafe_b64encode(json.dumps(claims, ensure_ascii=False).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2lnbmF0dXJl"


async def test_a_page_logs_in_calls_and_logs_out(profile: Profile, server: ServerProcess):
    """Login shows who it is, calls carry the token, and after the logout the token is dead."""
    page = await profile.tab()
    assert await page.evaluate("auth.restore()") is None
    assert profile.posts("/refresh") == 1
    user = await page.evaluate(LOGIN)
    assert (user["name"], user["role"]) == ("Ada", "admin")
    me = f"auth.fetch('{server.url}/me').then((answer) => answer.json())"
    assert (await page.evaluate(me))["name"] == "Ada"
    assert profile.posts("/refresh") == 1
    token = await page.evaluate("auth.token()")
    await page.evaluate("auth.logout()")
    assert await page.evaluate("auth.user") is None
    assert (await told(page, me))["code"] == "logged_out"
    assert server.request("GET", "/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert await page.evaluate("auth.changes") == ["Ada", None]


async def test_a_reload_takes_up_the_session(profile: Profile):
    """After a reload the page is logged in without a password, and once logged out it is not."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    await page.reload()
    assert await page.evaluate("auth.user") is None
    assert (await page.evaluate("auth.restore()"))["name"] == "Ada"
    await page.evaluate("auth.logout()")
    await page.reload()
    assert await page.evaluate("auth.restore()") is None


async def test_no_token_is_left_anywhere_in_the_browser(profile: Profile, server: ServerProcess):
    """No storage, cookie that scripts can read, address, history, element or property holds the access token."""
    page = await profile.tab()
    logged: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
    await page.evaluate(LOGIN)
    await page.evaluate(f"auth.fetch('{server.url}/me')")
    token = await page.evaluate("auth.token()")
    dump = await page.evaluate(
        """async () => JSON.stringify([
            {...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state,
            document.documentElement.outerHTML, await indexedDB.databases(), await caches.keys(),
            auth, Object.getOwnPropertyNames(auth).map((name) => auth[name]), name,
        ])"""
    )
    assert token not in dump
    assert "tkr_" not in dump
    assert not logged
    assert all(token not in request.url for request in profile.sent)
    assert json.loads(dump)[2] == ""


async def test_the_token_goes_to_listed_apis_only(profile: Profile):
    """An address elsewhere is refused before anything is sent there."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    answer = await told(page, f"auth.fetch('{profile.neighbour.url}/orders')")
    assert answer["error"] == "TypeError"
    assert (await told(page, "auth.fetch('data:,')"))["error"] == "TypeError"
    assert not profile.neighbour.authorizations


async def test_a_redirect_does_not_take_the_token_along(profile: Profile):
    """An API that sends the call elsewhere gets an error, and whoever is elsewhere nothing."""
    page = await profile.tab()
    await page.evaluate(f"window.auth = open_client({{ apis: ['{profile.neighbour.url}'] }})")
    await page.evaluate(LOGIN)
    moved = f"{profile.neighbour.url}/moved?to={profile.neighbour.url}/elsewhere"
    assert (await told(page, f"auth.fetch('{moved}')"))["error"] == "TypeError"
    assert [path.partition("?")[0] for path, _ in profile.neighbour.authorizations] == ["/moved"]


async def test_tokens_are_for_the_audience_asked_for(profile: Profile):
    """Login, refresh and a change of the password give tokens for the audience, and the API gets them."""
    page = await profile.tab()
    options = f"{{ audience: '{AUDIENCE}', apis: ['{profile.neighbour.url}'] }}"
    await page.evaluate(f"window.auth = open_client({options})")
    await page.evaluate(f"auth.login('Bob', '{PASSWORD}')")
    orders = f"auth.fetch('{profile.neighbour.url}/orders').then((answer) => answer.status)"
    assert await page.evaluate(orders) == 200
    await pass_time(page, LATER)
    assert await page.evaluate(orders) == 200
    assert await page.evaluate(f"auth.changePassword('{PASSWORD}', '{PASSWORD}-2')")
    assert await page.evaluate(orders) == 200
    assert await page.evaluate(f"auth.changePassword('{PASSWORD}-2', '{PASSWORD}')")
    sent = [header for path, header in profile.neighbour.authorizations if path == "/orders" and header]
    assert len(set(sent)) == 3
    assert {claims(header.removeprefix("Bearer "))["aud"] for header in sent} == {AUDIENCE}


async def test_pages_of_a_listed_origin_log_in_too(profile: Profile, server: ServerProcess):
    """A page of another origin on the same site imports the client, logs in, calls, and takes the session up."""
    page = await profile.tab(profile.neighbour.url)
    await page.evaluate(LOGIN)
    assert await page.evaluate(f"auth.fetch('{server.url}/me').then((answer) => answer.status)") == 200
    await page.reload()
    assert (await page.evaluate("auth.restore()"))["name"] == "Ada"


async def test_refusals_say_why(profile: Profile):
    """A wrong password and an unacceptable new one are errors with code, status and field, and end nothing."""
    page = await profile.tab()
    wrong = await told(page, "auth.login('Ada', 'not-the-password')")
    assert (wrong["code"], wrong["status"], wrong["known"]) == ("invalid_credentials", 401, True)
    assert profile.posts("/login") == 1
    await page.evaluate(LOGIN)
    weak = await told(page, f"auth.changePassword('{PASSWORD}', 'short')")
    assert (weak["code"], weak["field"]) == ("invalid_field", "newPassword")
    wrong = await told(page, "auth.changePassword('not-the-password', 'another-long-password')")
    assert wrong["code"] == "invalid_credentials"
    assert (await page.evaluate("auth.user"))["name"] == "Ada"


async def test_a_temporary_password_is_replaced_by_the_login(profile: Profile, server: ServerProcess):
    """Without a new password the error says that one is needed; with it the login is like any other."""
    server.command("users", "add", "Hedy", "--temporary", "--password-stdin", typed=f"{PASSWORD}-once\n")
    page = await profile.tab()
    refused = await told(page, f"auth.login('Hedy', '{PASSWORD}-once')")
    assert (refused["code"], refused["status"]) == ("password_change_required", 403)
    assert await page.evaluate("auth.restore()") is None
    assert (await page.evaluate(f"auth.login('Hedy', '{PASSWORD}-once', '{PASSWORD}-of-hers')"))["name"] == "Hedy"
    assert (await told(page, f"auth.login('Hedy', '{PASSWORD}-once')"))["code"] == "invalid_credentials"


async def test_a_token_that_has_ended_early_is_replaced(profile: Profile, server: ServerProcess):
    """Ten calls with a token that was revoked meanwhile all succeed, with one refresh, and show the new role."""
    page = await profile.tab()
    await page.evaluate(f"auth.login('Bob', '{PASSWORD}')")
    end_early(server, await page.evaluate("auth.token()"))
    before = profile.posts("/refresh")
    calls = f"Promise.all([...Array(10)].map(() => auth.fetch('{server.url}/me').then((answer) => answer.status)))"
    assert await page.evaluate(calls) == [200] * 10
    assert profile.posts("/refresh") == before + 1
    assert (await page.evaluate("auth.user"))["role"] == "editor"
    server.command("users", "set-role", "Bob", "user")


async def test_an_overtaken_refresh_is_tried_once_more(profile: Profile):
    """The refusal that means "you have a newer cookie by now" is followed by one more attempt, and by no third."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    refused = {"status": 401, "body": '{"code":"invalid_refresh_token"}', "headers": {}}
    await profile.answer("/refresh", **refused)
    await pass_time(page, AFTER_ITS_END)
    assert (await told(page, "auth.token()"))["code"] == "logged_out"
    assert profile.posts("/refresh") == 2
    await profile.let_through("/refresh")
    assert (await page.evaluate("auth.restore()"))["name"] == "Ada"


async def test_an_outage_ends_no_session(profile: Profile, server: ServerProcess):
    """While the server is down, calls go on to the token's end, then fail; afterwards nobody needs to log in."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    token = await page.evaluate("auth.token()")
    server.stop()
    try:
        await pass_time(page, LATER)
        assert await page.evaluate("auth.token()") == token
        await pass_time(page, AFTER_ITS_END - LATER)
        failed = await told(page, "auth.token()")
        assert (failed["code"], failed["known"]) == ("unreachable", True)
        assert (await told(page, "auth.logout()"))["code"] == "unreachable"
        assert (await page.evaluate("auth.user"))["name"] == "Ada"
    finally:
        server.start()
    await pass_time(page, 5)
    assert await page.evaluate("auth.token()") != token


async def test_a_busy_server_is_left_alone_as_long_as_it_asks(profile: Profile):
    """After a 503 nothing is sent until the time that it names, and then the session goes on."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    busy = '{"code":"storage_unavailable","error":"Try again later"}'
    await profile.answer("/refresh", status=503, body=busy, headers={"Retry-After": "30"})
    await pass_time(page, AFTER_ITS_END)
    for _ in range(3):
        failed = await told(page, "auth.token()")
        assert (failed["code"], failed["status"], failed["retryAfter"]) == ("storage_unavailable", 503, 30)
        await pass_time(page, 5)
    assert profile.posts("/refresh") == 1
    await profile.let_through("/refresh")
    await pass_time(page, 31)
    assert await page.evaluate("auth.token()")


@pytest.mark.parametrize("persisted", [True, False])
async def test_a_page_that_comes_back_looks_again(profile: Profile, persisted: bool):
    """A page that was put aside whole does not trust what it held; the first showing of a page changes nothing."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    shown = f"dispatchEvent(new PageTransitionEvent('pageshow', {{ persisted: {json.dumps(persisted)} }}))"
    await page.evaluate(f"{{ dispatchEvent(new PageTransitionEvent('pagehide')); {shown}; }}")
    await page.evaluate("auth.token()")
    assert profile.posts("/refresh") == int(persisted)


async def test_a_closed_client_holds_nothing(profile: Profile):
    """After `close` nobody is logged in for it, and the session in the browser goes on."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    await page.evaluate("auth.close()")
    for closed in ("auth.token()", f"auth.changePassword('{PASSWORD}', '{PASSWORD}-2')"):
        assert (await told(page, closed))["code"] == "logged_out"
    assert profile.posts("/password") == 0
    await page.evaluate("window.auth = open_client({})")
    assert (await page.evaluate("auth.restore()"))["name"] == "Ada"
