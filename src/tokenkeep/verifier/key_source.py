"""Keys of an issuer elsewhere, for threads and for asyncio: two drivers of one state machine (`key_cache`).

Both do what it decides, and nothing before the first token: no thread, no task, no connection.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import threading
from collections.abc import Awaitable, Callable
from functools import partial

from tokenkeep.jose import KeySet
from tokenkeep.verifier.challenge import CannotTell, InvalidToken
from tokenkeep.verifier.forks import renew_in_children
from tokenkeep.verifier.jwks import KeyFetching, KeySetUnavailable, Publication
from tokenkeep.verifier.key_cache import Fetch, KeyCache, KeyStatus, Refuse, Unknown, Use, Wait

_log = logging.getLogger(__name__)

Decide = Callable[[float], Use | Wait | Unknown | Refuse]


class Keeping:
    """A cache with its clock and its log: what both drivers share."""

    def __init__(
        self,
        url: str,
        fetching: KeyFetching,
        *,
        monotonic: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Hold nothing yet; `url` is for the log."""
        self.cache = KeyCache(fetching)
        self.now = monotonic
        self._url = url
        self._jitter = jitter
        self._skipped: tuple[str, ...] = ()

    def take(self, fetch: Fetch, outcome: Publication | BaseException, *, asked: float) -> None:
        """Take what a fetch brought, or that it brought nothing."""
        if isinstance(outcome, Publication):
            self.cache.succeed(fetch, outcome, asked=asked, jitter=self._jitter())
        else:
            why = str(outcome) if isinstance(outcome, KeySetUnavailable) else type(outcome).__name__
            self.cache.fail(fetch, why, self.now())

    def tell(self, outcome: Publication | BaseException) -> None:
        """Log why a fetch brought nothing, or what of it could not be used."""
        if isinstance(outcome, KeySetUnavailable):
            _log.warning("keys from %s: %s", self._url, outcome)
        elif isinstance(outcome, Exception):
            _log.error("keys from %s: the fetch failed", self._url, exc_info=outcome)
        elif isinstance(outcome, Publication) and outcome.keys is not None:
            if outcome.keys.skipped and outcome.keys.skipped != self._skipped:
                _log.warning("keys from %s: left out %s", self._url, "; ".join(outcome.keys.skipped))
            self._skipped = outcome.keys.skipped


