"""The browser client where its surroundings are poor: browsers that lack or refuse something, servers that hang."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.browser.conftest import LONGEST_WAIT, PASSWORD, Profile, until
from tests.browser.test_client import AFTER_ITS_END, LATER, LOGIN, pass_time, token_of, told
from tests.browser.test_tabs import shows
from tests.system.server_process import ServerProcess

REFUSING = (
    "{ request: () => Promise.reject(new DOMException('', 'SecurityError')), query: () => Promise.reject(new Error()) }"
)
WITHOUT = {
    "no locks": "delete Navigator.prototype.locks",
    "locks refused": f"Object.defineProperty(navigator, 'locks', {{ value: {REFUSING} }})",
    "no channel": "delete window.BroadcastChannel",
    "channel refused": "window.BroadcastChannel = class { constructor() { throw new DOMException('no'); } }",
}
COUNTED = "navigator.locks.query().then(({ held }) => held.filter(({ name }) => name.includes(' tab ')).length)"


@pytest.mark.parametrize("lacking", WITHOUT)
async def test_a_poor_browser_is_served_too(profile: Profile, server: ServerProcess, lacking: str):
    """Without locks or channel each tab looks after itself: it logs in, refreshes once for all its calls, logs out."""
    await profile.context.add_init_script(WITHOUT[lacking])
    page, other = await profile.tab(), await profile.tab()
    assert await page.evaluate("auth.restore()") is None
    assert (await told(page, "auth.login('Ada', 'not-the-password')"))["code"] == "invalid_credentials"
    await page.evaluate(LOGIN)
    await pass_time(page, AFTER_ITS_END)
    before = profile.posts("/refresh")
    calls = f"Promise.all([...Array(10)].map(() => auth.fetch('{server.url}/me').then((answer) => answer.status)))"
    assert await page.evaluate(calls) == [200] * 10
    assert profile.posts("/refresh") == before + 1
    assert (await other.evaluate("auth.restore()"))["name"] == "Ada"
    await page.evaluate("auth.logout()")
    assert await page.evaluate("auth.user") is None
    await page.evaluate("auth.close()")
    assert not profile.complaints


@pytest.mark.parametrize("lacking", ["", "no locks"])
async def test_a_login_and_a_refresh_take_turns(profile: Profile, lacking: str):
    """A refresh waits until a login that is under way has ended, and then needs not be sent."""
    await profile.context.add_init_script(WITHOUT.get(lacking, ""))
    page = await profile.tab()
    async with profile.held_up("/login") as came:
        await page.evaluate(f"void (window.pending = {LOGIN})")
        await came.wait()
        await page.evaluate("void (window.restored = Promise.all([auth.restore(), auth.restore()]))")
    assert [user["name"] for user in await page.evaluate("restored")] == ["Ada", "Ada"]
    assert profile.posts("/refresh") == 0


@pytest.mark.parametrize(
    ("path", "work", "sent", "after"),
    [
        ("/login", LOGIN, 0, "Ada"),
        ("/logout", "auth.logout()", 0, None),
        ("/password", f"auth.changePassword('{PASSWORD}', '{PASSWORD}')", 1, "Ada"),
    ],
)
async def test_tabs_take_turns(profile: Profile, path: str, work: str, sent: int, after: str | None):
    """A refresh in one tab waits for what another has under way that changes the cookie, and goes by its outcome."""
    first, second = await profile.tab(), await profile.tab()
    await first.evaluate(LOGIN)
    await shows(second, "Ada")
    for tab in (first, second):
        await pass_time(tab, AFTER_ITS_END)
    async with profile.held_up(path) as came:
        await first.evaluate(f"void (window.pending = told({work}))")
        await came.wait()
        await second.evaluate("void (window.pending = told(auth.token()))")
        await until(second, "navigator.locks.query().then(({ pending }) => pending.length > 0)")
    await second.evaluate("pending")
    await shows(second, after)
    assert profile.posts("/refresh") == sent


async def test_a_server_that_hangs_is_given_up(profile: Profile):
    """A request to the auth server that is not answered is called off, and says that it cannot be reached."""
    page = await profile.tab()
    await page.evaluate(
        "() => { const timeout = AbortSignal.timeout.bind(AbortSignal);"
        " AbortSignal.timeout = (limit) => timeout(limit / 100); }"
    )
    async with asyncio.timeout(LONGEST_WAIT), profile.held_up("/login"):
        failed = await told(page, LOGIN)
    assert (failed["code"], failed["status"]) == ("unreachable", None)


async def test_calls_do_not_wait_long_while_their_token_is_good(profile: Profile):
    """While a refresh hangs, the token that is held is used after three seconds, but not once it has ended."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    token = await page.evaluate("auth.token()")
    await page.evaluate(
        "() => { const wait = setTimeout; window.waited = []; AbortSignal.timeout = () => new AbortController().signal;"
        " window.setTimeout = (go, limit) => { waited.push(limit); wait(go, 0); }; }"
    )
    await pass_time(page, LATER)
    async with asyncio.timeout(LONGEST_WAIT), profile.held_up("/refresh"):
        assert await page.evaluate("auth.token()") == token
        assert await page.evaluate("waited") == [3000]
        await pass_time(page, AFTER_ITS_END - LATER)
        await page.evaluate("void (window.pending = auth.token())")
    assert await page.evaluate("pending") != token


