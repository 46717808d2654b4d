"""Publishing revocations: whole, dated forward, signed once for all, and nobody waits longer than others can bear."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from tests.flows.stage import Stage
from tests.settable_clock import START, SettableClock
from tokenkeep import chores
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.contract.revocation_feed import LARGEST_DOCUMENT, FeedDocument, FeedEntry, read_feed, sign_feed
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import StorageUnavailable, Unavailable
from tokenkeep.domain.history import Position
from tokenkeep.domain.revocations import of_token
from tokenkeep.flows import publish_revocations
from tokenkeep.flows.follow_revocations import FollowRevocations
from tokenkeep.flows.ports import Clock, Storage, Transaction
from tokenkeep.flows.publish_revocations import LARGEST_STEP_BACK, MOST_ENTRIES, PublishRevocations
from tokenkeep.jose import Key
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

SECOND = 1_000
LIFE = 900_000 + 60_000
"""Milliseconds for which an entry is kept."""
LONG = 30.0
"""Seconds of a wait that must not come to its end in a test."""
PATIENCE = 10.0
"""Seconds after which what should come at once has not come."""


class Node:
    """A server process on the database of the stage, with a list of its own that nobody reads but its readers."""

    def __init__(self, stage: Stage, storage: Storage | None = None, clock: Clock | None = None, **limits: int) -> None:
        self._stage = stage
        self.follow = FollowRevocations(
            storage or stage.parts.storage,
            RevocationSet(),
            clock or stage.clock,
            issuer=stage.server.settings.issuer,
            max_staleness=5.0,
        )
        self.publish = PublishRevocations(
            self.follow, stage.parts.key_ring, issuer=stage.server.settings.issuer, **limits
        )

    async def ask(self, known: Position | None = None, *, wait: float = 0) -> FeedDocument:
        """Return the document that a reader is given."""
        text = await asyncio.wait_for(self.publish.answer(known, wait=wait), PATIENCE)
        return read_feed(text, self._stage.parts.key_ring.public_keys(), algorithms=["ES256"])

    async def waiting(self, known: Position, readers: int = 1, *, wait: float = LONG) -> list[asyncio.Task[bytes]]:
        """Have readers wait for news, and return when all of them do."""
        tasks = [asyncio.create_task(self.publish.answer(known, wait=wait)) for _ in range(readers)]
        async with asyncio.timeout(PATIENCE):
            while self.publish.waiting < readers:
                await asyncio.sleep(0)
        return tasks


@pytest.fixture
def node(stage: Stage) -> Node:
    """A server process that has read nothing yet, and looks only when it is asked."""
    return Node(stage)


async def append(stage: Stage, count: int = 1) -> None:
    """Revoke some tokens as another process would: this one is not told."""

    async def steps(tx: Transaction) -> None:
        for number in range(count):
            await tx.revocations.append(of_token(f"token-{number}", at=tx.now, reason="operator", actor="operator"))

    await stage.parts.storage.transact(steps)


def of(document: FeedDocument) -> Position:
    """Return the position to which a document leads."""
    return Position(document.epoch, document.upto)


async def test_a_newcomer_gets_everything(stage: Stage, ada: Account, node: Node):
    """The snapshot holds every entry with its digest and its expiry, and is dated and signed."""
    pair = await stage.login()
    session = stage.read(pair).session_id
    stage.clock.advance(1)
    await stage.logout(pair.refresh_token)
    document = await node.ask()
    [row] = await stage.revocations()
    [entry] = document.entries
    [digest] = stage.server._revoked._entries
    assert session == row["value"]
    assert entry == FeedEntry(digest, -(-row["expires_at"] // SECOND))
    assert entry.expires_at * SECOND >= START + 1 + LIFE
    assert document.issuer == stage.server.settings.issuer
    assert (document.issued_at, document.expires_at) == (START // SECOND, START // SECOND + 60)
    assert (document.after, document.upto) == (0, 1)
    assert document.epoch == (await stage.rows("SELECT epoch FROM revocation_head"))[0]["epoch"]


async def test_a_reader_gets_what_it_lacks(stage: Stage, node: Node):
    """Only entries after the reader's number are sent; a reader that lacks none is told so."""
    await append(stage, 5)
    whole = await node.ask()
    for after in range(1, 6):
        document = await node.ask(Position(whole.epoch, after))
        assert (document.after, document.upto) == (after, 5)
        assert document.entries == whole.entries[after:]


