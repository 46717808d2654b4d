"""Documents of a revocation feed over a network that may be hostile: how they are asked for, and whose they must be.

Not here: the download itself (`download`), when to ask (`feed_following`), and what a document may change
(`feed_reading`).
"""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from tokenkeep.contract.revocation_feed import LARGEST_DOCUMENT, FeedDocument, FeedRefused, read_feed
from tokenkeep.jose import Key, KeyNotFound, KeySet
from tokenkeep.jose.algorithms import algorithm_named
from tokenkeep.verifier.challenge import CannotTell, InvalidToken
from tokenkeep.verifier.feed import RevocationFeed
from tokenkeep.verifier.feed_following import Ask
from tokenkeep.verifier.interruption import Interruption
from tokenkeep.verifier.jwks import KeyFetching
from tokenkeep.verifier.key_source import AsyncKeySource, KeySource
from tokenkeep.verifier.remote import Answer, DownloadFailed, Limits, Target

if TYPE_CHECKING:
    from tokenkeep.verifier.download import Downloader

FEED_PATH: Final = "/revocations"
"""Where an issuer publishes its revocations, below its own address."""
MEDIA_TYPE: Final = "application/jwt"

_OK: Final = 200
_HINTS: Final[Mapping[int, str]] = {
    401: "; set token to the feed_token of the server",
    404: "; the server has no feed without feed_token or feed_public, or url leads elsewhere",
    503: "; the server does not know its own revocations well enough now",
}

GivenKeys = Callable[[], Key | KeySet]


