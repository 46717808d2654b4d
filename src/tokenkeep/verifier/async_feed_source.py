"""Revocations of an issuer elsewhere, for asyncio: a task of its own drives the state machine (`feed_following`).

What `feed_source` is for threads: it begins and ends as there.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import weakref
from collections.abc import Awaitable, Callable

from tokenkeep.contract.access_token import AccessToken
from tokenkeep.contract.revocation_feed import FeedDocument
from tokenkeep.verifier.challenge import CannotTell
from tokenkeep.verifier.feed import RevocationStatus
from tokenkeep.verifier.feed_following import Ask
from tokenkeep.verifier.feed_keeping import PATIENCE, FeedKeeping
from tokenkeep.verifier.forks import renew_in_children


class AsyncFeedSource:
    """Holds tokens to the revocations of an issuer, in one event loop; a task of its own follows them."""

    def __init__(
        self, keeping: FeedKeeping, fetch: Callable[[Ask], Awaitable[FeedDocument]], *, timeout: float
    ) -> None:
        """Take what fetches, and in how many seconds it ought to have done so."""
        self._keeping = keeping
        self._fetch = fetch
        self._patience = timeout * PATIENCE
        self._course: AsyncCourse | None = None
        self._finalizer: weakref.finalize[[], AsyncFeedSource] | None = None
        self._closed = False
        renew_in_children(self)

    def begin(self) -> None:
        """Follow from now on, without waiting for anything."""
        with contextlib.suppress(CannotTell):
            self._begun()

    async def refuse_revoked(self, token: AccessToken) -> None:
        """Refuse a good token that was revoked; only the first one waits for the revocations.

        Raises:
            InvalidToken: it was revoked.
            CannotTell: whether it was is not known now.
        """
        now = self._keeping.clocks.monotonic()
        course = self._course
        if course is None or not course.following.revoked.fresh(now):
            course = await self._settled()
            now = self._keeping.clocks.monotonic()
            self._keeping.tell(course.following.changes(now))
        course.following.refuse_revoked(token, now)

    async def ready(self) -> bool:
        """Tell whether tokens can be judged; the first time, the revocations are waited for."""
        try:
            course = await self._settled()
        except CannotTell:
            return False
        return course.following.usable(self._keeping.clocks.monotonic())

    def status(self) -> RevocationStatus:
        """Return how it stands with the revocations."""
        following = self._keeping.begin() if self._course is None else self._course.following
        return following.status(self._keeping.clocks.monotonic())

    async def aclose(self) -> None:
        """Follow no more; returns when no task is left."""
        self._closed = True
        if self._course is not None:
            await self._course.end()

    def renew(self) -> None:
        """Begin anew in the child of a fork, where the event loop is another one."""
        self._course = None
        if self._finalizer is not None:
            self._finalizer.detach()

    async def _settled(self) -> AsyncCourse:
        course = self._begun()
        await course.wait_for_the_first_answer(self._patience)
        return course

    def _begun(self) -> AsyncCourse:
        course = self._course
        if course is not None and (self._closed or course.is_alive()):
            return course
        if self._closed:
            raise CannotTell("the verifier is closed")
        course = self._course = AsyncCourse(self._keeping, self._fetch)
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = weakref.finalize(self, course.stop)
        self._finalizer.atexit = False
        return course


class AsyncCourse:
    """One task that follows a feed, from its beginning to its end. It does not keep alive whoever began it."""

    def __init__(self, keeping: FeedKeeping, fetch: Callable[[Ask], Awaitable[FeedDocument]]) -> None:
        """Begin, in the running event loop."""
        self.following = keeping.begin()
        self.wake = asyncio.Event()
        """Set to have a pause end: the clock is looked at again."""
        self._first = asyncio.Event()
        self._keeping = keeping
        self._fetch = fetch
        self._loop = asyncio.get_running_loop()
        # A context of its own, which holds nothing of the request that happened to begin it.
        self._task = self._loop.create_task(self._run(), name="tokenkeep revocations", context=contextvars.Context())

    def is_alive(self) -> bool:
        """Tell whether the feed is followed, here or in another event loop that is running."""
        return not self._task.done() and self._loop.is_running()

    async def wait_for_the_first_answer(self, seconds: float) -> None:
        """Wait until the first request has ended, whatever came of it, but not for ever.

        Raises:
            CannotTell: it is under way in another event loop.
        """
        if self.following.attempted or self._task.done():
            return
        if self._loop is not asyncio.get_running_loop():
            raise CannotTell("the revocations are being fetched in another event loop")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._first.wait()

    def stop(self) -> None:
        """Have the task end soon, from wherever this is called."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the task gone with it
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def end(self) -> None:
        """Have the task end, and wait for that if it is in this event loop."""
        if self._loop is asyncio.get_running_loop():
            self._task.cancel()
            await asyncio.wait([self._task])
        else:
            self.stop()

    async def _run(self) -> None:
        try:
            while True:
                await self._step()
        finally:
            self._first.set()

    async def _step(self) -> None:
        now = self._keeping.clocks.monotonic()
        self._keeping.tell(self.following.changes(now))
        step = self.following.next(now)
        if isinstance(step, Ask):
            await self._ask(step)
            return
        self.wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(step.seconds):
                await self.wake.wait()

    async def _ask(self, ask: Ask) -> None:
        outcome: FeedDocument | Exception
        try:
            outcome = await self._fetch(ask)
        except Exception as error:  # noqa: BLE001  (a task has nobody to raise to; it goes on)
            outcome = error
        now = self._keeping.clocks.now()
        # In a thread: to take a large document over would hold up the event loop.
        await asyncio.to_thread(self._keeping.take, self.following, ask, outcome, now)
        self._first.set()
        self._keeping.tell_defect(outcome)
