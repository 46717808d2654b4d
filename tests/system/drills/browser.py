"""A client as it should be: what was not decided is asked again, elsewhere if there is another node."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Container, Sequence
from typing import Any, Final

import httpx2

from tests.system.visitor import COOKIE

LONGEST_OUTAGE: Final = 60.0
"""Seconds after which nobody believes any more that the server comes back."""
AWAY: Final = 3.0
"""Seconds for which a node that did not decide is left alone, if there is another."""


class Figures:
    """What a drill counts, and what it found wrong; any thread may write."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.did: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.retries = 0
        self.longest_outage = 0.0
        self.latest_acceptance = 0.0
        self.recoveries: list[float] = []
        self._lock = threading.Lock()

    def answered(self, status: int | None) -> None:
        """Count an answer; None where there was none."""
        with self._lock:
            self.answers["unanswered" if status is None else str(status)] += 1
        if status is not None and status >= 500 and status != 503:
            self.found(f"an answer {status}")

    def done(self, what: str) -> None:
        """Count something that somebody did."""
        with self._lock:
            self.did[what] += 1

    def decided(self, *, seconds: float, tries: int) -> None:
        """Note how long, and how often, somebody had to ask."""
        with self._lock:
            self.retries += tries - 1
            if tries > 1:
                self.longest_outage = max(self.longest_outage, seconds)

    def accepted_late(self, seconds: float) -> None:
        """Note that a token was accepted so long after its end had been confirmed."""
        with self._lock:
            self.latest_acceptance = max(self.latest_acceptance, seconds)

    def found(self, offence: str) -> None:
        """Note what must not be."""
        with self._lock:
            self.wrong.append(offence)

    def __str__(self) -> str:
        """Return everything in a few lines."""
        recoveries = ", ".join(f"{seconds:.1f} s" for seconds in self.recoveries) or "-"
        return (
            f"{sum(self.answers.values())} requests: {dict(sorted(self.answers.items()))}\n"
            f"done: {dict(sorted(self.did.items()))}\n"
            f"{self.retries} retries; longest outage seen by a client {self.longest_outage:.1f} s; "
            f"all nodes ready again after {recoveries}; "
            f"an ended token was last accepted {self.latest_acceptance * 1000:.0f} ms after its end was confirmed"
        )


class Browser:
    """Asks one node until that fails, then the next, each time over a new connection; comes back after a while."""

    def __init__(
        self, urls: Sequence[str], figures: Figures, *, spared: Container[int] = (), home: int = 0, patience: float = 5
    ) -> None:
        """Ask some node.

        Args:
            spared: the numbers of nodes that are not to be asked now, since they are not ready, as a proxy finds out.
            home: the number of the node to prefer.
            patience: seconds to wait for an answer.
        """
        self._urls = urls
        self._spared = spared
        self._figures = figures
        self._home = self._at = home % len(urls)
        self._back_at = 0.0
        alone = httpx2.Limits(max_keepalive_connections=0)
        headers = {"User-Agent": "somebody's browser"}
        self._client = httpx2.Client(headers=headers, timeout=patience, trust_env=False, verify=False, limits=alone)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def ask(self, method: str, path: str, *, cookie: str = "", access: str = "", json: Any = None) -> httpx2.Response:
        """Send a request until it is decided: neither unanswered nor 503.

        Raises:
            AssertionError: that took too long.
        """
        headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
        headers |= {"Authorization": f"Bearer {access}"} if access else {}
        began, tries = time.monotonic(), 0
        while True:
            tries += 1
            if time.monotonic() >= self._back_at:
                self._at = self._home
            if self._at in self._spared:
                self._at = (self._at + 1) % len(self._urls)
            answer = self.try_once(self._at, method, path, headers=headers, json=json)
            if answer is not None and answer.status_code != 503:
                self._figures.decided(seconds=time.monotonic() - began, tries=tries)
                return answer
            assert time.monotonic() - began < LONGEST_OUTAGE, f"{method} {path} is not decided"
            self._move_on(tries, float(answer.headers["Retry-After"]) if answer is not None else 0.2)

    def try_once(self, node: int, method: str, path: str, **options: Any) -> httpx2.Response | None:
        """Send a request to a node; None if it is not answered."""
        try:
            answer = self._client.request(method, f"{self._urls[node]}{path}", **options)
        except httpx2.TransportError:
            self._figures.answered(None)
            return None
        finally:
            self._client.cookies.clear()
        self._figures.answered(answer.status_code)
        return answer

    def _move_on(self, tries: int, pause: float) -> None:
        self._at = (self._at + 1) % len(self._urls)
        self._back_at = time.monotonic() + AWAY
        if tries % len(self._urls) == 0:
            time.sleep(pause)
