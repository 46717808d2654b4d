"""People who use a server that dies under them, and remember what they were told.

Each has an account of their own and does one thing after the other, so that what must be stored follows from the
answers. What went unanswered may or may not have happened, wholly.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import argon2
import httpx2

from tests.system.recovery.consistency import offences
from tests.system.server_process import LONGEST_WAIT, ServerProcess
from tests.system.surroundings.spoken import Command, started
from tests.system.visitor import COOKIE, cookie_in
from tokenkeep.contract.access_token import from_claims
from tokenkeep.domain.sessions import RefreshToken
from tokenkeep.jose import jwt

AGENT: Final = "somebody's browser"
_REFUSED: Final = frozenset({503})
_UNTOLD: Final = 255


class Unanswered(Exception):
    """The server or the command died before it had answered."""


class NotAsked(Exception):
    """Nobody listened any more; the request was never sent."""


@dataclass
class Access:
    """An access token and what became of it; None: that is not known."""

    text: str
    version: int
    alive: bool | None = True


@dataclass
class Login:
    """A session as its owner knows it."""

    cookie: str
    accesses: list[Access] = field(default_factory=list)
    alive: bool | None = True
    refreshed_unanswered: bool = False
    settled: bool = False
    id: str = ""

    def __post_init__(self) -> None:
        self.id = RefreshToken.parse(self.cookie).session_id

    @property
    def generation(self) -> int:
        """The generation of the newest refresh token that was handed out."""
        return RefreshToken.parse(self.cookie).generation

    def end(self, *, known: bool) -> None:
        """Remember that the session was ended, or may have been, and its access tokens with it."""
        self.alive = False if known else None
        self.end_accesses(known=known)

    def end_accesses(self, *, known: bool) -> None:
        """Remember that the access tokens were ended, or may have been."""
        for access in self.accesses:
            if access.alive is not False:
                access.alive = False if known else None


class Person:
    """One account, its sessions, and what is known of them."""

    def __init__(self, server: ServerProcess, name: str, password: str, seed: int) -> None:
        self._server = server
        self.name = name
        self.password: str = password
        self.possible_passwords = [password]
        self.disabled: bool | None = False
        self.logins: list[Login] = []
        self.unknown_logins = 0
        self.told: Counter[str] = Counter()
        self.command: Command | None = None
        self._random = random.Random(f"{seed} {name}")
        self._passwords = 0

    def act(self, client: httpx2.Client) -> str:
        """Do one thing, chosen at random among what can be done; returns its name.

        Raises:
            Unanswered: the answer never came.
            NotAsked: the request was never sent.
        """
        live = [login for login in self.logins if login.alive]
        if self.disabled:
            name = "enable"
        elif not live:
            name = "login"
        else:
            name = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        _DOING[name](self, client)
        return name

    def check_stored(self, connection: sqlite3.Connection) -> None:
        """Compare what was answered with what is stored, and learn what became of the rest."""
        account = connection.execute("SELECT * FROM accounts WHERE name = ?", [self.name]).fetchone()
        assert self.disabled is None or (account["disabled_at"] is not None) == self.disabled, self.name
        self.disabled = account["disabled_at"] is not None
        self._learn_password(account["password_hash"])
        rows = connection.execute("SELECT * FROM sessions WHERE account_id = ?", [account["id"]]).fetchall()
        stored = {row["id"]: row for row in rows}
        for login in self.logins:
            row = stored.pop(login.id)
            ended = row["revoked_at"] is not None
            assert login.alive is None or login.alive is not ended, (self.name, dict(row))
            login.alive = not ended
            assert row["generation"] in {login.generation, login.generation + login.refreshed_unanswered}, dict(row)
            for access in login.accesses:
                dead = ended or access.version < account["token_version"]
                assert access.alive is None or access.alive is not dead, (self.name, dict(row), dict(account))
                access.alive = not dead
        # What is left was opened by logins that went unanswered, and never used.
        assert len(stored) <= self.unknown_logins
        assert all(row["generation"] == 0 for row in stored.values())

    def check_served(self, client: httpx2.Client, *, every: bool) -> int:
        """Compare what is known with what a restarted server answers; returns how many answers were looked at.

        Args:
            every: whether everything is looked at: also sessions that have been found dead before, and those that
                live and in which nothing was left open.
        """
        looked_at = 0
        for login in self.logins:
            if login.settled and not every:
                continue
            login.settled = not login.alive
            for access in login.accesses:
                answer = client.get("/me", headers={"Authorization": f"Bearer {access.text}"})
                assert answer.status_code == (200 if access.alive else 401), (self.name, login, answer.text)
                looked_at += 1
            if login.alive and (every or login.refreshed_unanswered):
                self._refresh(client, login)
                looked_at += 1
            elif not login.alive:
                answer = self._post(client, "/refresh", cookie=login.cookie)
                assert answer.json()["code"] == "no_valid_refresh_token", answer.text
                looked_at += 1
        return looked_at

    def login(self, client: httpx2.Client) -> None:
        """Log in, now and then in the place of an older session, whose end is one with the beginning of the new."""
        replaced = next((login for login in self.logins if login.alive), None) if self._random.random() < 0.3 else None
        try:
            body = {"name": self.name, "password": self.password}
            answer = self._post(client, "/login", cookie=replaced.cookie if replaced else None, json=body)
        except Unanswered:
            self.unknown_logins += 1
            if replaced is not None:
                replaced.end(known=False)
            raise
        if self._done(answer):
            self.logins.append(Login(_cookie_of(answer), [_access_of(answer)]))
            if replaced is not None:
                replaced.end(known=True)

    def refresh(self, client: httpx2.Client) -> None:
        """Refresh one of the sessions."""
        self._refresh(client, self._random.choice([login for login in self.logins if login.alive]))

    def logout(self, client: httpx2.Client) -> None:
        """End one of the sessions."""
        login = self._random.choice([login for login in self.logins if login.alive])
        try:
            answer = self._post(client, "/logout", cookie=login.cookie)
        except Unanswered:
            login.end(known=False)
            raise
        if self._done(answer):
            login.end(known=True)

    def disable(self, _client: httpx2.Client) -> None:
        """Have the account disabled by a command."""
        self.disabled = None
        known = self._run("disable", self.name)
        self.disabled = True if known else None
        self._end_all(known=known)
        self._raise_if_unknown(known=known)

    def enable(self, _client: httpx2.Client) -> None:
        """Have the account enabled by a command."""
        known = self._run("enable", self.name)
        self.disabled = False if known else None
        self._raise_if_unknown(known=known)

    def set_role(self, _client: httpx2.Client) -> None:
        """Have the account's role changed by a command; the access tokens end, the sessions go on."""
        known = self._run("set-role", self.name, f"role-{self._random.getrandbits(32):x}")
        for login in self.logins:
            login.end_accesses(known=known)
        self._raise_if_unknown(known=known)

    def set_password(self, _client: httpx2.Client) -> None:
        """Have the account's password changed by a command; everything ends."""
        self._passwords += 1
        password = f"{self.possible_passwords[0]} {self._passwords}"
        known = self._run("set-password", self.name, "--password-stdin", typed=password)
        if known:
            self.password = password
        self.possible_passwords = [self.password, password]
        self._end_all(known=known)
        self._raise_if_unknown(known=known)

    def _refresh(self, client: httpx2.Client, login: Login) -> None:
        before = login.generation
        try:
            answer = self._post(client, "/refresh", cookie=login.cookie)
        except Unanswered:
            login.refreshed_unanswered = True
            raise
        if self._done(answer):
            login.cookie = _cookie_of(answer)
            assert login.generation == before + 1
            login.refreshed_unanswered = False
            login.accesses.append(_access_of(answer))

    def _end_all(self, *, known: bool) -> None:
        for login in self.logins:
            if login.alive is not False:
                login.end(known=known)

    def _learn_password(self, stored: str) -> None:
        for password in self.possible_passwords:
            with suppress(argon2.exceptions.VerifyMismatchError):
                argon2.PasswordHasher().verify(stored, password)
                self.password = password
                self.possible_passwords = [password]
                return
        raise AssertionError(f"{self.name} has a password that nobody set")

    def _post(
        self, client: httpx2.Client, path: str, *, cookie: str | None, json: dict[str, str] | None = None
    ) -> httpx2.Response:
        headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
        try:
            return client.post(path, headers=headers, json=json)
        except httpx2.ConnectError:
            raise NotAsked from None
        except httpx2.TransportError:
            raise Unanswered from None
        finally:
            client.cookies.clear()

    def _done(self, answer: httpx2.Response) -> bool:
        """Tell whether an answer says that it was done; one that asks to come again says that nothing was."""
        assert answer.status_code == 200 or answer.status_code in _REFUSED, (self.name, answer.text)
        self.told["done" if answer.status_code == 200 else "refused"] += 1
        return answer.status_code == 200

    def _run(self, *words: str, typed: str = "") -> bool:
        """Run a command; tells whether it said that it was done, which a killed one never does."""
        with started(self._server, "users", *words, typed=typed) as self.command:
            said = self.command.wait()
        # 255 is what multiprocessing tells of a process whose end its fork server could not tell: it was killed.
        assert said.code == 0 or said.code < 0 or said.code == _UNTOLD, said
        self.told["done" if said.code == 0 else "command killed"] += 1
        return said.code == 0

    def _raise_if_unknown(self, *, known: bool) -> None:
        if not known:
            raise Unanswered