class FeedUnavailable(Exception):
    """No document came, or none that is believed; the text says why."""

    def __init__(self, why: str, *, retry_after: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class FeedClient:
    """Asks one address for documents, whenever it is told to."""

    def __init__(
        self, target: Target, feed: RevocationFeed, *, fetching: KeyFetching, algorithms: frozenset[str]
    ) -> None:
        """Take the address, and how documents are asked for and signed."""
        self.url: Final = target.url
        self._target = target
        self._headers = {"Accept": MEDIA_TYPE, "User-Agent": "tokenkeep"}
        if feed.token is not None:
            self._headers["Authorization"] = f"Bearer {feed.token}"
        self._algorithms = sorted(algorithms)
        self._tls: ssl.SSLContext | None = fetching.tls

    def get(self, ask: Ask, interruption: Interruption) -> bytes:
        """Return the text that answers; the interruption ends the waiting.

        Raises:
            FeedUnavailable: none came.
        """
        try:
            return _text(self._downloader(ask).get(self._headers, interruption=interruption))
        except DownloadFailed as error:
            raise FeedUnavailable(str(error)) from None

    async def get_async(self, ask: Ask) -> bytes:
        """Return the text that answers.

        Raises:
            FeedUnavailable: none came.
        """
        # In a thread: to load the HTTP library would hold up the event loop.
        downloader = await asyncio.to_thread(self._downloader, ask)
        try:
            return _text(await downloader.get_async(self._headers))
        except DownloadFailed as error:
            raise FeedUnavailable(str(error)) from None

    def read(self, text: bytes, keys: Key | KeySet) -> FeedDocument:
        """Return what a text says, if one of the keys signed it.

        Raises:
            KeyNotFound: none of the keys is the one that it names.
            FeedUnavailable: it is no document, or forged.
        """
        try:
            return read_feed(text, keys, algorithms=self._algorithms)
        except FeedRefused as error:
            raise FeedUnavailable(f"the document is refused: {error}") from None

    def _downloader(self, ask: Ask) -> Downloader:
        from tokenkeep.verifier.download import Downloader, usual_trust

        if self._tls is None:
            self._tls = usual_trust(self._target)
        url = self.url
        if ask.known is not None:
            query = {"epoch": ask.known.epoch, "after": ask.known.number, "wait": ask.wait}
            url = f"{url}?{urlencode(query)}"
        limits = Limits(ask.seconds, LARGEST_DOCUMENT, pause=ask.wait)
        return Downloader(replace(self._target, url=url), limits, tls=self._tls)


def feed_client(issuer: str, feed: RevocationFeed, *, fetching: KeyFetching, algorithms: frozenset[str]) -> FeedClient:
    """Return what asks for the issuer's revocations, at the address given or below the issuer.

    Raises:
        ValueError: a feed is not followed there, or is not signed with these algorithms.
        ModuleNotFoundError: the HTTP library is not installed.
    """
    for name in sorted(algorithms):
        if algorithm_named(name).key_type == "oct":
            raise ValueError(
                f"a feed is signed with a published key, and {name} has a secret: any reader could write it"
            )
    if importlib.util.find_spec("httpx2") is None:
        raise ModuleNotFoundError("following revocations needs httpx2: install tokenkeep[verifier]")
    where = feed.url if feed.url is not None else issuer.removesuffix("/") + FEED_PATH
    target = Target.parse(where, private_network=fetching.private_network, what="a revocation feed")
    return FeedClient(target, feed, fetching=fetching, algorithms=algorithms)


class FeedFetcher:
    """Fetches documents for a thread, with the keys that the verifier of tokens has."""

    def __init__(
        self, client: FeedClient, given: GivenKeys, source: KeySource | None, *, monotonic: Callable[[], float]
    ) -> None:
        """Take the client, and where the keys are: in `source` if there is one."""
        self._client = client
        self._given = given
        self._source = source
        self._monotonic = monotonic

    def __call__(self, ask: Ask, interruption: Interruption) -> FeedDocument:
        """Return the document that answers; the set of keys is fetched once more for one that it does not hold.

        Raises:
            FeedUnavailable: none came that is signed by the issuer.
        """
        text = self._client.get(ask, interruption)
        try:
            if self._source is None:
                return self._client.read(text, self._given())
            arrived = self._monotonic()
            keys = self._source.keys(arrived)
            while True:
                try:
                    return self._client.read(text, keys)
                except KeyNotFound:
                    keys = self._source.newer_keys(_name(text), keys, arrived)
        except (KeyNotFound, InvalidToken, CannotTell) as error:
            raise _keyless(error) from None


class AsyncFeedFetcher:
    """Fetches documents for a task, with the keys that the verifier of tokens has."""

    def __init__(
        self, client: FeedClient, given: GivenKeys, source: AsyncKeySource | None, *, monotonic: Callable[[], float]
    ) -> None:
        """Take the client, and where the keys are: in `source` if there is one."""
        self._client = client
        self._given = given
        self._source = source
        self._monotonic = monotonic

    async def __call__(self, ask: Ask) -> FeedDocument:
        """Return the document that answers; the set of keys is fetched once more for one that it does not hold.

        Raises:
            FeedUnavailable: none came that is signed by the issuer.
        """
        text = await self._client.get_async(ask)
        # Read in threads: a large document would hold up the event loop.
        try:
            if self._source is None:
                return await asyncio.to_thread(self._client.read, text, self._given())
            arrived = self._monotonic()
            keys = await self._source.keys(arrived)
            while True:
                try:
                    return await asyncio.to_thread(self._client.read, text, keys)
                except KeyNotFound:
                    keys = await self._source.newer_keys(_name(text), keys, arrived)
        except (KeyNotFound, InvalidToken, CannotTell) as error:
            raise _keyless(error) from None


def _name(text: bytes) -> str:
    """Return what the search for keys knows a document by."""
    return text.decode("ascii", "replace")


def _keyless(error: KeyNotFound | InvalidToken | CannotTell) -> FeedUnavailable:
    if isinstance(error, CannotTell):
        return FeedUnavailable(f"the keys of the document are not known: {error.detail}")
    return FeedUnavailable("the document is refused: it is signed with a key that the issuer does not publish")


def _text(answer: Answer) -> bytes:
    if answer.status != _OK:
        hint = ", and redirects are not followed" if answer.status // 100 == 3 else _HINTS.get(answer.status, "")
        raise FeedUnavailable(f"status {answer.status}{hint}", retry_after=_retry_after(answer.headers))
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise FeedUnavailable(f"the answer is no {MEDIA_TYPE}, but {_told(media_type)}")
    return answer.body


def _told(media_type: str) -> str:
    """Return a media type for the log: whoever answered may have written anything."""
    return repr(media_type[:50]) if media_type else "does not say what it is"


def _retry_after(headers: Mapping[str, str]) -> float:
    value = headers.get("retry-after", "")
    return float(value[:10]) if value.isascii() and value.isdecimal() else 0.0
