"""Honest users with clients that retry, an administrator who ends sessions, and somebody who watches that they end."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Sequence
from typing import Any, Final

import httpx2

from tests.system.drills.browser import Browser, Figures
from tests.system.drills.ledger import Ledger
from tests.system.drills.plan import Plan
from tests.system.server_process import ServerProcess, wait_until
from tests.system.visitor import cookie_in

PASSWORD: Final = "correct-horse-battery"
KEPT: Final = 3
"""Access tokens of a session that are remembered: the newest."""


class Person:
    """One account, used on one device, and its cookie jar."""

    def __init__(
        self, name: str, browser: Browser, figures: Figures, ledger: Ledger, *, excused: Container[str]
    ) -> None:
        """Use an account; `excused` are the reasons for which a good token may be refused."""
        self.name = name
        self._excused = excused
        self.browser = browser
        self._figures = figures
        self._ledger = ledger
        self.cookie = ""
        self.accesses: deque[str] = deque(maxlen=KEPT)

    def login(self) -> None:
        """Log in, which must succeed."""
        answer = self.browser.ask("POST", "/login", json={"name": self.name, "password": PASSWORD})
        if self._succeeded("login", answer):
            self.cookie = _cookie(answer)
            self.accesses = deque([answer.json()["accessToken"]], maxlen=KEPT)
            self._ledger.hand(self.cookie)

    def refresh(self) -> None:
        """Refresh with the newest cookie, which must succeed; one that was overtaken is tried once more."""
        before = self.cookie
        answer = self.browser.ask("POST", "/refresh", cookie=before)
        if answer.status_code == 401 and answer.json()["code"] == "invalid_refresh_token":
            self._figures.done("overtaken refresh")
            answer = self.browser.ask("POST", "/refresh", cookie=self.cookie)
        if self._succeeded("refresh", answer):
            self.cookie = _cookie(answer)
            self.accesses.append(answer.json()["accessToken"])
            self._ledger.hand(self.cookie, after=before)

    def look(self) -> None:
        """Use the newest access token, which must be accepted, unless a clock was set wrong: then refresh."""
        answer = self.browser.ask("GET", "/me", access=self.accesses[-1])
        if answer.status_code == 401 and answer.json()["reason"] in self._excused:
            self._figures.done(answer.json()["reason"])
            self.refresh()
        else:
            self._succeeded("look", answer)

    def refresh_in_two_tabs(self) -> None:
        """Refresh, and once more with the cookie of before, as a second tab would: both must get the same."""
        before = self.cookie
        self.refresh()
        answer = self.browser.ask("POST", "/refresh", cookie=before)
        if self._succeeded("refresh of a second tab", answer):
            self._ledger.hand(_cookie(answer), after=before)

    def logout(self) -> None:
        """Log out, which must succeed, and remember it."""
        answer = self.browser.ask("POST", "/logout", cookie=self.cookie)
        if self._succeeded("logout", answer):
            self.ended("logout")

    def ended(self, why: str) -> None:
        """Remember that the session was ended."""
        self._ledger.end(why, self.cookie, self.accesses)

    def _succeeded(self, what: str, answer: httpx2.Response) -> bool:
        self._figures.done(what)
        if answer.status_code != 200:
            self._figures.found(f"{self.name}, {what}: {answer.status_code} {answer.text}")
        return answer.status_code == 200


class Crowd:
    """Everybody, each in a thread."""

    def __init__(self, nodes: Sequence[ServerProcess], plan: Plan) -> None:
        """Let people use the nodes."""
        self.figures = Figures()
        self.ledger = Ledger(self.figures, bound=plan.bound)
        self.nodes = nodes
        self.spared: set[int] = set()
        self._plan = plan
        self.people = [self._person(f"Honest {number}", number) for number in range(plan.people)]
        self._root = self._person("Root", 0)
        self._guest = self._person("Guest", 1)
        self._done = threading.Event()
        self._threads = [
            *(threading.Thread(target=self._run, args=(self._live, person)) for person in self.people),
            threading.Thread(target=self._run, args=(self._administer,)),
            threading.Thread(target=self._run, args=(self._watch,)),
        ]

    def add_accounts(self) -> None:
        """Make everybody's account, by the command."""
        self.nodes[0].add_user("Root", PASSWORD, role="admin")
        for name in ("Guest", *(person.name for person in self.people)):
            self.nodes[0].add_user(name, PASSWORD)

    def begin(self) -> None:
        """Let everybody in, and go."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Return when everybody has done what they were at."""
        self._done.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, refreshes: int, *, within: float = 120.0) -> None:
        """Return when so many refreshes more have been answered."""
        figures, goal = self.figures, self.figures.did["refresh"] + refreshes
        wait_until(lambda: figures.did["refresh"] >= goal or bool(figures.wrong), "people go on", within=within)

    def check(self) -> None:
        """Hold every node to what was told: nothing that ended lives, and nobody has been logged out."""
        for node in range(len(self.nodes)):
            browser = self._browser(node)
            self.ledger.check_refused(browser, node)
            browser.close()
        for person in self.people:
            person.refresh()
            person.look()
        for person in (*self.people, self._root, self._guest):
            person.browser.close()

    def _live(self, person: Person) -> None:
        person.login()
        while not self._done.wait(self._plan.pace * random.uniform(0.8, 1.2)):
            # With its pauses a slow pace is about requests that are kept, which a second tab would double.
            if self._plan.pace < 1 and random.random() < 0.1:
                person.refresh_in_two_tabs()
            else:
                person.refresh()
            person.look()
            if random.random() < 0.15:
                person.logout()
                person.login()

    def _administer(self) -> None:
        self._root.login()
        self._guest.login()
        guest = self._guest.browser.ask("GET", "/me", access=self._guest.accesses[-1]).json()["id"]
        while not self._done.wait(0.3):
            self._guest.refresh()
            if random.random() < 0.5:
                self._order("DELETE", f"/admin/users/{guest}/sessions")
                self._guest.ended("an administrator")
            else:
                self._order("POST", f"/admin/users/{guest}/disable")
                self._guest.ended("disabling")
                self._order("POST", f"/admin/users/{guest}/enable")
            self._guest.login()

    def _order(self, method: str, path: str) -> None:
        answer = self._root.browser.ask(method, path, access=self._root.accesses[-1])
        self.figures.done("order")
        if answer.status_code != 200:
            self.figures.found(f"{method} {path}: {answer.status_code} {answer.text}")

    def _watch(self) -> None:
        browser = self._browser(0)
        self.ledger.watch(browser, len(self.nodes), self._done)
        browser.close()

    def _run(self, work: Callable[..., None], *about: Any) -> None:
        try:
            work(*about)
        except Exception as error:  # noqa: BLE001  (told when the drill is over)
            self.figures.found(f"{type(error).__name__}: {error}")

    def _person(self, name: str, home: int) -> Person:
        return Person(name, self._browser(home), self.figures, self.ledger, excused=self._plan.excused)

    def _browser(self, home: int) -> Browser:
        urls = [node.url for node in self.nodes]
        return Browser(urls, self.figures, spared=self.spared, home=home, patience=self._plan.patience)


def _cookie(answer: httpx2.Response) -> str:
    cookie = cookie_in(answer)
    assert cookie is not None
    return cookie


def seconds_until(condition: Callable[[], bool], what: str, *, within: float = 60.0) -> float:
    """Return how many seconds it took until the condition held."""
    began = time.monotonic()
    wait_until(condition, what, within=within)
    return time.monotonic() - began