@pytest.mark.parametrize("body", ["<h1>Bad gateway</h1>", "null", "[]", ""])
async def test_what_a_proxy_says_is_an_outage(profile: Profile, body: str):
    """An error that the auth server did not write is `unreachable`, with its status, and logs nobody out."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    await profile.answer("/refresh", status=502, body=body, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    await pass_time(page, AFTER_ITS_END)
    failed = await told(page, "auth.restore()")
    assert (failed["code"], failed["status"], failed["retryAfter"]) == ("unreachable", 502, None)
    assert (await page.evaluate("auth.user"))["name"] == "Ada"
    # Left alone for two seconds, no longer.
    assert (await told(page, "auth.token()"))["code"] == "unreachable"
    assert profile.posts("/refresh") == 1
    await profile.let_through("/refresh")
    await pass_time(page, 2)
    assert await page.evaluate("auth.token()")


async def test_a_clock_put_back_prolongs_no_pause(profile: Profile):
    """After a failure the server is asked again in time, though the time of day has been corrected meanwhile."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    await profile.answer("/refresh", status=503, body="{}", headers={})
    await pass_time(page, AFTER_ITS_END)
    assert (await told(page, "auth.token()"))["status"] == 503
    await profile.let_through("/refresh")
    await page.evaluate("() => { const now = Date.now; Date.now = () => now() - 30_000; }")
    await page.evaluate("() => { const now = performance.now(); performance.now = () => now + 3_000; }")
    assert await page.evaluate("auth.token()")


async def test_a_login_shows_that_the_server_answers_again(profile: Profile):
    """The pause after a failure ends with a login: what is refused after it gets a new token at once."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    await profile.answer("/refresh", status=503, body="{}", headers={"Retry-After": "600"})
    await pass_time(page, AFTER_ITS_END)
    assert (await told(page, "auth.token()"))["status"] == 503
    await profile.let_through("/refresh")
    await page.evaluate(LOGIN)
    revoked = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    await profile.answer("/orders", status=401, body="", headers=revoked)
    assert await page.evaluate("auth.fetch('/orders').then((answer) => answer.status)") == 401


@pytest.mark.parametrize(
    "body", ['{"ok":true}', '{"accessToken":"x","expiresIn":900}', "null", "<h1>Log in to the network</h1>"]
)
async def test_what_is_not_the_auth_server_is_unreachable(profile: Profile, body: str):
    """A success without a token, from whatever answers in the server's place, is an outage, and a pause follows."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    await profile.answer("/login", status=200, body=body, headers={})
    await profile.answer("/refresh", status=200, body=body, headers={})
    assert (await told(page, LOGIN))["code"] == "unreachable"
    await pass_time(page, AFTER_ITS_END)
    for _ in range(2):
        assert (await told(page, "auth.token()"))["code"] == "unreachable"
    assert profile.posts("/refresh") == 1
    assert (await page.evaluate("auth.user"))["name"] == "Ada"


async def test_a_password_does_not_follow_a_redirect(profile: Profile, server: ServerProcess):
    """Whatever redirects a login gets an error, and the place it names nothing."""
    page = await profile.tab()
    await profile.answer("/login", status=307, body="", headers={"Location": f"{server.url}/livez"})
    assert (await told(page, LOGIN))["code"] == "unreachable"
    assert profile.posts("/livez") == 0


