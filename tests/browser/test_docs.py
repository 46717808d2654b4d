"""The page of docs/browser.md, as it stands there, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.async_api import Route

from tests.browser.conftest import PASSWORD, Profile
from tests.browser.neighbour import POLICY
from tests.system.server_process import ServerProcess

TEXT = Path(__file__).parents[2].joinpath("docs/browser.md").read_text("utf-8")
HTML, SCRIPT = (re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL) for language in ("html", "js"))


async def test_the_page_of_the_docs_works(profile: Profile, server: ServerProcess):
    """Wrong password, login, reload, outage, logout: the page shows each, and its strict policy holds."""
    assert HTML is not None
    assert SCRIPT is not None
    files = {
        "shop": (HTML[1], "text/html"),
        "shop.js": (SCRIPT[1].replace("https://auth.example.com", server.url), "text/javascript"),
    }

    async def serve(route: Route) -> None:
        body, media_type = files[route.request.url.rpartition("/")[2]]
        headers = {"Content-Security-Policy": POLICY.format(issuer=server.url)}
        await route.fulfill(body=body, content_type=media_type, headers=headers)

    await profile.context.route(re.compile(r".*/shop(\.js)?$"), serve)
    page = await profile.context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{server.url}/shop")
    await page.get_by_label("Name").fill("Ada")
    await page.get_by_label("Password").fill("not-the-password")
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("alert").get_by_text("Invalid credentials").wait_for()
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_text('"role":"admin"').wait_for()
    await page.reload()
    await page.get_by_text("Hello, Ada").wait_for()
    await profile.answer("/logout", status=503, body='{"error":"Try again later"}', headers={})
    await page.get_by_role("button", name="Log out").click()
    await page.get_by_role("alert").get_by_text("Try again later").wait_for()
    await profile.let_through("/logout")
    await page.get_by_role("button", name="Log out").click()
    await page.get_by_label("Password").wait_for()
    assert not complaints
