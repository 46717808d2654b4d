"""The bounded pool in which passwords are hashed: off the event loop, and never more waiting than can be served."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from tokenkeep.domain.errors import HashingBusy
from tokenkeep.passwords.argon2id import Argon2id, Argon2Parameters

T = TypeVar("T")

_SMOOTHING: Final = 0.2


class HashingPool:
    """Hashes and checks passwords on a few threads (port `PasswordHasher`)."""

    def __init__(self, parameters: Argon2Parameters, *, concurrency: int, longest_wait: float) -> None:
        """Hash on `concurrency` threads; refuse at once what would wait more than `longest_wait` seconds."""
        self._argon2id = Argon2id(parameters)
        self._concurrency: Final = concurrency
        self._longest_wait: Final = longest_wait
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="hashing")
        self._pending = 0
        self._duration = 0.0
        self._decoy: str | None = None

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def prepare(self) -> str:
        """Return what passwords are checked against when there is no account, made at the first call.

        It is the hash of a password nobody knows, with the parameters in force. To be called before the first login,
        so that no login pays for making it.
        """
        if self._decoy is None:
            self._decoy = await self._run(lambda: self._argon2id.hash(secrets.token_urlsafe()))
        return self._decoy

    async def hash(self, password: str) -> str:
        """Return the hash to be stored.

        Raises:
            HashingBusy: it would have to wait too long.
        """
        return await self._run(lambda: self._argon2id.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Tell whether the password has the stored hash; without one, do the same work and answer no.

        Raises:
            HashingBusy: it would have to wait too long.
        """
        if stored is None:
            decoy = await self.prepare()
            await self._run(lambda: self._argon2id.verify(decoy, password))
            return False
        return await self._run(lambda: self._argon2id.verify(stored, password))

    def outdated(self, stored: str) -> bool:
        """Tell whether a hash was made with other parameters than new ones are."""
        return self._argon2id.outdated(stored)

    async def _run(self, work: Callable[[], T]) -> T:
        waiting = max(0, self._pending + 1 - self._concurrency)
        if waiting * self._duration / self._concurrency > self._longest_wait:
            raise HashingBusy(f"{self._pending} passwords are being hashed")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._timed, work)
        finally:
            self._pending -= 1

    def _timed(self, work: Callable[[], T]) -> T:
        started = time.monotonic()
        result = work()
        took = time.monotonic() - started
        self._duration = took if self._duration == 0 else self._duration + _SMOOTHING * (took - self._duration)
        return result
