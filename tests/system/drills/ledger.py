"""What people were told: which sessions have ended, and every refresh token that was handed out."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.system.drills.browser import Browser, Figures
from tokenkeep.domain.sessions import RefreshToken


@dataclass(frozen=True)
class Ended:
    """A session whose end was confirmed, what it had, and when its owner was told, by the monotonic clock."""

    why: str
    cookie: str
    accesses: Sequence[str]
    at: float


class Ledger:
    """Remembers it all, and holds servers to it; any thread may write."""

    def __init__(self, figures: Figures, *, bound: float) -> None:
        """Hold every node to refusing what has ended within `bound` seconds."""
        self.ended: list[Ended] = []
        self._figures = figures
        self._bound = bound
        self._handed: dict[tuple[str, int], str] = {}
        self._lock = threading.Lock()

    def hand(self, cookie: str, *, after: str = "") -> None:
        """Note a refresh token that was handed out, for the one before it if there was one."""
        token = RefreshToken.parse(cookie)
        if after:
            before = RefreshToken.parse(after)
            if (token.session_id, token.generation) != (before.session_id, before.generation + 1):
                self._figures.found(f"generation {token.generation} came after {before.generation}")
        with self._lock:
            known = self._handed.setdefault((token.session_id, token.generation), cookie)
        if known != cookie:
            self._figures.found(f"two tokens of generation {token.generation} of one session")

    def end(self, why: str, cookie: str, accesses: Sequence[str]) -> None:
        """Note that the end of a session was confirmed just now."""
        ended = Ended(why, cookie, tuple(accesses), time.monotonic())
        with self._lock:
            self.ended.append(ended)

    def watch(self, browser: Browser, nodes: int, done: threading.Event) -> None:
        """Try what has ended at each node in turn, over and over: first what ended last."""
        while not done.wait(0.03):
            with self._lock:
                recent = self.ended[-8:]
                chosen = [*recent[-2:], random.choice(recent), random.choice(self.ended)] if recent else []
            for ended in chosen:
                for node in range(nodes):
                    self._try(browser, node, ended)

    def check_refused(self, browser: Browser, node: int) -> None:
        """Hold a node that serves again to refusing everything that has ended."""
        for ended in self.ended:
            for access in ended.accesses:
                answer = browser.try_once(node, "GET", "/me", headers={"Authorization": f"Bearer {access}"})
                if answer is None or answer.status_code != 401:
                    self._figures.found(f"after all, a token lives that ended by {ended.why}: {answer}")
            answer = browser.try_once(node, "POST", "/refresh", headers={"Cookie": f"refreshToken={ended.cookie}"})
            if answer is None or answer.json().get("code") != "no_valid_refresh_token":
                self._figures.found(f"after all, a session lives that ended by {ended.why}: {answer}")

    def _try(self, browser: Browser, node: int, ended: Ended) -> None:
        asked_after = time.monotonic() - ended.at
        bearer = {"Authorization": f"Bearer {random.choice(ended.accesses)}"}
        answer = browser.try_once(node, "GET", "/me", headers=bearer)
        if answer is not None and answer.status_code == 200:
            self._figures.accepted_late(asked_after)
            if asked_after > self._bound:
                self._figures.found(f"node {node} accepts a token {asked_after:.1f} s after its end by {ended.why}")
        answer = browser.try_once(node, "POST", "/refresh", headers={"Cookie": f"refreshToken={ended.cookie}"})
        if answer is not None and answer.status_code == 200:
            self._figures.found(f"node {node} refreshes a session {asked_after:.1f} s after its end by {ended.why}")