@pytest.mark.parametrize(("epoch", "number"), [("another", 2), ("", 0), (None, 4), (None, 2**53)])
async def test_a_reader_of_another_history_gets_everything(stage: Stage, node: Node, epoch: str | None, number: int):
    """Whoever knows another history, or more than there is, is given a snapshot at once, however long it would wait."""
    await append(stage, 3)
    first = await node.ask()
    document = await node.ask(Position(first.epoch if epoch is None else epoch, number), wait=LONG)
    assert (document.after, document.upto, len(document.entries)) == (0, 3, 3)


async def test_nothing_new_is_confirmed_when_the_wait_is_over(stage: Stage, node: Node):
    """A reader that has all is answered after its wait with a document without entries, dated anew."""
    await append(stage)
    first = await node.ask()
    [task] = await node.waiting(of(first), wait=0.05)
    stage.clock.advance(7 * SECOND)
    document = read_feed(await task, stage.parts.key_ring.public_keys(), algorithms=["ES256"])
    assert (document.after, document.upto, document.entries) == (1, 1, ())
    assert document.issued_at == first.issued_at + 7


async def test_a_logout_wakes_who_waits(settings: Settings, clock: SettableClock, monkeypatch: pytest.MonkeyPatch):
    """What this process revokes leaves at once, without waiting for the next look: here that would be an hour."""
    monkeypatch.setattr(chores, "REVOCATION_POLL", 3_600.0)
    async with AuthServer(settings, clock=clock) as server:
        stage = Stage(server, clock)
        await stage.add()
        publish = stage.parts.publish_revocations
        pair = await stage.login()
        position = stage.parts.follow_revocations.log.position
        task = asyncio.create_task(publish.answer(position, wait=LONG))
        while not publish.waiting:
            await asyncio.sleep(0)
        await stage.logout(pair.refresh_token)
        text = await asyncio.wait_for(task, PATIENCE)
        document = read_feed(text, stage.parts.key_ring.public_keys(), algorithms=["ES256"])
        assert (document.after, document.upto, len(document.entries)) == (0, 1, 1)


async def test_a_command_beside_the_server_wakes_who_waits(stage: Stage, ada: Account, command: AuthServer):
    """What another process revokes leaves after the next look, which needs no call."""
    publish = stage.parts.publish_revocations
    position = stage.parts.follow_revocations.log.position
    task = asyncio.create_task(publish.answer(position, wait=LONG))
    while not publish.waiting:
        await asyncio.sleep(0)
    await command.accounts.disable("Ada", actor="operator")
    text = await asyncio.wait_for(task, PATIENCE)
    document = read_feed(text, stage.parts.key_ring.public_keys(), algorithms=["ES256"])
    assert (document.after, document.upto) == (position.number, position.number + 1)


async def test_ten_thousand_readers_cost_one_signature(stage: Stage):
    """All who wait at the same position are answered with the same bytes, signed once."""
    node = Node(stage, most_waiting=10_000)
    tasks = await node.waiting(of(await node.ask()), 10_000)
    signed = node.publish.signed
    await append(stage)
    await node.follow.poll()
    texts = await asyncio.gather(*tasks)
    assert node.publish.signed == signed + 1
    assert len(set(map(id, texts))) == 1


