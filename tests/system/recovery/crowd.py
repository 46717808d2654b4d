"""Several people at once on a server that is ended at a random moment, again and again."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import httpx2

from tests.system.recovery.consistency import copied
from tests.system.recovery.people import NotAsked, Person, Unanswered, check_everything_stored, client_of
from tests.system.server_process import ServerProcess
from tests.system.surroundings.spoken import add_account

PASSWORD: Final = "correct-horse-battery"
LONGEST_DELAY: Final = 0.03
"""Seconds after the beginning of an operation in which the moment is drawn: all that the server does takes as long."""


class Crowd:
    """People who act at once, and the count of what they did."""

    def __init__(self, server: ServerProcess, names: list[str], *, operations: int, seed: int) -> None:
        """Let `names` do `operations` things altogether; `seed` decides what, and when the server is ended."""
        self._server = server
        self._operations = operations
        self._random = random.Random(seed)
        self.people = [Person(server, name, PASSWORD, seed) for name in names]
        self.did: Counter[str] = Counter()
        self.begun = 0
        self.unanswered = 0
        self.looked_at = 0
        self._lock = threading.Lock()
        self._beginnings = threading.Semaphore(0)
        self._ended = threading.Event()
        self._failures: list[BaseException] = []

    @property
    def left(self) -> int:
        """How many operations are left to do."""
        return self._operations - self.begun

    def add_accounts(self) -> None:
        """Make the accounts, by the command."""
        for person in self.people:
            add_account(self._server, person.name, PASSWORD)

    def work_until(self, end: Callable[[], None], after: int) -> None:
        """Let everybody act, and call `end` at a random moment after that many operations have begun."""
        self._ended.clear()
        threads = [threading.Thread(target=self._act, args=(person,)) for person in self.people]
        for thread in threads:
            thread.start()
        for _ in range(min(after, self.left)):
            self._beginnings.acquire(timeout=20)
        time.sleep(self._random.uniform(0, LONGEST_DELAY))
        end()
        self._ended.set()
        for thread in threads:
            thread.join()
        while self._beginnings.acquire(blocking=False):
            pass
        if self._failures:
            raise self._failures[0]

    def kill_everything(self) -> None:
        """Kill the server with its workers, and every command, without warning."""
        for person in self.people:
            if person.command is not None:
                person.command.kill()
        self._server.kill()

    def check_stored(self) -> None:
        """Hold what is stored to its rules and to what was answered, while no server runs."""
        with copied(self._server.data) as connection:
            check_everything_stored(connection, self.people)

    def check_served(self, *, every: bool = False) -> None:
        """Hold what the server answers to what was answered before it was ended."""
        with client_of(self._server) as client:
            self.looked_at += sum(person.check_served(client, every=every) for person in self.people)

    def _act(self, person: Person) -> None:
        try:
            with client_of(self._server) as client:
                while self._begin() and self._go_on(person, client):
                    pass
        except BaseException as failure:  # noqa: BLE001  (it is raised again in the thread of the test)
            self._failures.append(failure)
            self._beginnings.release(self._operations)

    def _go_on(self, person: Person, client: httpx2.Client) -> bool:
        """Let a person act once; tells whether there is still somebody to talk to."""
        try:
            name = person.act(client)
        except Unanswered:
            self._count("unanswered")
            return not self._ended.is_set()
        except NotAsked:
            with self._lock:
                self.begun -= 1
            return not self._ended.wait(0.005)
        self._count(name)
        return True

    def _begin(self) -> bool:
        with self._lock:
            if self._ended.is_set() or not self.left:
                return False
            self.begun += 1
        self._beginnings.release()
        return True

    def _count(self, name: str) -> None:
        with self._lock:
            self.did[name] += 1