class KeySource:
    """Hands out the keys of an issuer to threads, of which one fetches while the others go on or wait."""

    def __init__(self, keeping: Keeping, fetch: Callable[[str | None], Publication]) -> None:
        """Take what fetches; it is given the tag of what is held."""
        self._keeping = keeping
        self._cache = keeping.cache
        self._fetch = fetch
        self._ended = threading.Condition()
        self._thread: threading.Thread | None = None
        renew_in_children(self)

    def fresh_keys(self, now: float) -> KeySet | None:
        """Return the keys if they are so new that nothing is to be decided."""
        return self._cache.fresh_keys(now)

    def status(self) -> KeyStatus:
        """Return how it stands with the keys."""
        return self._cache.status(self._keeping.now())

    def keys(self, arrived: float) -> KeySet:
        """Return the keys with which to judge a token that came at `arrived`, on the clock of `Keeping`.

        Raises:
            CannotTell: there are none, and they could not be fetched.
        """
        return self._settle(partial(self._cache.keys_for, arrived))

    def newer_keys(self, token: str, than: KeySet, arrived: float) -> KeySet:
        """Return keys to judge a token once more, whose key is not among those it was judged with.

        Raises:
            InvalidToken: the set was fetched after the token came, and there are none.
            CannotTell: the set could not be fetched after the token came.
        """
        return self._settle(lambda now: self._cache.newer_keys_for(token, than, arrived, now=now))

    def close(self) -> None:
        """Fetch nothing any more; returns when no thread is left."""
        with self._ended:
            self._cache.close()
            thread = self._thread
        if thread is not None:
            thread.join()

    def renew(self) -> None:
        """Replace, in the child of a fork, a lock that a thread which is not there may have held."""
        self._ended = threading.Condition()

    def _settle(self, decide: Decide) -> KeySet:
        while True:
            with self._ended:
                decision = decide(self._keeping.now())
            match decision:
                case Use(keys, begin):
                    if begin is not None:
                        self._fly_in_background(begin)
                    return keys
                case Wait(fetch, begin=True):
                    self._fly(fetch)
                case Wait(fetch):
                    with self._ended:
                        self._ended.wait_for(partial(self._has_ended, fetch), self._cache.lost_after)
                case Unknown() | Refuse():
                    raise refusal_of(decision)

    def _fly_in_background(self, fetch: Fetch) -> None:
        # A daemon: a program that ends does not wait for keys.
        self._thread = threading.Thread(target=self._fly, args=(fetch,), name="tokenkeep keys", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread can be had, or the interpreter is ending
            self._thread = None
            with self._ended:
                self._keeping.take(fetch, error, asked=fetch.began)

    def _fly(self, fetch: Fetch) -> None:
        asked = self._keeping.now()
        outcome: Publication | BaseException
        try:
            outcome = self._fetch(fetch.etag)
        except BaseException as error:  # noqa: BLE001  (whoever waits must be told, whatever it was)
            outcome = error
        with self._ended:
            self._keeping.take(fetch, outcome, asked=asked)
            self._ended.notify_all()
        self._keeping.tell(outcome)
        if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
            raise outcome

    def _has_ended(self, fetch: Fetch) -> bool:
        return not self._cache.is_under_way(fetch, self._keeping.now())


class AsyncKeySource:
    """Hands out the keys of an issuer in one event loop, in which a task fetches while the others go on or wait."""

    def __init__(self, keeping: Keeping, fetch: Callable[[str | None], Awaitable[Publication]]) -> None:
        """Take what fetches; it is given the tag of what is held."""
        self._keeping = keeping
        self._cache = keeping.cache
        self._fetch = fetch
        self._task: asyncio.Task[None] | None = None

    def fresh_keys(self, now: float) -> KeySet | None:
        """Return the keys if they are so new that nothing is to be decided."""
        return self._cache.fresh_keys(now)

    def status(self) -> KeyStatus:
        """Return how it stands with the keys."""
        return self._cache.status(self._keeping.now())

    async def keys(self, arrived: float) -> KeySet:
        """Return the keys with which to judge a token that came at `arrived`, on the clock of `Keeping`.

        Raises:
            CannotTell: there are none, and they could not be fetched.
        """
        return await self._settle(partial(self._cache.keys_for, arrived))

    async def newer_keys(self, token: str, than: KeySet, arrived: float) -> KeySet:
        """Return keys to judge a token once more, whose key is not among those it was judged with.

        Raises:
            InvalidToken: the set was fetched after the token came, and there are none.
            CannotTell: the set could not be fetched after the token came.
        """
        return await self._settle(lambda now: self._cache.newer_keys_for(token, than, arrived, now=now))

    async def aclose(self) -> None:
        """Fetch nothing any more; returns when no task is left."""
        self._cache.close()
        task = self._task
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])

    async def _settle(self, decide: Decide) -> KeySet:
        while True:
            decision = decide(self._keeping.now())
            match decision:
                case Use(keys, begin):
                    if begin is not None:
                        self._begin(begin)
                    return keys
                case Wait(fetch, begin):
                    if begin:
                        self._begin(fetch)
                    await self._wait()
                case Unknown() | Refuse():
                    raise refusal_of(decision)

    def _begin(self, fetch: Fetch) -> None:
        # Its own task, which no cancelled request ends, and its own context, which holds nothing of a request.
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._fly(fetch), name="tokenkeep keys", context=contextvars.Context())
        self._task.add_done_callback(partial(self._note_if_cancelled, fetch))

    async def _wait(self) -> None:
        task = self._task
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            raise CannotTell("the key set is being fetched in another event loop")
        await asyncio.wait([task])

    async def _fly(self, fetch: Fetch) -> None:
        asked = self._keeping.now()
        outcome: Publication | Exception
        try:
            outcome = await self._fetch(fetch.etag)
        except Exception as error:  # noqa: BLE001  (whoever waits is told; a task has nobody to raise to)
            outcome = error
        self._keeping.take(fetch, outcome, asked=asked)
        self._keeping.tell(outcome)

    def _note_if_cancelled(self, fetch: Fetch, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._keeping.take(fetch, KeySetUnavailable("the fetch was cancelled"), asked=fetch.began)


def refusal_of(decision: Unknown | Refuse) -> InvalidToken | CannotTell:
    """Return the refusal that a decision is for whoever presented the token."""
    if isinstance(decision, Unknown):
        return InvalidToken("key_not_found")
    return CannotTell(decision.detail, retry_after=decision.retry_after)
