"""The two kinds of verifier while they follow a feed: in threads, and in an event loop that goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, TypeVar

from tests.settable_clock import SettableClock
from tests.system.server_process import wait_until
from tests.verifier.feed_publisher import FEED_TOKEN, FeedPublisher
from tests.verifier.requests_to_judge import AUDIENCE, ISSUER
from tokenkeep.verifier import AsyncTokenVerifier, Refused, RevocationFeed, RevocationStatus, TokenVerifier
from tokenkeep.verifier.async_feed_source import AsyncFeedSource
from tokenkeep.verifier.feed_following import PACE

STALENESS: Final = 40.0
PATIENCE: Final = 10.0

Result = TypeVar("Result")


def feed_of(publisher: FeedPublisher, **policy: Any) -> RevocationFeed:
    """Return how a publisher's feed is followed."""
    given = {"max_staleness": timedelta(seconds=STALENESS), "token": FEED_TOKEN, "url": publisher.url, **policy}
    return RevocationFeed(**given)


class Followed:
    """A verifier of a kind that follows a feed, by the clock of the test."""

    def __init__(self, kind: str, publisher: FeedPublisher, time: SettableClock, **arguments: Any) -> None:
        self._publisher = publisher
        self._clock = time
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="the test's event loop")
        self._thread.start()
        given = {
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "algorithms": ["ES256"],
            "jwks_url": publisher.web.url,
            "clock": lambda: time.now() / 1000,
            "monotonic": time.monotonic,
            **arguments,
        }
        given.setdefault("revocations", feed_of(publisher))
        self.verifier: TokenVerifier | AsyncTokenVerifier = (
            TokenVerifier(**given) if kind == "threads" else AsyncTokenVerifier(**given)
        )

    def verdict(self, token: str) -> str:
        """Judge a token: "good", or the code of its refusal and what was wrong."""
        try:
            if isinstance(self.verifier, TokenVerifier):
                self.verifier.verify(token)
            else:
                self.run(self.verifier.verify(token))
        except Refused as refusal:
            return f"{refusal.code}: {refusal.detail}"
        return "good"

    def ready(self) -> bool:
        """Ask whether tokens can be judged."""
        if isinstance(self.verifier, TokenVerifier):
            return self.verifier.ready()
        return self.run(self.verifier.ready())

    def enter(self) -> None:
        """Enter the verifier as a context."""
        if isinstance(self.verifier, TokenVerifier):
            self.verifier.__enter__()
        else:
            self.run(self.verifier.__aenter__())

    @property
    def status(self) -> RevocationStatus:
        """How it stands with the revocations."""
        return self.verifier.revocation_status()

    def follow(self, token: str) -> None:
        """Have everything fetched, then the next request wait for news."""
        assert self.verdict(token) == "good"
        self.let_pass(PACE)
        self.wait_for("a request that waits", lambda: self._publisher.waiting == 1)

    def let_pass(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._clock.advance(int(seconds * 1000))
        self._clock.elapse(seconds)
        course = self.verifier._feed._course if self.verifier._feed is not None else None
        if course is None:
            return
        if isinstance(self.verifier._feed, AsyncFeedSource):
            self._loop.call_soon_threadsafe(course.wake.set)
        else:
            with course.changed:
                course.changed.notify_all()

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until something has happened."""
        wait_until(condition, what, within=PATIENCE)

    def wait_for_questions(self, count: int) -> None:
        """Wait until the publisher was asked so often, and what came of it is taken."""
        self.wait_for(f"{count} questions", lambda: self.status.fetches >= count and self._is_idle())

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the event loop of the verifier."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def close_the_verifier(self) -> None:
        """Close the verifier; its event loop goes on."""
        if isinstance(self.verifier, TokenVerifier):
            self.verifier.close()
        else:
            self.run(self.verifier.aclose())

    def close(self) -> None:
        """Close the verifier, then the event loop."""
        self.close_the_verifier()
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _is_idle(self) -> bool:
        feed = self.verifier._feed
        assert feed is not None
        assert feed._course is not None
        return feed._course.following._next_at > self._clock.monotonic()