async def test_a_token_is_replaced_within_its_last_minute(profile: Profile):
    """More than a minute before its end a token is used as it is; one of a short life, until its last fifth."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    token = await page.evaluate("auth.token()")
    await pass_time(page, LATER - 10)
    assert await page.evaluate("auth.token()") == token
    await pass_time(page, 10)
    assert await page.evaluate("auth.token()") != token
    short = token_of(sub="1", name="Ada", role="user")
    await profile.answer("/login", status=200, body=json.dumps({"accessToken": short, "expiresIn": 50}), headers={})
    await page.evaluate(LOGIN)
    await pass_time(page, 30)
    assert await page.evaluate("auth.token()") == short
    await pass_time(page, 10)
    assert await page.evaluate("auth.token()") != short


async def test_listeners_may_do_anything(profile: Profile, server: ServerProcess):
    """A listener of `change` that throws, calls, logs out or closes the client stops nothing, and is not stopped."""
    page = await profile.tab()
    me = f"auth.fetch('{server.url}/me')"
    listener = (
        f"() => {{ window.done = (async () => {{ await {me}; await auth.logout(); }})(); throw new Error('mine'); }}"
    )
    await page.evaluate(f"auth.addEventListener('change', {listener}, {{ once: true }})")
    async with asyncio.timeout(LONGEST_WAIT):
        assert (await page.evaluate(LOGIN))["name"] == "Ada"
        await page.evaluate("done")
        assert await page.evaluate("auth.changes") == ["Ada", None]
        await page.evaluate("auth.addEventListener('change', () => auth.close())")
        assert (await page.evaluate(LOGIN))["name"] == "Ada"
    assert all("mine" in complaint for complaint in profile.complaints)


async def test_a_client_that_is_closed_is_gone(profile: Profile):
    """A closed one is counted no more, even if it was closed at once, and sends nothing but what it is told to."""
    page = await profile.tab()
    await until(page, f"{COUNTED}.then((count) => count === 1)")
    async with profile.held_up("/login") as came:
        await page.evaluate(f"void (window.pending = {LOGIN})")
        await came.wait()
        await page.evaluate("{ auth.close(); open_client({}).close(); }")
    assert (await page.evaluate("pending"))["name"] == "Ada"
    await until(page, f"{COUNTED}.then((count) => count === 0)")
    assert await page.evaluate("auth.restore()") is None
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    assert profile.posts("/refresh") == 0
    assert await page.evaluate("auth.changes") == []
    assert not profile.complaints


async def test_who_waits_while_the_client_is_closed_is_told(profile: Profile):
    """A call that waits for a token when its client is closed gets none, and says so as after a logout."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    await pass_time(page, AFTER_ITS_END)
    async with profile.held_up("/refresh") as came:
        await page.evaluate("void (window.pending = told(auth.token()))")
        await came.wait()
        await page.evaluate("auth.close()")
    assert (await page.evaluate("pending"))["code"] == "logged_out"


async def test_a_page_put_aside_is_not_waited_for(profile: Profile):
    """It is not counted among the tabs while it is away, and is again when it has come back."""
    page = await profile.tab()
    for event, count in (("pagehide", 0), ("pageshow", 1)):
        await page.evaluate(f"dispatchEvent(new PageTransitionEvent('{event}', {{ persisted: true }}))")
        await until(page, f"{COUNTED}.then((count) => count === {count})")
    assert profile.posts("/refresh") == 0


async def test_a_page_that_comes_back_shows_who_is_logged_in_now(profile: Profile, server: ServerProcess):
    """A logout or login that it has not heard of shows by itself; in an outage it shows who was, but calls fail."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    back = "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))"
    await profile.answer("/refresh", status=503, body="{}", headers={})
    await page.evaluate(back)
    assert (await told(page, "auth.token()"))["status"] == 503
    assert (await page.evaluate("auth.user"))["name"] == "Ada"
    await profile.let_through("/refresh")
    await pass_time(page, 5)
    await profile.context.clear_cookies()
    await page.evaluate(back)
    await shows(page, None)
    login = await profile.context.request.post(f"{server.url}/login", data={"name": "Bob", "password": PASSWORD})
    assert login.ok
    await page.evaluate(back)
    await shows(page, "Bob")
    assert not profile.complaints
