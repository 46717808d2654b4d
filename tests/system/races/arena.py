"""Where requests race: real servers on one database, somebody who operates them, and people with two devices each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any, Final

import httpx2

from tests.system.server_process import LONGEST_WAIT, PAUSE, ServerProcess
from tests.system.visitor import COOKIE, cookie_in
from tokenkeep.jose import jwt
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

FIREFOX: Final = "Firefox"
SPREAD: Final = 3.0
"""Seconds in which every process must know of an end; how fast it really is, is tested elsewhere."""


@dataclass(frozen=True)
class Hold:
    """A pair of tokens that somebody was handed."""

    access: str
    cookie: str

    @classmethod
    def of(cls, answer: httpx2.Response) -> Hold:
        """Return the pair in an answer."""
        cookie = cookie_in(answer)
        assert cookie is not None
        return cls(answer.json()["accessToken"], cookie)

    @property
    def session(self) -> str:
        """The session that it belongs to."""
        return str(jwt.decode_unverified(self.access).claims["sid"])

    @property
    def version(self) -> int:
        """The version of the account's tokens."""
        return int(jwt.decode_unverified(self.access).claims["ver"])

    @property
    def role(self) -> str:
        """The role that it shows."""
        return str(jwt.decode_unverified(self.access).claims["role"])


@dataclass
class Person:
    """Somebody with an account, and with every pair that they were ever handed."""

    name: str
    password: str
    holds: list[Hold] = field(default_factory=list)


class Arena:
    """Sends requests to the servers in turn, each over a connection that keeps no cookie."""

    number: Final = count()

    def __init__(
        self, servers: Sequence[ServerProcess], operator: AuthServer, transport: httpx2.AsyncHTTPTransport
    ) -> None:
        self.servers = servers
        self.operator = operator
        self._transport = transport
        self._turns = cycle(servers)

    async def ask(
        self, method: str, path: str, *, server: ServerProcess | None = None, agent: str = FIREFOX, **sent: Any
    ) -> httpx2.Response:
        """Send a request and return the answer, which must be a decision: neither an error nor an excuse.

        Args:
            server: whom to ask; whose turn it is when None.
            sent: `cookie`, `access` and `json`, each if there is one.
        """
        headers = {"User-Agent": agent}
        if sent.get("cookie"):
            headers["Cookie"] = f"{COOKIE}={sent['cookie']}"
        if sent.get("access"):
            headers["Authorization"] = f"Bearer {sent['access']}"
        url = f"{(server or next(self._turns)).url}{path}"
        request = httpx2.Request(method, url, headers=headers, json=sent.get("json"))
        async with asyncio.timeout(LONGEST_WAIT):
            answer = await self._transport.handle_async_request(request)
            await answer.aread()
        assert answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    async def add(self, *, role: str = "user") -> Person:
        """Return somebody new."""
        person = Person(f"Racer {next(self.number)}", "correct-horse-battery")
        await self.operator.accounts.create(person.name, person.password, role=role, actor="operator")
        return person

    async def login(self, person: Person, *, over: Hold | None = None, agent: str = FIREFOX) -> Hold | None:
        """Log in, where a session may be already; None if it was refused."""
        credentials = {"name": person.name, "password": person.password}
        cookie = over.cookie if over else None
        return self._keep(person, await self.ask("POST", "/login", json=credentials, cookie=cookie, agent=agent))

    async def refresh(self, person: Person, hold: Hold, *, agent: str = FIREFOX) -> Hold | None:
        """Refresh; None if it was refused."""
        return self._keep(person, await self.ask("POST", "/refresh", cookie=hold.cookie, agent=agent))

    async def sign_in(self, person: Person) -> Hold:
        """Log in, which must succeed."""
        hold = await self.login(person)
        assert hold is not None
        return hold

    async def opens(self, hold: Hold, server: ServerProcess) -> bool:
        """Tell whether a server accepts an access token."""
        return (await self.ask("GET", "/me", access=hold.access, server=server)).status_code == 200

    async def until(self, hold: Hold, server: ServerProcess, *, opens: bool) -> None:
        """Return when a server accepts an access token, or refuses it, as it must once it can know."""
        deadline = time.monotonic() + SPREAD
        while await self.opens(hold, server) != opens:
            assert time.monotonic() < deadline, f"an access token is {'refused' if opens else 'accepted'}"
            await asyncio.sleep(PAUSE)

    async def check_dead(self, holds: Sequence[Hold]) -> None:
        """Fail if any token of these is good for anything, on any server, once all can know of the end."""
        for hold in holds:
            for server in self.servers:
                assert (await self.ask("POST", "/refresh", cookie=hold.cookie, server=server)).status_code == 401
                await self.until(hold, server, opens=False)

    async def check_alive(self, person: Person, hold: Hold) -> Hold:
        """Fail unless both tokens are good on every server; returns the next pair."""
        for server in self.servers:
            assert await self.opens(hold, server)
        renewed = await self.refresh(person, hold)
        assert renewed is not None
        return renewed

    def _keep(self, person: Person, answer: httpx2.Response) -> Hold | None:
        if answer.status_code != 200:
            assert answer.status_code == 401
            return None
        person.holds.append(Hold.of(answer))
        return person.holds[-1]


async def gather(
    attempts: Sequence[Coroutine[Any, Any, Any]], between: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Make all attempts at once, and let something happen as soon as the first of them is through."""
    tasks = [asyncio.create_task(attempt) for attempt in attempts]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await between()
    await asyncio.gather(*tasks)


def operator_settings(server: ServerProcess, **settings: Any) -> Settings:
    """Return the settings with which a command beside the server opens its data."""
    return Settings(issuer=server.url, data_dir=server.data, **settings)
