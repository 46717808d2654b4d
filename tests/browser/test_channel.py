"""What tabs tell each other: what is believed, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.conftest import AUDIENCE, PASSWORD, Profile, until
from tests.browser.test_client import AFTER_ITS_END, LATER, LOGIN, claims, pass_time, token_of, told
from tests.browser.test_tabs import shows
from tests.system.server_process import ServerProcess

REVOKED = {"status": 401, "body": "", "headers": {"WWW-Authenticate": 'Bearer error="invalid_token"'}}


async def listens(page: Page, server: ServerProcess) -> None:
    """Have a page note what its client and other tabs say, as `heard`, and able to speak itself, by `channel`."""
    await page.evaluate(
        f"() => {{ window.heard = []; window.channel = new BroadcastChannel('tokenkeep {server.url}');"
        "channel.onmessage = ({ data }) => heard.push(data); }"
    )


async def says(page: Page, *messages: Any) -> None:
    """Say something on the channel, and return when the clients of the page have heard it."""
    marker = "{ kind: 'marker' }"
    await page.evaluate(
        f"""async () => {{
            const last = new BroadcastChannel(channel.name);
            const heard = new Promise((resolve) => {{
                last.onmessage = ({{ data }}) => data?.kind === "marker" && resolve();
            }});
            for (const message of {json.dumps(messages)}) channel.postMessage(message);
            channel.postMessage({marker});
            await heard;
            last.close();
        }}"""
    )


def answered_late(began: dict[str, Any]) -> dict[str, Any]:
    """Return what a tab says when asked, that refreshed right after this beginning and has heard nothing since."""
    kept = {name: began[name] for name in ("token", "user", "renewAt", "expiresAt")}
    return {"kind": "held", "order": began["order"] + 1, **kept}


async def test_a_late_answer_does_not_bring_a_session_back(profile: Profile, server: ServerProcess):
    """What a tab held before a logout, and says after it since it was asleep, is not believed."""
    first, second = await profile.tab(), await profile.tab()
    await listens(second, server)
    await first.evaluate(LOGIN)
    await shows(second, "Ada")
    await until(second, "heard.length === 1")
    old = await second.evaluate("heard[0]")
    await first.evaluate("auth.logout()")
    await shows(second, None)
    await says(second, answered_late(old))
    assert await second.evaluate("auth.user") is None
    assert await second.evaluate("auth.changes") == ["Ada", None]


async def test_a_late_answer_does_not_replace_who_is_logged_in(profile: Profile, server: ServerProcess):
    """What a tab held before another login, for this audience or for another one, is not believed after it."""
    page, other = await profile.tab(), await profile.tab()
    await listens(page, server)
    await other.evaluate(LOGIN)
    await until(page, "heard.length === 1")
    old = await page.evaluate("heard[0]")
    await page.evaluate(f"auth.login('Bob', '{PASSWORD}')")
    await says(page, answered_late(old))
    assert (await page.evaluate("auth.user"))["name"] == "Bob"
    newer = await page.evaluate("heard.find(({ user }) => user?.name === 'Bob')")
    await other.evaluate(f"window.auth = open_client({{ audience: '{AUDIENCE}' }})")
    await other.evaluate(LOGIN)
    await shows(page, "Ada")
    await says(page, answered_late(newer))
    assert (await page.evaluate("auth.user"))["name"] == "Ada"


@pytest.mark.parametrize("kind", ["held", "began"])
async def test_what_is_not_whole_breaks_nothing(profile: Profile, server: ServerProcess, kind: str):
    """Messages of other versions of the client, and of anybody else on the channel, are left, and calls go on."""
    page = await profile.tab()
    await listens(page, server)
    await page.evaluate(LOGIN)
    await says(page, None, 5, "ended", [], {}, {"kind": "unknown"}, {"kind": "ask", "audience": 7})
    whole = {"kind": kind, "token": "x", "user": {"id": "1"}, "order": 1e15, "renewAt": 1e15, "expiresAt": 1e15}
    for name in sorted(whole.keys() - {"kind"}):
        for broken in ({key: value for key, value in whole.items() if key != name}, whole | {name: None}):
            await says(page, broken)
            assert claims(await page.evaluate("auth.token()"))["name"] == "Ada", broken
    assert (await page.evaluate("auth.user"))["name"] == "Ada"
    assert not profile.complaints


async def test_tokens_stay_with_their_audience(profile: Profile, server: ServerProcess):
    """No client takes a token for another audience, nor is one that asks for another given what is held."""
    page = await profile.tab()
    await listens(page, server)
    await page.evaluate(LOGIN)
    token = await page.evaluate("auth.token()")
    later = {"order": 1e14, "renewAt": 1e15, "expiresAt": 1e15}
    await says(page, {"kind": "held", "audience": AUDIENCE, "token": "x", "user": {"id": "1"}, **later})
    assert await page.evaluate("auth.token()") == token
    await page.evaluate("heard.length = 0")
    await says(page, {"kind": "ask", "audience": AUDIENCE}, {"kind": "ask"})
    await until(page, "heard.length > 0")
    assert [(each["kind"], each["token"]) for each in await page.evaluate("heard")] == [("held", token)]


async def test_clients_for_several_audiences_each_get_their_own(profile: Profile, server: ServerProcess):
    """Beside a client for another audience that refreshes, a client keeps to tokens for its own."""
    first, second = await profile.tab(), await profile.tab()
    await first.evaluate(f"window.auth = open_client({{ audience: '{AUDIENCE}' }})")
    await listens(second, server)
    await first.evaluate(LOGIN)
    await shows(second, "Ada")
    await pass_time(first, LATER)
    await first.evaluate("auth.token()")
    await until(second, "heard.some(({ kind }) => kind === 'held')")
    await says(second)
    assert claims(await second.evaluate("auth.token()"))["aud"] == server.url
    assert claims(await first.evaluate("auth.token()"))["aud"] == AUDIENCE


async def test_a_login_for_another_audience_leaves_no_call_without_token(profile: Profile, server: ServerProcess):
    """A call that is about to go on with its old token, when another session begins, waits for a token of that one."""
    page = await profile.tab()
    await listens(page, server)
    await page.evaluate(LOGIN)
    await until(page, "auth.user !== null")
    old = await page.evaluate("auth.token()")
    await pass_time(page, LATER)
    await page.evaluate("() => { window.setTimeout = (go) => { window.lose = go; }; }")
    other = {"token": "x", "user": {"id": "1"}, "order": 1, "renewAt": 1e15, "expiresAt": 1e15}
    async with profile.held_up("/refresh") as came:
        await page.evaluate("void (window.pending = auth.token())")
        await came.wait()
        await says(page, {"kind": "began", "audience": AUDIENCE, **other})
        await page.evaluate("lose()")
    token = await page.evaluate("pending")
    assert token != old
    assert claims(token)["name"] == "Ada"


async def test_a_token_that_is_due_is_not_handed_on(profile: Profile, server: ServerProcess):
    """Whoever asks is not answered with a token that is to be replaced, nor takes one over that another tab says."""
    page = await profile.tab()
    await listens(page, server)
    await page.evaluate(LOGIN)
    token = await page.evaluate("auth.token()")
    await says(
        page, {"kind": "held", "token": "x", "user": {"id": "1"}, "order": 1e14, "renewAt": 1, "expiresAt": 1e15}
    )
    assert await page.evaluate("auth.token()") == token
    await pass_time(page, AFTER_ITS_END)
    await page.evaluate("heard.length = 0")
    await says(page, {"kind": "ask"})
    await says(page)
    assert await page.evaluate("heard") == []


async def test_a_logout_for_one_audience_is_one_for_all(profile: Profile):
    """The session is one, whatever audiences its tokens are for."""
    first, second = await profile.tab(), await profile.tab()
    await first.evaluate(f"window.auth = open_client({{ audience: '{AUDIENCE}' }})")
    await first.evaluate(LOGIN)
    await shows(second, "Ada")
    await second.evaluate("auth.logout()")
    await shows(first, None)


async def test_an_end_that_a_refresh_finds_shows_in_all_tabs(profile: Profile):
    """When the server knows of no session any more, no tab goes on showing one."""
    first, second = await profile.tab(), await profile.tab()
    await first.evaluate(LOGIN)
    await shows(second, "Ada")
    await profile.context.clear_cookies()
    await pass_time(first, AFTER_ITS_END)
    await pass_time(second, AFTER_ITS_END)
    assert (await told(first, "auth.token()"))["code"] == "logged_out"
    await shows(second, None)


async def test_a_token_that_one_tab_gets_is_everybodys(profile: Profile):
    """After a refresh in one tab the others have its token, though they asked for nothing, and clocks were put back."""
    first, second = await profile.tab(), await profile.tab()
    await first.evaluate(LOGIN)
    await shows(second, "Ada")
    old = await second.evaluate("auth.token()")
    for tab in (first, second):
        await pass_time(tab, -3600)
    await profile.answer("/orders", **REVOKED)
    await first.evaluate("auth.fetch('/orders')")
    new = await first.evaluate("auth.token()")
    assert new != old
    await until(second, f"auth.token().then((token) => token === '{new}')")
    assert profile.posts("/refresh") == 1
    for tab in (first, second):
        assert await tab.evaluate("auth.changes") == ["Ada"]


async def test_who_is_alone_asks_nobody(profile: Profile, server: ServerProcess):
    """Without another tab, a client does not wait for answers; one for another audience in its page is no other tab."""
    page = await profile.tab()
    await page.evaluate(LOGIN)
    await page.reload()
    await until(page, "window.auth !== undefined")
    await page.evaluate(f"window.other = open_client({{ audience: '{AUDIENCE}' }})")
    await listens(page, server)
    await page.evaluate("auth.restore()")
    await says(page)
    assert "ask" not in [each["kind"] for each in await page.evaluate("heard")]
    await profile.tab()
    await pass_time(page, AFTER_ITS_END)
    await page.evaluate("auth.token()")
    await until(page, "heard.some(({ kind }) => kind === 'ask')")


async def test_who_is_logged_in_cannot_be_altered(profile: Profile):
    """`user` is frozen, in the tab of the login and in others."""
    first, second = await profile.tab(), await profile.tab()
    await first.evaluate(LOGIN)
    await shows(second, "Ada")
    for page in (first, second):
        assert await page.evaluate("Object.isFrozen(auth.user)")


async def test_names_are_of_any_script(profile: Profile):
    """Claims are read as UTF-8, whatever characters of the token's alphabet that takes."""
    page = await profile.tab()
    name = "Åsa 名 ~~???>>>"
    token = token_of(sub="1", name=name, role="user")
    assert "_" in token
    assert "-" in token
    fresh = json.dumps({"accessToken": token, "expiresIn": 900})
    await profile.answer("/login", status=200, body=fresh, headers={})
    assert (await page.evaluate(LOGIN))["name"] == name
