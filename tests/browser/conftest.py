"""A real browser, a real server, and pages of two origins that use the browser client."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Request, Route, async_playwright

from tests.browser.neighbour import PAGE, POLICY, SCRIPT, Neighbour
from tests.ports import free_port
from tests.system.server_process import ServerProcess, wait_until

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in BROWSERS if (found := shutil.which(name))), None)
# Some pages are made up on their way into the browser, which asks people before these may reach this machine.
ARGUMENTS = ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"]
PASSWORD = "correct-horse-battery"
AUDIENCE = "https://orders.example.com"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and skip it where there is no browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for mark in (pytest.mark.browser, pytest.mark.system, pytest.mark.xdist_group("system")):
                item.add_marker(mark)
            # The browser of a module lives in one event loop with the module's tests.
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason=f"no browser: none of {', '.join(BROWSERS)} is installed"))


LONGEST_WAIT = 60.0
"""Seconds that are only waited out where something has failed."""


async def until(page: Page, condition: str) -> None:
    """Return once an expression, or what it promises, is true in a page; its policy forbids Playwright's own way."""
    look = f"async () => {{ while (!(await ({condition}))) await new Promise((go) => setTimeout(go, 10)); }}"
    async with asyncio.timeout(LONGEST_WAIT):
        await page.evaluate(look)


def end_early(server: ServerProcess, token: str) -> None:
    """Have an access token of Bob's end before its time, by another role; return when the server refuses it."""
    server.command("users", "set-role", "Bob", "editor")
    bearer = {"Authorization": f"Bearer {token}"}
    wait_until(lambda: server.request("GET", "/me", headers=bearer).status_code == 401, "the token is refused")


class Profile:
    """One browser profile: its tabs share cookies and, origin by origin, a session."""

    def __init__(self, context: BrowserContext, server: ServerProcess, neighbour: Neighbour) -> None:
        self.context = context
        self.neighbour = neighbour
        self._server = server
        self.sent: list[Request] = []
        self.complaints: list[str] = []
        """What went wrong in a page and nobody caught."""
        context.on("request", lambda request: self.sent.append(request))  # noqa: PLW0108  (it takes no built-in)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    async def tab(self, origin: str | None = None) -> Page:
        """Open the page in another tab; at the issuer's own origin unless another is named."""
        page = await self.context.new_page()
        await page.goto(f"{origin or self._server.url}/page")
        await until(page, "window.auth !== undefined")
        return page

    def posts(self, path: str) -> int:
        """Return how many POST requests to a path of the server were sent."""
        return sum(each.method == "POST" and urlsplit(each.url).path == path for each in self.sent)

    async def answer(self, path: str, *, status: int, body: str, headers: dict[str, str]) -> None:
        """Have requests to a path of the server answered in its place, until `unroute`."""

        async def fulfil(route: Route) -> None:
            await route.fulfill(status=status, body=body, content_type="application/problem+json", headers=headers)

        await self.context.route(self._server.url + path, fulfil)

    async def let_through(self, path: str) -> None:
        """Have the server answer by itself again."""
        await self.context.unroute(self._server.url + path)

    @asynccontextmanager
    async def held_up(self, path: str) -> AsyncIterator[asyncio.Event]:
        """Hold requests to a path of the server up until the block is left; the event tells that one has come."""
        came, left = asyncio.Event(), asyncio.Event()

        async def hold(route: Route) -> None:
            came.set()
            await left.wait()
            await route.continue_()

        await self.context.route(self._server.url + path, hold)
        try:
            yield came
        finally:
            await self.let_through(path)
            left.set()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with two accounts, which allows the neighbour's origin."""
    neighbour = f"http://127.0.0.1:{free_port()}"
    directory = tmp_path_factory.mktemp("browser")
    with ServerProcess(directory, allowed_origins=neighbour, audiences=AUDIENCE) as process:
        process.start()
        process.add_user("Ada", PASSWORD, role="admin")
        process.add_user("Bob", PASSWORD)
        yield process


@pytest.fixture(scope="module")
def neighbour(server: ServerProcess) -> Iterator[Neighbour]:
    """Pages and an API of another origin on the same site."""
    allowed = server.arguments[server.arguments.index("--allowed-origins") + 1]
    with Neighbour(urlsplit(allowed).port or 0, issuer=server.url) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """The browser; each test has a profile of its own in it."""
    async with async_playwright() as playwright:
        yield await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


@pytest_asyncio.fixture(loop_scope="module")
async def profile(browser: Browser, server: ServerProcess, neighbour: Neighbour) -> AsyncIterator[Profile]:
    """A fresh browser profile."""
    context = await browser.new_context()
    context.set_default_timeout(30_000)
    policy = POLICY.format(issuer=server.url)

    async def page(route: Route) -> None:
        headers = {"Content-Security-Policy": policy}
        await route.fulfill(body=PAGE, content_type="text/html", headers=headers)

    async def script(route: Route) -> None:
        await route.fulfill(body=SCRIPT.format(issuer=server.url), content_type="text/javascript")

    await context.route(f"{server.url}/page", page)
    await context.route(f"{server.url}/page.js", script)
    neighbour.authorizations.clear()
    yield Profile(context, server, neighbour)
    await context.close()