async def test_a_document_is_signed_once_a_second_or_on_change(stage: Stage, node: Node):
    """Within a second and without news all who stand alike share a document; then there is a new one."""
    await append(stage, 2)
    known = of(await node.ask())
    for _ in range(3):
        await node.ask(known)
        await node.ask(Position(known.epoch, 1))
    assert node.publish.signed == 3
    stage.clock.advance(SECOND)
    later = await node.ask(known)
    assert (node.publish.signed, later.issued_at) == (4, START // SECOND + 1)
    await append(stage)
    assert (await node.ask(known)).upto == 3
    assert node.publish.signed == 5


async def test_another_key_signs_at_once(stage: Stage, node: Node, monkeypatch: pytest.MonkeyPatch):
    """What was signed with the key before is not handed out any more, not even within the second."""
    before = await node.publish.answer(None)
    key = Key.generate("ES256")
    monkeypatch.setattr(stage.parts.key_ring, "signer", lambda: key)
    after = await node.publish.answer(None)
    assert after != before
    assert read_feed(after, key.public(), algorithms=["ES256"]).upto == 0


async def test_few_documents_are_kept(stage: Stage, node: Node):
    """A reader that asks from every number there is does not fill the memory."""
    await append(stage, 200)
    epoch = (await node.ask()).epoch
    for number in range(201):
        assert (await node.ask(Position(epoch, number))).upto == 200
    assert len(node.publish._texts) <= 64


async def test_a_reader_that_is_moved_meets_nothing_older(stage: Stage):
    """Of two processes the one that has looked less lately looks before it answers: neither number nor date go back."""
    ahead, behind = Node(stage), Node(stage)
    await behind.ask()
    await append(stage, 2)
    stage.clock.advance(3 * SECOND)
    known = await ahead.ask()
    document = await behind.ask(of(known))
    assert (document.after, document.upto) == (2, 2)
    assert document.issued_at >= known.issued_at


async def test_documents_are_dated_by_the_database(stage: Stage):
    """Two processes whose own clocks differ date alike."""
    early, late = SettableClock(START - 60 * SECOND), SettableClock(START + 60 * SECOND)
    dates = [(await Node(stage, clock=clock).ask()).issued_at for clock in (early, late)]
    assert dates == [START // SECOND, START // SECOND]


@pytest.mark.parametrize("back", [1, LARGEST_STEP_BACK - 1, LARGEST_STEP_BACK])
async def test_the_date_holds_while_the_clock_is_set_back_a_little(stage: Stage, node: Node, back: int):
    """No document is dated before an earlier one when the database's clock is corrected by seconds."""
    first = await node.ask()
    stage.clock.advance(-back * SECOND)
    assert (await node.ask(of(first))).issued_at == first.issued_at
    stage.clock.advance(back * SECOND + SECOND)
    assert (await node.ask(of(first))).issued_at == first.issued_at + 1


async def test_the_date_follows_a_clock_that_was_wrong(stage: Stage, node: Node):
    """After a clock that was far ahead is set right, documents carry the right time, as readers need it."""
    first = await node.ask()
    stage.clock.advance(-3_600 * SECOND)
    assert (await node.ask(of(first))).issued_at == first.issued_at - 3_600


async def test_nothing_is_vouched_for_without_the_database(stage: Stage, node: Node):
    """While the database does not answer nobody is told that they have everything, whether they wait or not."""
    known = of(await node.ask())
    [task] = await node.waiting(known, wait=0.05)
    await stage.database.close()
    with pytest.raises(StorageUnavailable):
        await task
    for asked in (None, known, Position("another", 1)):
        with pytest.raises(StorageUnavailable):
            await node.ask(asked)
    await stage.database.open()
    assert of(await node.ask(known)) == known


async def test_a_database_that_was_put_back_is_not_published(stage: Stage, node: Node):
    """A list that has become shorter under the running server is refused as unavailable, never published."""
    await append(stage, 3)
    known = of(await node.ask())
    await stage.execute("UPDATE revocation_head SET number = 2")
    for asked in (None, known, Position(known.epoch, 1)):
        with pytest.raises(Unavailable) as refused:
            await node.ask(asked)
        assert refused.value.retry_after > 0


class Slow:
    """The real storage, whose answers take a while to arrive."""

    def __init__(self, storage: Storage, clock: SettableClock, seconds: float) -> None:
        self._storage = storage
        self._clock = clock
        self._seconds = seconds
        self.transact = storage.transact
        self.revision = storage.revision

    async def read(self, *steps):
        """Return what is there, some time later."""
        found = await self._storage.read(*steps)
        self._clock.elapse(self._seconds)
        return found


@pytest.mark.parametrize(("seconds", "published"), [(4.999, True), (5.0, False)])
async def test_a_look_that_took_too_long_vouches_for_nothing(stage: Stage, seconds: float, published: bool):
    """What was asked longer ago than `revocation_max_staleness` is not published as complete."""
    node = Node(stage, Slow(stage.parts.storage, stage.clock, seconds))
    if published:
        assert (await node.ask()).upto == 0
    else:
        with pytest.raises(Unavailable):
            await node.ask()


class Held:
    """The real storage, whose first answer is on its way until the test lets it arrive."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.arrives = asyncio.Event()
        self.reads = 0
        self.transact = storage.transact
        self.revision = storage.revision

    async def read(self, *steps):
        """Return what was there when it was asked for."""
        self.reads += 1
        first = self.reads == 1
        found = await self._storage.read(*steps)
        if first:
            await self.arrives.wait()
        return found


async def test_no_look_overtakes_another(stage: Stage):
    """A look that began earlier and was answered late takes nothing back of what a later one has seen."""
    held = Held(stage.parts.storage)
    node = Node(stage, held)
    early = asyncio.create_task(node.publish.answer(None))
    while not held.reads:
        await asyncio.sleep(0)
    await append(stage, 2)
    late = asyncio.create_task(node.follow.poll())
    await asyncio.wait([late], timeout=0.1)
    held.arrives.set()
    await asyncio.gather(early, late)
    assert node.follow.log.position.number == 2
    assert len(node.follow.log) == 2


async def test_looks_are_shared(stage: Stage, node: Node, monkeypatch: pytest.MonkeyPatch):
    """A thousand readers at once cost two looks at the database at most."""
    looks = 0
    look = node.follow.look

    async def counted() -> None:
        nonlocal looks
        looks += 1
        await look()

    monkeypatch.setattr(node.follow, "look", counted)
    await asyncio.gather(*(node.publish.answer(None) for _ in range(1_000)))
    assert looks <= 2


async def test_no_more_wait_than_may(stage: Stage):
    """Whoever finds all places taken is answered at once, rightly; a place that is left is free again."""
    node = Node(stage, most_waiting=2)
    known = of(await node.ask())
    first, second = await node.waiting(known, 2)
    assert (await node.ask(known, wait=LONG)).entries == ()
    first.cancel()
    await asyncio.wait([first])
    assert node.publish.waiting == 1
    third = asyncio.create_task(node.publish.answer(known, wait=LONG))
    while node.publish.waiting < 2:
        await asyncio.sleep(0)
    node.publish.end_waits()
    assert await second == await third
    assert node.publish.waiting == 0


async def test_nobody_waits_for_a_server_that_ends(stage: Stage, node: Node):
    """When the server is about to end, who waits is answered rightly at once, and who comes then does not wait."""
    known = of(await node.ask())
    tasks = await node.waiting(known, 3)
    node.publish.end_waits()
    texts = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
    document = read_feed(texts[0], stage.parts.key_ring.public_keys(), algorithms=["ES256"])
    assert (document.after, document.upto, document.entries) == (known.number, known.number, ())
    assert (await node.ask(known, wait=LONG)).entries == ()


async def test_closing_the_server_ends_the_waits(stage: Stage, settings: Settings):
    """An embedding application that closes the server leaves nobody waiting."""
    async with AuthServer(replace(settings, data_dir=settings.data_dir / "other"), clock=stage.clock) as other:
        publish = other.graph.publish_revocations
        known = other.graph.follow_revocations.log.position
        task = asyncio.create_task(publish.answer(known, wait=LONG))
        while not publish.waiting:
            await asyncio.sleep(0)
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    assert done
    assert publish.waiting == 0
    task.exception()


async def test_what_has_expired_is_left_out(stage: Stage, node: Node):
    """An expired entry leaves the snapshot; numbers before and behind it go on to be valid."""
    await append(stage)
    stage.clock.advance(10 * SECOND)
    await append(stage)
    epoch = (await node.ask()).epoch
    stage.clock.advance(LIFE - 10 * SECOND - 1)
    assert len((await node.ask()).entries) == 2
    stage.clock.advance(1)
    snapshot, delta = await node.ask(), await node.ask(Position(epoch, 0))
    assert (snapshot.upto, len(snapshot.entries)) == (2, 1)
    assert delta.entries == snapshot.entries
    assert (await node.ask(Position(epoch, 1))).entries == snapshot.entries
    await stage.parts.purge.purge()
    newcomer = await Node(stage).ask()
    assert (newcomer.upto, newcomer.entries) == (2, snapshot.entries)
    stage.clock.advance(10 * SECOND)
    assert ((await node.ask()).upto, (await node.ask()).entries) == (2, ())


async def test_a_clock_that_is_set_back_loses_nothing(stage: Stage, node: Node):
    """What had expired by a clock that was ahead is published again once it is set right."""
    await append(stage, 2)
    await node.ask()
    stage.clock.advance(LIFE)
    assert (await node.ask()).entries == ()
    stage.clock.advance(-LIFE)
    assert len((await node.ask()).entries) == 2


async def test_a_long_document_is_made_once_and_elsewhere(stage: Stage, node: Node, monkeypatch: pytest.MonkeyPatch):
    """More entries than are signed at once are signed in another thread, once for all, also for those who lack many."""
    threads = []

    def sign(document: FeedDocument, key: Key) -> str:
        threads.append(threading.current_thread())
        return sign_feed(document, key)

    monkeypatch.setattr(publish_revocations, "MOST_AT_ONCE", 3)
    monkeypatch.setattr(publish_revocations, "sign_feed", sign)
    await append(stage, 5)
    texts = await asyncio.gather(*(node.publish.answer(None) for _ in range(100)))
    whole = read_feed(texts[0], stage.parts.key_ring.public_keys(), algorithms=["ES256"])
    assert len(set(texts)) == 1
    assert (whole.after, whole.upto, len(whole.entries)) == (0, 5, 5)
    assert (await node.publish.answer(Position(whole.epoch, 1))) == texts[0]
    assert threads
    assert threading.main_thread() not in threads
    assert len(threads) == 1
    delta = await node.ask(Position(whole.epoch, 2))
    assert (delta.after, len(delta.entries)) == (2, 3)
    assert threads[-1] is threading.main_thread()


async def test_more_than_a_reader_takes_is_not_published(stage: Stage, node: Node, monkeypatch: pytest.MonkeyPatch):
    """A snapshot that no reader would read is refused as unavailable; those who lack little go on to be served."""
    monkeypatch.setattr(publish_revocations, "MOST_AT_ONCE", 2)
    monkeypatch.setattr(publish_revocations, "MOST_ENTRIES", 4)
    await append(stage, 4)
    known = of(await node.ask())
    await append(stage)
    with pytest.raises(Unavailable):
        await node.ask()
    assert len((await node.ask(known)).entries) == 1


def test_the_longest_document_is_one_that_readers_read():
    """The bound on entries keeps documents below the bound on bytes, whatever the digests and the issuer."""
    key = Key.generate("ES256")

    def size(count: int) -> int:
        entries = (FeedEntry(b"\xff" * 16, 2**35),) * count
        return len(sign_feed(FeedDocument("i" * 2_000, 2**35, 2**35, "e" * 64, 0, 2**53, entries), key))

    each = (size(3_000) - size(0)) / 3_000
    assert size(0) + each * MOST_ENTRIES < LARGEST_DOCUMENT
