"""A server on loopback that publishes keys and a revocation feed: as agreed, or as badly as a test tells it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tests.settable_clock import SettableClock
from tests.verifier.publisher import Handler, Publisher, publishing
from tests.verifier.requests_to_judge import ISSUER, KEY
from tokenkeep.contract.revocation_feed import DOCUMENT_LIFE, FeedDocument, FeedEntry, sign_feed
from tokenkeep.jose import Key

FEED_TOKEN: Final = "a-token-of-the-feed"
ENTRY_LIFE: Final = 960


@dataclass(frozen=True)
class Question:
    """What a reader asked."""

    epoch: str | None
    after: int | None
    wait: int | None
    authorization: str | None


class FeedPublisher:
    """What is revoked, and how it is told; each attribute may be changed while it is asked."""

    def __init__(self, web: Publisher, clock: SettableClock) -> None:
        self.web = web
        self.url = web.url.replace("jwks.json", "revocations")
        self.key: Key = KEY
        self.epoch = "first"
        self.token: str | None = FEED_TOKEN
        #: Numbers up to this one are only sent with everything.
        self.forgotten = 0
        #: Whether a request without news waits until it is let go.
        self.patient = True
        #: What is told instead of the truth.
        self.lie: Callable[[FeedDocument], FeedDocument] | None = None
        #: What is sent instead of a signed document.
        self.forge: Callable[[str], str] | None = None
        #: Answers instead of everything else.
        self.behaviour: Callable[[Handler], None] | None = None
        self.status = 200
        self.headers = {"Content-Type": "application/jwt", "Cache-Control": "no-store"}
        self.questions: list[Question] = []
        #: How many requests wait now.
        self.waiting = 0
        #: How many questions have been answered.
        self.answered = 0
        self._clock = clock
        self._entries: list[FeedEntry] = []
        self._changed = threading.Condition()
        self._let_go = 0
        self._ended = False

    def revoke(self, *digests: bytes) -> None:
        """Revoke, and answer those who wait."""
        with self._changed:
            expires_at = self._clock.now() // 1000 + ENTRY_LIFE
            self._entries += [FeedEntry(digest, expires_at) for digest in digests]
            self._changed.notify_all()

    def begin_anew(self, epoch: str) -> None:
        """Begin a new history, and answer those who wait."""
        with self._changed:
            self.epoch = epoch
            self._entries.clear()
            self._changed.notify_all()

    def let_go(self) -> None:
        """Answer those who wait, as if the time they wanted to wait had passed."""
        with self._changed:
            self._let_go += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def answer(self, handler: Handler) -> None:
        """Answer one request, for keys or for revocations."""
        if urlsplit(handler.path).path != "/revocations":
            self.web.send(handler)
            return
        question = self._question(handler)
        self.questions.append(question)
        try:
            if self.behaviour is not None:
                self.behaviour(handler)
                return
            text, status = "<html>an error</html>", 401
            if self.token is None or question.authorization == f"Bearer {self.token}":
                text = self._text(question) if self.status == 200 else text
                status = self.status
            handler.send_response(status)
            for name, value in self.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(text.encode())
        finally:
            self.answered += 1

    def document(self, after: int = 0) -> FeedDocument:
        """Return what is true now."""
        now = self._clock.now() // 1000
        upto, entries = len(self._entries), tuple(self._entries[after:])
        return FeedDocument(ISSUER, now, now + DOCUMENT_LIFE, self.epoch, after, upto, entries)

    def _text(self, question: Question) -> str:
        with self._changed:
            document = self.document(self._after(question))
            if self.lie is not None:
                document = self.lie(document)
            text = sign_feed(document, self.key)
        return text if self.forge is None else self.forge(text)

    def _after(self, question: Question) -> int:
        after = question.after
        if question.epoch is None or after is None or self._must_send_everything(question):
            return 0
        arrived = self._let_go
        self.waiting += 1
        self._changed.wait_for(
            lambda: (
                not self.patient
                or not question.wait
                or self._ended
                or self._let_go != arrived
                or len(self._entries) != after
                or self._must_send_everything(question)
            )
        )
        self.waiting -= 1
        return 0 if self._must_send_everything(question) else after

    def _must_send_everything(self, question: Question) -> bool:
        after = question.after or 0
        return question.epoch != self.epoch or not self.forgotten <= after <= len(self._entries)

    @staticmethod
    def _question(handler: Handler) -> Question:
        query = {name: values[0] for name, values in parse_qs(urlsplit(handler.path).query).items()}
        after, wait = query.get("after"), query.get("wait")
        return Question(
            query.get("epoch"),
            None if after is None else int(after),
            None if wait is None else int(wait),
            handler.headers.get("Authorization"),
        )


def telling(**changes: object) -> Callable[[FeedDocument], FeedDocument]:
    """Return a lie that changes members of a document."""
    return lambda document: replace(document, **changes)  # type: ignore[arg-type]


@contextmanager
def publishing_feed(clock: SettableClock) -> Iterator[FeedPublisher]:
    """Run a publisher of one key and of no revocations yet, on a free port."""
    with publishing(KEY) as web:
        feed = FeedPublisher(web, clock)
        web.behaviour = feed.answer
        try:
            yield feed
        finally:
            feed.end()
