"""Several tabs of one origin: one refresh for all of them, and all know who is logged in."""

from __future__ import annotations

import asyncio

from playwright.async_api import Page

from tests.browser.conftest import AUDIENCE, LONGEST_WAIT, PASSWORD, Profile, until
from tests.browser.test_client import AFTER_ITS_END, LOGIN, claims, pass_time, told
from tests.system.server_process import ServerProcess


async def in_all(tabs: list[Page], expression: str) -> list[object]:
    """Evaluate something in all tabs at once."""
    return await asyncio.gather(*(tab.evaluate(expression) for tab in tabs))


async def shows(page: Page, name: str | None) -> None:
    """Return once a page shows who is logged in."""
    wanted = "null" if name is None else f"'{name}'"
    await until(page, f"(auth.user && auth.user.name) === {wanted}")


async def test_five_tabs_refresh_once(profile: Profile, server: ServerProcess):
    """Ten calls in each of five tabs, made when the token has ended, all succeed with one refresh."""
    tabs = [await profile.tab() for _ in range(5)]
    await tabs[0].evaluate(LOGIN)
    for tab in tabs:
        await shows(tab, "Ada")
        await pass_time(tab, AFTER_ITS_END)
    calls = f"Promise.all([...Array(10)].map(() => auth.fetch('{server.url}/me').then((answer) => answer.status)))"
    assert await in_all(tabs, calls) == [[200] * 10] * 5
    assert profile.posts("/refresh") == 1
    assert len(set(await in_all(tabs, "auth.token()"))) == 1


async def test_a_new_tab_is_told_by_an_old_one(profile: Profile):
    """A tab that opens beside another takes its token over as soon as it answers, and asks the server for nothing."""
    first = await profile.tab()
    await first.evaluate(LOGIN)
    second = await profile.tab()
    await second.evaluate("() => { window.setTimeout = () => 0; }")
    async with asyncio.timeout(LONGEST_WAIT):
        assert (await second.evaluate("auth.restore()"))["name"] == "Ada"
    assert await second.evaluate("auth.token()") == await first.evaluate("auth.token()")
    assert profile.posts("/refresh") == 0


async def test_a_tab_that_does_not_answer_is_not_waited_for_long(profile: Profile):
    """Beside a tab that holds nothing, a tab refreshes by itself."""
    first, second = await profile.tab(), await profile.tab()
    await first.evaluate(LOGIN)
    await shows(second, "Ada")
    await pass_time(first, AFTER_ITS_END)
    await pass_time(second, AFTER_ITS_END)
    async with asyncio.timeout(LONGEST_WAIT):
        assert await first.evaluate("auth.token()")
    assert profile.posts("/refresh") == 1


async def test_logging_out_in_one_tab_ends_it_in_all(profile: Profile, server: ServerProcess):
    """The other tab shows at once that nobody is logged in, and sends nothing any more."""
    first, second = await profile.tab(), await profile.tab()
    await first.evaluate(LOGIN)
    await shows(second, "Ada")
    await first.evaluate("auth.logout()")
    await shows(second, None)
    assert (await told(second, f"auth.fetch('{server.url}/me')"))["code"] == "logged_out"
    assert await second.evaluate("auth.changes") == ["Ada", None]


async def test_another_login_shows_in_all_tabs(profile: Profile, server: ServerProcess):
    """When somebody else logs in, no tab goes on as the one before."""
    first, second = await profile.tab(), await profile.tab()
    await first.evaluate(LOGIN)
    await shows(second, "Ada")
    await second.evaluate(f"auth.login('Bob', '{PASSWORD}')")
    await shows(first, "Bob")
    me = f"auth.fetch('{server.url}/me').then((answer) => answer.json())"
    assert (await first.evaluate(me))["name"] == "Bob"


async def test_a_login_for_one_audience_shows_in_clients_for_others(profile: Profile):
    """A client for another audience shows who it is, forgets the token of the session before, and gets its own."""
    first, second = await profile.tab(), await profile.tab()
    await first.evaluate(f"window.auth = open_client({{ audience: '{AUDIENCE}' }})")
    await first.evaluate(LOGIN)
    await second.evaluate(f"auth.login('Bob', '{PASSWORD}')")
    await shows(first, "Bob")
    token = claims(await first.evaluate("auth.token()"))
    assert (token["name"], token["aud"]) == ("Bob", AUDIENCE)