def client_of(server: ServerProcess) -> httpx2.Client:
    """Return a client that keeps its connection."""
    headers = {"User-Agent": AGENT}
    return httpx2.Client(base_url=server.url, headers=headers, timeout=LONGEST_WAIT, trust_env=False, verify=False)


def check_everything_stored(connection: sqlite3.Connection, people: list[Person]) -> None:
    """Hold a database to its rules, and to what each of its users was told."""
    found = list(offences(connection))
    assert not found, found
    for person in people:
        person.check_stored(connection)


def _cookie_of(answer: httpx2.Response) -> str:
    cookie = cookie_in(answer)
    assert cookie is not None
    return cookie


def _access_of(answer: httpx2.Response) -> Access:
    text = answer.json()["accessToken"]
    version = from_claims(jwt.decode_unverified(text).claims, key_id=None).version
    assert version is not None
    return Access(text, version)


_DOING: Final[dict[str, Callable[[Person, httpx2.Client], None]]] = {
    "login": Person.login,
    "refresh": Person.refresh,
    "logout": Person.logout,
    "disable": Person.disable,
    "enable": Person.enable,
    "set_role": Person.set_role,
    "set_password": Person.set_password,
}
_WEIGHTS: Final = {"login": 22, "refresh": 44, "logout": 14, "disable": 7, "set_role": 8, "set_password": 5}
