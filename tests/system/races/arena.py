"""Where requests race: real servers on one database, somebody who operates them, and people with two devices each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any, Final

import httpx2

from tests.system.server_process import LONGEST_WAIT, PAUSE, ServerProcess
from tests.system.visitor import COOKIE, cookie_in
from tests.system.workers import SPREAD, Worker, workers_of
from tokenkeep.jose import jwt
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

FIREFOX: Final = "Firefox"


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
        self._workers: dict[int, list[Worker]] = {}
        self._open = ExitStack()

    def workers(self) -> list[Worker]:
        """Return every process of every server."""
        for server in self.servers:
            if server.pid not in self._workers:
                self._workers[server.pid] = self._open.enter_context(workers_of(server))
        return [worker for server in self.servers for worker in self._workers[server.pid]]

    def close(self) -> None:
        """Hang up on all of them."""
        self._open.close()

    async def ask(
        self, method: str, path: str, *, worker: Worker | None = None, agent: str = FIREFOX, **sent: Any
    ) -> httpx2.Response:
        """Send a request and return the answer, which must be a decision: neither an error nor an excuse.

        Args:
            worker: whom to ask; when None, whoever answers for the server whose turn it is.
            sent: `cookie`, `access` and `json`, each if there is one.
        """
        headers = {"User-Agent": agent}
        if sent.get("cookie"):
            headers["Cookie"] = f"{COOKIE}={sent['cookie']}"
        if sent.get("access"):
            headers["Authorization"] = f"Bearer {sent['access']}"
        if worker is not None:
            answer = await asyncio.to_thread(worker.request, method, path, headers=headers, json=sent.get("json"))
        else:
            answer = await self._send(method, path, headers, sent.get("json"))
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

    async def opens(self, hold: Hold, worker: Worker) -> bool:
        """Tell whether a process accepts an access token."""
        return (await self.ask("GET", "/me", access=hold.access, worker=worker)).status_code == 200

    async def until(self, hold: Hold, worker: Worker, *, opens: bool) -> None:
        """Return when a process accepts an access token, or refuses it, as it must once it can know."""
        deadline = time.monotonic() + SPREAD
        while await self.opens(hold, worker) != opens:
            assert time.monotonic() < deadline, f"an access token is {'refused' if opens else 'accepted'}"
            await asyncio.sleep(PAUSE)

    async def check_dead(self, holds: Sequence[Hold]) -> None:
        """Fail if any token of these is good for anything, in any process, once all can know of the end."""
        for hold in holds:
            for worker in self.workers():
                assert (await self.ask("POST", "/refresh", cookie=hold.cookie, worker=worker)).status_code == 401
                await self.until(hold, worker, opens=False)

    async def check_alive(self, person: Person, hold: Hold) -> Hold:
        """Fail unless both tokens are good in every process; returns the next pair."""
        for worker in self.workers():
            assert await self.opens(hold, worker)
        renewed = await self.refresh(person, hold)
        assert renewed is not None
        return renewed

    async def _send(self, method: str, path: str, headers: dict[str, str], json: Any) -> httpx2.Response:
        request = httpx2.Request(method, f"{next(self._turns).url}{path}", headers=headers, json=json)
        async with asyncio.timeout(LONGEST_WAIT):
            answer = await self._transport.handle_async_request(request)
            await answer.aread()
        return answer

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
