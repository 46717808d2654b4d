"""Revocations of an issuer elsewhere, for threads: a thread of its own drives the state machine (`feed_following`).

Nothing is asked before the first good token, unless the verifier is entered as a context; from then on the feed is
followed until the verifier is closed or gone. For asyncio: `async_feed_source`.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable

from tokenkeep.contract.access_token import AccessToken
from tokenkeep.contract.revocation_feed import FeedDocument
from tokenkeep.verifier.challenge import CannotTell
from tokenkeep.verifier.feed import RevocationStatus
from tokenkeep.verifier.feed_following import Ask, Pause
from tokenkeep.verifier.feed_keeping import PATIENCE, FeedKeeping
from tokenkeep.verifier.forks import renew_in_children
from tokenkeep.verifier.interruption import Interruption


class FeedSource:
    """Holds tokens to the revocations of an issuer, for threads; a thread of its own follows them."""

    def __init__(
        self, keeping: FeedKeeping, fetch: Callable[[Ask, Interruption], FeedDocument], *, timeout: float
    ) -> None:
        """Take what fetches, and in how many seconds it ought to have done so."""
        self._keeping = keeping
        self._fetch = fetch
        self._patience = timeout * PATIENCE
        self._lock = threading.Lock()
        self._course: Course | None = None
        self._finalizer: weakref.finalize[[], FeedSource] | None = None
        self._closed = False
        renew_in_children(self)

    def begin(self) -> None:
        """Follow from now on, without waiting for anything."""
        with contextlib.suppress(CannotTell):
            self._begun()

    def refuse_revoked(self, token: AccessToken) -> None:
        """Refuse a good token that was revoked; only the first one waits for the revocations.

        Raises:
            InvalidToken: it was revoked.
            CannotTell: whether it was is not known now.
        """
        now = self._keeping.clocks.monotonic()
        course = self._course
        if course is not None and course.following.revoked.fresh(now):
            course.following.refuse_revoked(token, now)
            return
        course = self._settled()
        with course.changed:
            changes = course.following.changes(self._keeping.clocks.monotonic())
        self._keeping.tell(changes)
        with course.changed:
            course.following.refuse_revoked(token, self._keeping.clocks.monotonic())

    def ready(self) -> bool:
        """Tell whether tokens can be judged; the first time, the revocations are waited for."""
        try:
            return self._settled().following.usable(self._keeping.clocks.monotonic())
        except CannotTell:
            return False

    def status(self) -> RevocationStatus:
        """Return how it stands with the revocations."""
        course = self._course
        following = self._keeping.begin() if course is None else course.following
        return following.status(self._keeping.clocks.monotonic())

    def close(self) -> None:
        """Follow no more; returns when no thread is left."""
        with self._lock:
            self._closed = True
            course = self._course
        if course is not None:
            course.stop()
            course.join()

    def renew(self) -> None:
        """Begin anew in the child of a fork: the thread is not there, and its lock may never be free again."""
        self._lock = threading.Lock()
        self._course = None
        if self._finalizer is not None:
            self._finalizer.detach()

    def _settled(self) -> Course:
        course = self._begun()
        course.wait_for_the_first_answer(self._patience)
        return course

    def _begun(self) -> Course:
        with self._lock:
            course = self._course
            if course is not None and (self._closed or course.is_alive()):
                return course
            if self._closed:
                raise CannotTell("the verifier is closed")
            course = Course(self._keeping, self._fetch)
            try:
                course.start()
            except RuntimeError as error:  # no thread can be had, or the interpreter is ending
                raise CannotTell(f"the revocations cannot be followed: {error}") from None
            self._course = course
            if self._finalizer is not None:
                self._finalizer.detach()
            self._finalizer = weakref.finalize(self, course.stop)
            self._finalizer.atexit = False
            return course


class Course:
    """One thread that follows a feed, from its beginning to its end. It does not keep alive whoever began it."""

    def __init__(self, keeping: FeedKeeping, fetch: Callable[[Ask, Interruption], FeedDocument]) -> None:
        """Know nothing yet."""
        self.following = keeping.begin()
        self.changed = threading.Condition()
        """Guards the state machine, but for looking up entries; notified when an answer has been taken."""
        self._keeping = keeping
        self._fetch = fetch
        self._interruption = Interruption()
        self._ended = False
        # A daemon: a program that ends does not wait for news.
        self._thread = threading.Thread(target=self._run, name="tokenkeep revocations", daemon=True)

    def start(self) -> None:
        """Begin.

        Raises:
            RuntimeError: no thread can be had.
        """
        self._thread.start()

    def is_alive(self) -> bool:
        """Tell whether the feed is followed."""
        return self._thread.is_alive()

    def wait_for_the_first_answer(self, seconds: float) -> None:
        """Wait until the first request has ended, whatever came of it, but not for ever."""
        with self.changed:
            self.changed.wait_for(lambda: self.following.attempted or self._ended, seconds)

    def stop(self) -> None:
        """Have the thread end soon, whatever it waits for."""
        with self.changed:
            self._ended = True
            self.changed.notify_all()
        self._interruption.give_up()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ended:
                self._step()
        finally:
            with self.changed:
                self._ended = True
                self.changed.notify_all()

    def _step(self) -> None:
        with self.changed:
            if self._ended:
                return
            now = self._keeping.clocks.monotonic()
            changes = self.following.changes(now)
            step = self.following.next(now)
            if isinstance(step, Pause) and not changes:
                self.changed.wait(step.seconds)
                return
        self._keeping.tell(changes)
        if isinstance(step, Ask):
            self._ask(step)

    def _ask(self, ask: Ask) -> None:
        outcome: FeedDocument | Exception
        try:
            outcome = self._fetch(ask, self._interruption)
        except Exception as error:  # noqa: BLE001  (a thread has nobody to raise to; it goes on)
            outcome = error
        with self.changed:
            if self._ended:
                return
            self._keeping.take(self.following, ask, outcome, self._keeping.clocks.now())
            self.changed.notify_all()
        self._keeping.tell_defect(outcome)
