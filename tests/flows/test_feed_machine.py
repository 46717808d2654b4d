"""A state machine follows a real feed beside a small model: whatever happens, a reader knows exactly what matters."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final, TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.flows import prepared
from tests.settable_clock import START, SettableClock
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.contract.revocation_feed import FeedDocument, read_feed
from tokenkeep.domain.history import Position
from tokenkeep.domain.revocations import KEY_SETS_HELD, of_token
from tokenkeep.flows import publish_revocations
from tokenkeep.flows.follow_revocations import FollowRevocations
from tokenkeep.flows.ports import Transaction
from tokenkeep.flows.publish_revocations import PublishRevocations
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.verifier.feed_reading import FeedReading

T = TypeVar("T")

SECOND: Final = 1_000
LIFE: Final = 900 * SECOND + 60 * SECOND
"""Milliseconds for which an entry is kept."""
LEEWAY: Final = 5
READERS: Final = 3
NODES: Final = 2


@dataclass
class Reader:
    """A service that follows the feed."""

    revoked: RevocationSet
    reading: FeedReading

    @classmethod
    def new(cls, issuer: str) -> Reader:
        """Return one that knows nothing."""
        revoked = RevocationSet()
        return cls(revoked, FeedReading(revoked, issuer=issuer, leeway=LEEWAY))

    def known(self) -> Position | None:
        """Return how far it has come."""
        position = self.reading.position
        return None if position is None else Position(position.epoch, position.number)


class FeedMachine(RuleBasedStateMachine):
    """Revocations come, entries expire and are purged, processes restart, the history begins anew; readers follow.

    There are two processes on one database, which look at different times, and readers ask now this, now that.
    """

    settings: Settings
    number: Final = count()

    @initialize()
    def begin(self) -> None:
        """Start the server on a database of its own."""
        self.runner = asyncio.Runner()
        self.clock = SettableClock(START)
        directory = self.settings.data_dir.with_name(f"feed-{next(self.number)}")
        changed = replace(self.settings, data_dir=prepared.copy(self.settings.data_dir, directory))
        self.server = AuthServer(changed, clock=self.clock)
        self.open()
        self.readers = [Reader.new(changed.issuer) for _ in range(READERS)]
        self.entries: dict[bytes, int] = {}
        self.names = count()

    def open(self) -> None:
        """Start the processes."""
        self.run(self.server.open())
        self.nodes = [self.node() for _ in range(NODES)]

    def node(self) -> PublishRevocations:
        """Start one more process that publishes."""
        issuer = self.server.settings.issuer
        storage = self.server.graph.storage
        follow = FollowRevocations(storage, RevocationSet(), self.clock, issuer=issuer, max_staleness=5.0)
        return PublishRevocations(follow, self.server.graph.key_ring, issuer=issuer)

    def run(self, steps: Coroutine[Any, Any, T]) -> T:
        """Return what comes of it."""
        return self.runner.run(steps)

    def teardown(self) -> None:
        """Stop the server."""
        if hasattr(self, "runner"):
            self.run(self.server.close())
            self.runner.close()

    @rule(number=st.integers(1, 6))
    def revoke(self, number: int) -> None:
        """Revoke tokens, some of them for a second time."""
        revocations = [
            of_token(f"token-{next(self.names) // 2}", at=self.clock.now(), reason="operator", actor="operator")
            for _ in range(number)
        ]

        async def steps(tx: Transaction) -> None:
            for each in revocations:
                await tx.revocations.append(each)

        self.run(self.server.graph.storage.transact(steps))
        for each in revocations:
            self.entries[each.entry(self.server.settings.issuer)] = self.clock.now() + LIFE

    @rule(milliseconds=st.sampled_from([1, 400, SECOND, 30 * SECOND, LIFE // 2, LIFE - 1, LIFE, 2 * LIFE]))
    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self.clock.advance(milliseconds)

    @rule(which=st.integers(0, NODES - 1))
    def look(self, which: int) -> None:
        """Have a process look for news by itself."""
        self.run(self.nodes[which]._follow.poll())

    @rule()
    def purge(self) -> None:
        """Delete what has expired."""
        self.run(self.server.graph.purge.purge())

    @rule(which=st.integers(0, NODES - 1))
    def restart(self, which: int) -> None:
        """Replace a process by one that knows nothing."""
        self.nodes[which] = self.node()

    @rule()
    def restart_the_server(self) -> None:
        """Close and open everything."""
        self.run(self.server.close())
        self.open()

    @rule()
    def recover(self) -> None:
        """Begin a new history, as after a backup was put back."""
        self.run(self.server.close())
        self.run(self.server.recover())
        self.open()
        self.entries.update(self.keys_revoked())

    def keys_revoked(self) -> dict[bytes, int]:
        """Return the entries of the keys that a recovery has revoked."""
        log = self.server.graph.follow_revocations.log
        return {
            each.digest: self.clock.now() + KEY_SETS_HELD for each in log.after(0) if each.digest not in self.entries
        }

    @rule(which=st.integers(0, READERS - 1))
    def begin_anew(self, which: int) -> None:
        """Replace a reader by one that knows nothing."""
        self.readers[which] = Reader.new(self.server.settings.issuer)

    @rule(which=st.integers(0, READERS - 1), node=st.integers(0, NODES - 1), times=st.integers(1, 3))
    def follow(self, which: int, node: int, times: int) -> None:
        """Have a reader ask a process, and know all that matters from then on: no document is refused or has a gap."""
        reader = self.readers[which]
        for _ in range(times):
            document = self.ask(self.nodes[node], reader.known())
            assert reader.reading.take(document, self.clock.now() / 1000), "a gap"
        assert self.in_force() <= reader.revoked._entries
        forgotten_at = self.clock.now() - LEEWAY * SECOND - SECOND
        assert reader.revoked._entries <= {entry for entry, expiry in self.entries.items() if expiry > forgotten_at}

    def ask(self, node: PublishRevocations, known: Position | None) -> FeedDocument:
        """Return the document that a process gives to a reader."""
        text = self.run(node.answer(known))
        return read_feed(text, self.server.graph.key_ring.public_keys(), algorithms=["ES256"])

    def in_force(self) -> set[bytes]:
        """Return the entries that a token can still need."""
        return {entry for entry, expiry in self.entries.items() if expiry > self.clock.now()}

    @invariant()
    def nothing_is_forgotten_early(self) -> None:
        """A reader forgets nothing in force that it has once known, whether it asks or not."""
        for reader in getattr(self, "readers", []):
            before = reader.revoked._entries & self.in_force()
            reader.reading.forget_expired(self.clock.now() / 1000)
            assert before <= reader.revoked._entries


@pytest.mark.slow
def test_readers_know_what_matters(settings: Settings, monkeypatch):
    """Whatever the order of revocations, looks, purges, restarts, recoveries and requests: nothing is missed."""
    monkeypatch.setattr(publish_revocations, "MOST_AT_ONCE", 8)
    FeedMachine.settings = settings
    run_state_machine_as_test(
        FeedMachine,
        settings=hypothesis.settings(max_examples=25, stateful_step_count=25, deadline=None),
    )
