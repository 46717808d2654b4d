"""Calls of the browser client: where they go, what is repeated after a 401, and as whom they are made."""

from __future__ import annotations

import asyncio
import json

import pytest
from playwright.async_api import Page, Request, Route

from tests.browser.conftest import AUDIENCE, PASSWORD, Profile, end_early, until
from tests.browser.test_client import AFTER_ITS_END, LOGIN, claims, pass_time, token_of, told
from tests.system.server_process import ServerProcess

CALL = "auth.fetch('/orders', { method: 'POST', body: 'two of them' }).then((answer) => answer.status)"
NOT_THE_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
REFUSED = {"status": 401, "body": '{"code":"no_valid_refresh_token"}', "headers": {}}
BUSY = {"status": 503, "body": '{"code":"storage_unavailable"}', "headers": {}}


async def logged_in(profile: Profile) -> Page:
    """Open a page and log in."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    return page


def orders(profile: Profile) -> list[Request]:
    """Return the calls that were sent."""
    return [request for request in profile.sent if request.url.endswith("/orders")]


async def test_a_refused_call_is_sent_once_more_as_it_was(profile: Profile):
    """After a 401 the same body goes out with another token; the second answer is the answer, whatever it is."""
    page = await logged_in(profile)
    await profile.answer("/orders", status=401, body="", headers=NOT_THE_TOKEN)
    assert await page.evaluate(CALL) == 401
    first, second = orders(profile)
    assert first.post_data == second.post_data == "two of them"
    assert first.headers["authorization"] != second.headers["authorization"]
    assert profile.posts("/refresh") == 1


@pytest.mark.parametrize(
    ("status", "headers", "sent"),
    [
        pytest.param(401, {}, 2, id="a header that pages may not read"),
        pytest.param(401, {"WWW-Authenticate": 'Basic realm="bearers", bearer'}, 2, id="one way of two"),
        pytest.param(401, {"WWW-Authenticate": 'Basic realm="for the bearer"'}, 1, id="another way"),
        pytest.param(403, NOT_THE_TOKEN, 1, id="forbidden"),
        pytest.param(503, NOT_THE_TOKEN, 1, id="unavailable"),
    ],
)
async def test_only_a_refused_token_is_replaced(profile: Profile, status: int, headers: dict[str, str], sent: int):
    """An answer that is not about the token is the answer, and costs no refresh."""
    page = await logged_in(profile)
    await profile.answer("/orders", status=status, body="", headers=headers)
    assert await page.evaluate(CALL) == status
    assert len(orders(profile)) == sent
    assert profile.posts("/refresh") == sent - 1


async def test_a_token_replaced_meanwhile_is_not_replaced_again(profile: Profile, server: ServerProcess):
    """A call whose 401 comes late, when another has got a new token already, uses that."""
    page = await logged_in(profile)
    old = await page.evaluate("auth.token()")
    go = asyncio.Event()

    async def answer(route: Route) -> None:
        if route.request.headers["authorization"] == f"Bearer {old}":
            if route.request.url.endswith("late"):
                await go.wait()
            await route.fulfill(status=401, headers=NOT_THE_TOKEN)
        else:
            await route.fulfill(status=200)

    await profile.context.route(f"{server.url}/orders?*", answer)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        late = group.create_task(page.evaluate("auth.fetch('/orders?late').then((answer) => answer.status)"))
        assert await page.evaluate("auth.fetch('/orders?early').then((answer) => answer.status)") == 200
        go.set()
    assert late.result() == 200
    assert profile.posts("/refresh") == 1


async def test_the_answer_to_somebody_whose_session_is_over_is_the_401(profile: Profile):
    """When no new token is to be had, the refusal of the API is the answer, and the page knows."""
    page = await logged_in(profile)
    await profile.answer("/orders", status=401, body="", headers=NOT_THE_TOKEN)
    await profile.answer("/refresh", **REFUSED)
    assert await page.evaluate(CALL) == 401
    assert len(orders(profile)) == 1
    assert await page.evaluate("auth.user") is None


async def test_a_refused_token_in_an_outage_is_an_outage(profile: Profile):
    """When a new token cannot be had now, that is the error, and nobody is logged out."""
    page = await logged_in(profile)
    await profile.answer("/orders", status=401, body="", headers=NOT_THE_TOKEN)
    await profile.answer("/refresh", **BUSY)
    assert (await told(page, CALL))["code"] == "storage_unavailable"
    assert (await page.evaluate("auth.user"))["name"] == "Ada"


async def test_a_call_is_not_repeated_as_somebody_else(profile: Profile, server: ServerProcess):
    """If somebody else has logged in by the time that a call is refused, it is not sent again with their token."""
    page, other = await logged_in(profile), await profile.tab()

    async def answer(route: Route) -> None:
        await other.evaluate(f"auth.login('Bob', '{PASSWORD}')")
        await until(page, "auth.user.name === 'Bob'")
        await route.fulfill(status=401, headers=NOT_THE_TOKEN)

    await profile.context.route(f"{server.url}/orders", answer)
    assert await page.evaluate(CALL) == 401
    assert len(orders(profile)) == 1


async def test_a_call_is_not_sent_as_somebody_else(profile: Profile):
    """If somebody else logs in while a call waits for a token, it is not sent at all."""
    page, other = await logged_in(profile), await profile.tab()
    await pass_time(page, AFTER_ITS_END)
    async with profile.held_up("/login") as came:
        await other.evaluate(f"void (window.pending = auth.login('Bob', '{PASSWORD}'))")
        await came.wait()
        await page.evaluate(f"void (window.pending = told({CALL}))")
    assert (await page.evaluate("pending"))["code"] == "logged_out"
    assert not orders(profile)


async def test_the_audience_names_the_api(profile: Profile, server: ServerProcess):
    """Where no APIs are listed, the token goes to the audience's origin, and not to the auth server's."""
    page = await profile.tab()
    fresh = json.dumps({"accessToken": token_of(sub="1", name="Ada", role="user"), "expiresIn": 900})
    await profile.answer("/refresh", status=200, body=fresh, headers={})
    await page.evaluate(f"window.auth = open_client({{ audience: '{profile.neighbour.url}/v1' }})")
    assert await page.evaluate(f"auth.fetch('{profile.neighbour.url}/orders').then((answer) => answer.status)") == 200
    assert (await told(page, f"auth.fetch('{server.url}/me')"))["error"] == "TypeError"


async def test_the_auth_server_may_be_mounted(profile: Profile, server: ServerProcess):
    """An issuer with a path, with or without a slash at its end, is asked below that path; its origin is the API."""
    page = await profile.tab()
    fresh = json.dumps({"accessToken": token_of(sub="1", name="Åsa", role="user"), "expiresIn": 900})
    for path, status, body in (("/auth/login", 200, fresh), ("/auth/logout", 200, "{}"), ("/orders", 200, "{}")):
        await profile.answer(path, status=status, body=body, headers={})
    await page.evaluate(f"window.other = open_client({{ issuer: '{server.url}/auth' }})")
    await page.evaluate(f"window.auth = open_client({{ issuer: '{server.url}/auth/' }})")
    assert (await page.evaluate(LOGIN))["name"] == "Åsa"
    await until(page, "other.user !== null")
    assert await page.evaluate(CALL) == 200
    await page.evaluate("other.logout()")
    await until(page, "auth.user === null")


async def test_addresses_are_compared_as_the_browser_reads_them(profile: Profile, server: ServerProcess):
    """Relative ones and capitals are the same API; other ports, names, blobs and such are not, and send nothing."""
    page = await logged_in(profile)
    port = server.port
    for good in ("'me'", "'/me'", f"'HTTP://127.0.0.1:{port}/x/../me'", f"new URL('{server.url}/me')"):
        assert await page.evaluate(f"auth.fetch({good}, null).then((answer) => answer.status)") == 200, good
    before = len(profile.sent)
    blob = "URL.createObjectURL(new Blob(['x']))"
    for bad in (
        f"'http://127.0.0.1:{port + 1}/me'",
        f"'http://localhost:{port}/me'",
        f"'http://ada:x@127.0.0.1:{port}/me'",
        blob,
    ):
        assert (await told(page, f"auth.fetch({bad})"))["error"] == "TypeError", bad
    assert len(profile.sent) == before
    for bad in ("data:,x", "ftp://127.0.0.1", "orders"):
        opened = f"new Promise((opened) => opened(open_client({{ apis: ['{bad}'] }})))"
        assert (await told(page, opened))["error"] == "TypeError", bad


async def test_requests_are_what_they_are_for_fetch(profile: Profile):
    """A `Request` goes out with its body; one that was used, or was called off, does not."""
    page = await logged_in(profile)
    await profile.answer("/orders", status=200, body="{}", headers={})
    await page.evaluate(
        "window.order = () => new Request('/orders', { method: 'PUT', body: 'one', headers: { A: 'b' } })"
    )
    assert await page.evaluate("auth.fetch(order()).then((answer) => answer.status)") == 200
    sent = orders(profile)[0]
    assert (sent.post_data, sent.headers["a"]) == ("one", "b")
    used = "(async () => { const used = order(); await used.text(); return auth.fetch(used); })()"
    assert (await told(page, used))["error"] == "TypeError"
    off = "auth.fetch(order(), { signal: AbortSignal.abort() })"
    assert (await told(page, off))["error"] == "AbortError"
    assert len(orders(profile)) == 1


async def test_a_redirect_can_be_allowed(profile: Profile):
    """With `redirect: "follow"` the answer is that of the place where the call was sent on to."""
    page = await profile.tab()
    await page.evaluate(f"window.auth = open_client({{ apis: ['{profile.neighbour.url}'] }})")
    await page.evaluate(LOGIN)
    moved = f"{profile.neighbour.url}/moved?to=/elsewhere"
    assert (
        await page.evaluate(f"auth.fetch('{moved}', {{ redirect: 'follow' }}).then((answer) => answer.status)") == 200
    )
    assert profile.neighbour.authorizations[-1][0] == "/elsewhere"


async def test_the_password_changes_though_the_token_was_revoked(profile: Profile, server: ServerProcess):
    """A token that has ended early, since the role has changed, does not stand in the way."""
    page = await profile.tab()
    await page.evaluate(f"auth.login('Bob', '{PASSWORD}')")
    end_early(server, await page.evaluate("auth.token()"))
    assert (await page.evaluate(f"auth.changePassword('{PASSWORD}', '{PASSWORD}-2')"))["role"] == "editor"
    await page.evaluate(f"auth.changePassword('{PASSWORD}-2', '{PASSWORD}')")
    server.command("users", "set-role", "Bob", "user")


async def test_a_password_that_was_changed_is_changed_whatever_follows(profile: Profile, server: ServerProcess):
    """When the token for the audience cannot be had right after, the change is no failure, and calls go on later."""
    page = await profile.tab()
    await page.evaluate(f"window.auth = open_client({{ audience: '{AUDIENCE}' }})")
    await page.evaluate(f"auth.login('Bob', '{PASSWORD}')")

    async def then_break(route: Route) -> None:
        await profile.answer("/refresh", **BUSY)
        await route.continue_()

    await profile.context.route(f"{server.url}/password", then_break)
    assert (await page.evaluate(f"auth.changePassword('{PASSWORD}', '{PASSWORD}-2')"))["name"] == "Bob"
    assert (await told(page, "auth.token()"))["code"] == "storage_unavailable"
    await profile.let_through("/refresh")
    await profile.let_through("/password")
    await pass_time(page, 5)
    assert claims(await page.evaluate("auth.token()"))["aud"] == AUDIENCE
    await page.evaluate(f"auth.changePassword('{PASSWORD}-2', '{PASSWORD}')")
