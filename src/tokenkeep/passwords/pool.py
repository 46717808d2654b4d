"""The bounded pool in which passwords are hashed: off the event loop, and never more waiting than can be served.

A login is refused after the same work whatever was wrong, and not before the time of the slowest hash that is stored.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from tokenkeep.domain.errors import HashingBusy
from tokenkeep.domain.password_hashes import BcryptCost, HashCost, cost_of, slowest_of_each
from tokenkeep.domain.password_strength import Strength
from tokenkeep.passwords import argon2id, bcrypt_hashes, strength
from tokenkeep.passwords.argon2id import Argon2id, Argon2Parameters
from tokenkeep.passwords.durations import Durations

T = TypeVar("T")

_log = logging.getLogger(__name__)

_JUDGING: Final = "judging strength"


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    """What a thread returned, and when it began and ended, in seconds of the monotonic clock."""

    result: T
    began: float
    ended: float


class HashingPool:
    """Hashes, checks and judges passwords on a few threads (ports `PasswordHasher` and `StrengthJudge`)."""

    def __init__(self, parameters: Argon2Parameters, *, concurrency: int, longest_wait: float) -> None:
        """Hash on `concurrency` threads; refuse at once what would wait more than `longest_wait` seconds."""
        self._argon2id = Argon2id(parameters)
        self._concurrency: Final = concurrency
        self._longest_wait = longest_wait
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="hashing")
        self._durations = Durations()
        self._pending = 0
        self._backlog = 0.0
        self._cost: HashCost = parameters.cost
        self._decoy: str | None = None
        self._others: set[HashCost] = set()
        self._told_of_unusable = False

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def prepare(self) -> str:
        """Return what passwords are checked against when there is no account, made at the first call.

        It is the hash of a password nobody knows, with the parameters in force. To be called before the first login,
        so that no login pays for making it.
        """
        if self._decoy is None:
            made = await self._run(self._cost, lambda: self._argon2id.hash(secrets.token_urlsafe()))
            self._cost = cost_of(made.result) or self._cost
            self._decoy = made.result
        return self._decoy

    async def expect(self, stored: Collection[HashCost]) -> None:
        """Learn which kinds of hashes are stored, and measure those that may be the slowest.

        Raises:
            HashingBusy: they could not be measured now; the measured ones count already.
        """
        await self.prepare()
        self._others = set(stored) - {self._cost}
        for cost in slowest_of_each(self._others):
            if cost not in self._durations:
                await self._run(cost, partial(_make_hash, cost))

    async def hash(self, password: str) -> str:
        """Return the hash to be stored.

        Raises:
            HashingBusy: it would have to wait too long.
        """
        return (await self._run(self._cost, lambda: self._argon2id.hash(password))).result

    async def verify(self, stored: str | None, password: str) -> bool:
        """Tell whether the password has the stored hash; without a usable one, do the same work and answer no.

        A no is not said before the time of the slowest kind of hash that is stored has passed since the work began.
        That time is waited for on no thread.

        Raises:
            HashingBusy: it would have to wait too long.
        """
        cost = cost_of(stored)
        if stored is None or cost is None:
            self._tell_of_unusable(stored)
            decoy = await self.prepare()
            done = await self._run(self._cost, lambda: self._argon2id.verify(decoy, password))
        else:
            check = bcrypt_hashes.verify if isinstance(cost, BcryptCost) else self._argon2id.verify
            done = await self._run(cost, lambda: check(stored, password))
            if cost != self._cost:
                self._others.add(cost)
            if done.result:
                return True
        await _wait_until(done.began + self._least_time())
        return False

    def outdated(self, stored: str) -> bool:
        """Tell whether a hash was made in another way than new ones are."""
        return isinstance(cost_of(stored), BcryptCost) or self._argon2id.outdated(stored)

    async def judge(self, password: str, context: Sequence[str]) -> Strength:
        """Return how strong a password is for somebody about whom a guesser knows the words of `context`.

        Raises:
            HashingBusy: it would have to wait too long.
        """
        return (await self._run(_JUDGING, lambda: strength.measure(password, context))).result

    def _least_time(self) -> float:
        """Return how long a refusal takes at least, in seconds; nothing while all hashes are of one kind."""
        if not self._others:
            return 0.0
        return max(self._durations.bound(cost) for cost in (self._cost, *self._others))

    def _tell_of_unusable(self, stored: str | None) -> None:
        if stored is not None and not self._told_of_unusable:
            self._told_of_unusable = True
            _log.warning(
                "at least one stored password hash cannot be read or costs too much to be checked: "
                "nobody can log in with it; set a new password with: tokenkeep users set-password"
            )

    async def _run(self, kind: Hashable, work: Callable[[], T]) -> _Done[T]:
        """Run blocking work on a thread.

        Raises:
            HashingBusy: its turn would come, or came, too late.
        """
        cost = self._durations.mean(kind)
        queued = self._pending >= self._concurrency
        wait = self._backlog / self._concurrency if queued else 0.0
        if wait > self._longest_wait:
            raise HashingBusy(f"{self._pending} passwords are being hashed", retry_after=wait - self._longest_wait)
        deadline = time.monotonic() + self._longest_wait if queued else math.inf
        self._pending += 1
        self._backlog += cost
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._threads, _timed, work, deadline)
        finally:
            self._pending -= 1
            self._backlog = self._backlog - cost if self._pending else 0.0
        self._durations.note(kind, done.ended - done.began)
        return done


def _timed(work: Callable[[], T], deadline: float) -> _Done[T]:
    began = time.monotonic()
    if began > deadline:
        raise HashingBusy("the hashes before this one took longer than expected")
    result = work()
    return _Done(result, began, time.monotonic())


def _make_hash(cost: HashCost) -> str:
    password = secrets.token_urlsafe()
    return (
        bcrypt_hashes.make_hash(cost, password) if isinstance(cost, BcryptCost) else argon2id.make_hash(cost, password)
    )


async def _wait_until(instant: float) -> None:
    # Timers of some event loops go off a little early.
    while (remaining := instant - time.monotonic()) > 0:  # noqa: ASYNC110 - an instant is no event
        await asyncio.sleep(remaining)
