"""Another service that follows the revocation feed of a real server, over sockets and with the published keys."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import httpx2

from tests.system.server_process import LONGEST_WAIT, ServerProcess
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.contract.revocation_feed import FeedDocument, read_feed
from tokenkeep.jose import Key, KeyNotFound, KeySet
from tokenkeep.verifier import InvalidToken, TokenVerifier
from tokenkeep.verifier.feed_reading import FeedReading

FEED_TOKEN: Final = "a-feed-token-for-the-tests-5b8e21d7c0"
WITH_FEED: Final = {"TOKENKEEP_FEED_TOKEN": FEED_TOKEN}
"""The environment of a server with a feed."""


class FeedReader:
    """A reader with a set of its own."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.revoked = RevocationSet()
        self.reading = FeedReading(self.revoked, issuer=server.url, leeway=5.0)
        self.documents: list[FeedDocument] = []
        self._keys: dict[str, Key] = {}
        self.fetch_keys()
        self._verifier = TokenVerifier(
            issuer=server.url,
            audience=server.url,
            algorithms=["ES256"],
            keys=self.keys,
            revocations=self.revoked,
        )

    def keys(self) -> KeySet:
        """Return every key that this reader has ever been told of."""
        return KeySet(self._keys.values())

    def fetch_keys(self) -> KeySet:
        """Ask for the keys that are published now, and return all."""
        published = KeySet.from_jwks(self._server.request("GET", "/.well-known/jwks.json").content)
        self._keys.update({key.kid: key for key in published})
        return self.keys()

    def get(self, **query: object) -> httpx2.Response:
        """Ask for a document."""
        headers = {"Authorization": f"Bearer {FEED_TOKEN}"}
        return self._server.request("GET", "/revocations", params=query, headers=headers)

    def known(self) -> dict[str, Any]:
        """Return the query that tells how far this reader has come."""
        position = self.reading.position
        return {} if position is None else {"epoch": position.epoch, "after": position.number}

    def follow(self, *, wait: int = 0) -> FeedDocument:
        """Ask for what is new, and take it over."""
        answer = self.get(**self.known(), wait=wait)
        assert answer.status_code == 200, answer.text
        try:
            document = read_feed(answer.content, self.keys(), algorithms=["ES256"])
        except KeyNotFound:
            document = read_feed(answer.content, self.fetch_keys(), algorithms=["ES256"])
        assert self.reading.take(document, time.time()), "the document leaves a gap"
        self.documents.append(document)
        return document

    def refuses(self, access_token: str) -> bool:
        """Tell whether this reader refuses a good access token, because it has been revoked."""
        self.revoked.confirm(time.monotonic() + LONGEST_WAIT)
        try:
            self._verifier.verify(access_token)
        except InvalidToken as refused:
            return "revoked" in str(refused)
        return False


class Waiting:
    """A reader that waits for news beside the test."""

    def __init__(self, reader: FeedReader, *, wait: int = 30) -> None:
        self._reader = reader
        self._wait = wait
        self._error: Exception | None = None
        self.ended_at = 0.0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._reader.follow(wait=self._wait)
        except Exception as error:  # noqa: BLE001  (raised to whoever asks what came of it)
            self._error = error
        self.ended_at = time.monotonic()

    def done(self) -> FeedDocument:
        """Return the document that ended the wait."""
        self._thread.join(self._wait * 0.8)
        assert not self._thread.is_alive(), "the wait does not end before its time"
        if self._error is not None:
            raise self._error
        return self._reader.documents[-1]
