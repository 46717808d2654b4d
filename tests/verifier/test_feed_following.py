"""What is asked of a feed and when, and how long the answers are relied on: each rule as a table, without a network."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

import pytest

from tests.verifier.requests_to_judge import CLAIMS, ISSUER, NOW
from tokenkeep.contract.access_token import AccessToken
from tokenkeep.contract.revocation import RevocationKind, digest
from tokenkeep.contract.revocation_feed import FeedDocument, FeedEntry
from tokenkeep.verifier import CannotTell, InvalidToken, RevocationFeed
from tokenkeep.verifier.feed_following import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PACE,
    PACE_OF_NEWS,
    SHORTEST_LIMIT,
    Ask,
    FeedFollowing,
    Moment,
    Pause,
    Turn,
)

LEEWAY: Final = 5.0
TIMEOUT: Final = 5.0
STALENESS: Final = 40.0
TOKEN: Final = AccessToken(
    issuer=ISSUER,
    subject="AAAAAAAAAAAAAAAAAAAAAA",
    audience=("https://api.example",),
    issued_at=NOW,
    expires_at=NOW + 900,
    token_id="one-of-a-kind",
    client_id="tokenkeep",
    session_id=str(CLAIMS["sid"]),
    version=3,
    key_id="k",
)
ENTRY: Final = FeedEntry(digest(RevocationKind.SESSION, ISSUER, str(CLAIMS["sid"])), NOW + 960)
OTHER: Final = FeedEntry(digest(RevocationKind.SESSION, ISSUER, "another"), NOW + 960)


class Follower:
    """A state machine with both its clocks, and the greatest pauses."""

    def __init__(self, staleness: float = STALENESS, **policy: Any) -> None:
        feed = RevocationFeed(max_staleness=timedelta(seconds=staleness), **policy)
        self.following = FeedFollowing(feed, issuer=ISSUER, leeway=LEEWAY, timeout=TIMEOUT)
        self.elapsed = 1_000.0
        self.wall = float(NOW)

    def elapse(self, seconds: float) -> None:
        """Let time pass."""
        self.elapsed += seconds
        self.wall += seconds

    def next(self) -> Ask | Pause:
        """Return what is decided now."""
        return self.following.next(self.elapsed)

    def ask(self) -> Ask:
        """Return what is asked, as soon as it is."""
        while isinstance(step := self.next(), Pause):
            assert step.seconds > 0
            self.elapse(step.seconds)
        return step

    def document(
        self, after: int, upto: int, *entries: FeedEntry, issued_at: int | None = None, **changes: Any
    ) -> FeedDocument:
        """Return a document that is issued now, unless that is changed."""
        issued_at = int(self.wall) if issued_at is None else issued_at
        document = FeedDocument(ISSUER, issued_at, issued_at + 60, "first", after, upto, entries)
        return replace(document, **changes)

    def take(self, ask: Ask, document: FeedDocument) -> None:
        """Give an answer."""
        self.following.take(ask, document, Moment(self.elapsed, self.wall), jitter=1.0)

    def fail(self, why: str = "down", retry_after: float = 0.0) -> None:
        """Let a request bring nothing."""
        self.following.fail(why, self.elapsed, jitter=1.0, retry_after=retry_after)

    def start(self, *entries: FeedEntry, number: int = 3) -> None:
        """Take the first snapshot."""
        self.take(self.ask(), self.document(0, number, *entries))

    def verdict(self) -> str:
        """Judge a token that is good otherwise."""
        try:
            self.following.refuse_revoked(TOKEN, self.elapsed)
        except InvalidToken:
            return "revoked"
        except CannotTell as refusal:
            return refusal.detail
        return "good"

    def told(self) -> list[Turn]:
        """Return what a person is told now."""
        return [change.turn for change in self.following.changes(self.elapsed)]


def test_everything_is_asked_for_first():
    """The first request asks for a snapshot without waiting, and at once; before its answer nothing is accepted."""
    follower = Follower()
    ask = follower.next()
    assert isinstance(ask, Ask)
    assert (ask.known, ask.wait, ask.seconds, ask.sent) == (None, 0, TIMEOUT, 1_000.0)
    assert follower.verdict() == "the revocations are not known yet: no answer has come in time"
    follower.take(ask, follower.document(0, 3, OTHER))
    assert follower.verdict() == "good"


def test_then_news_are_waited_for():
    """What continues what is known is asked for, by a request that waits."""
    follower = Follower()
    follower.start()
    ask = follower.ask()
    assert ask.known is not None
    assert (ask.known.epoch, ask.known.number, ask.wait) == ("first", 3, 10)
    follower.elapse(4.0)
    follower.take(ask, follower.document(3, 4, ENTRY))
    assert follower.verdict() == "revoked"


@pytest.mark.parametrize(
    ("staleness", "wait", "seconds"),
    [(1, 0, 1.0), (3, 0, 1.0), (4, 1, 1.0), (5, 1, 1.25), (10, 2, 2.5), (20, 5, 5.0), (120, 30, 5.0), (3600, 30, 5.0)],
)
def test_two_requests_end_before_what_is_known_is_stale(staleness: float, wait: int, seconds: float):
    """Wait and limit are at most a quarter of the staleness each, but for the shortest limit there is."""
    follower = Follower(staleness)
    follower.start()
    ask = follower.ask()
    assert (ask.wait, ask.seconds) == (wait, seconds)
    assert 2 * (ask.wait + ask.seconds) <= max(staleness, 2 * SHORTEST_LIMIT)


def test_freshness_counts_from_the_sending():
    """However long the answer was on its way, what was revoked after the request was sent may be missing from it."""
    follower = Follower()
    follower.start()
    ask = follower.ask()
    follower.elapse(10.0)
    follower.take(ask, follower.document(3, 3))
    follower.elapsed = ask.sent + STALENESS - 0.001
    assert follower.verdict() == "good"
    follower.elapsed = ask.sent + STALENESS
    assert follower.verdict() == "the revocations are stale: no answer has come in time"


def test_what_was_kept_back_counts_from_its_issue():
    """A document that is older than the leeway explains makes nothing fresh that its server did not know."""
    follower = Follower()
    follower.start()
    follower.elapse(LEEWAY + 20.0)
    follower.take(follower.ask(), follower.document(3, 3, issued_at=int(follower.wall) - 5 - 12))
    assert follower.following.status(follower.elapsed).age == pytest.approx(12.0, abs=1.5)


def test_replay_keeps_nothing_fresh():
    """Whoever answers each request with the last document gains no time by it, and is told from a good server."""
    follower = Follower(10)
    follower.start()
    kept = follower.document(3, 3)
    begun = follower.elapsed
    for _ in range(100):
        if follower.verdict() == "good":
            follower.take(follower.ask(), kept)
    assert follower.elapsed - begun <= 10 + LEEWAY + 2 + PACE, "the staleness, the leeway, and until the next request"
    assert "kept back, or the clocks differ" in follower.verdict()


def test_replay_at_the_start_is_not_known():
    """A process that begins with an old snapshot accepts nothing with it, however it is told to treat stale ones."""
    follower = Follower(10, when_stale="accept")
    follower.take(follower.ask(), follower.document(0, 3, issued_at=NOW - 30))
    assert follower.verdict().startswith("the revocations are not known yet: what the document tells is 25 seconds old")
    assert not follower.following.status(follower.elapsed).usable


LIES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "of another issuer": ({"issuer": "https://other.example"}, "another issuer"),
    "expired": ({"issued_at": NOW - 120}, "expired"),
    "of the future": ({"issued_at": NOW + 60}, "in the future"),
    "issued before": ({"issued_at": NOW - 1}, "issued before"),
    "of another history, issued before": ({"issued_at": NOW - 1, "epoch": "second", "after": 0}, "issued before"),
    "backwards": ({"after": 1, "upto": 2}, "backwards"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lie_is_refused(lie: str):
    """It changes nothing, makes nothing fresh, is told, and is followed by a pause."""
    changes, why = LIES[lie]
    follower = Follower()
    follower.start(ENTRY)
    before = follower.following.status(follower.elapsed).age
    ask = follower.ask()
    follower.take(ask, follower.document(**{"after": 3, "upto": 4, "issued_at": NOW, **changes}))
    status = follower.following.status(follower.elapsed)
    assert why in str(status.trouble)
    assert (status.entries, status.failures) == (1, 1)
    assert before is not None
    assert status.age == pytest.approx(before + PACE)
    assert follower.verdict() == "revoked"
    assert follower.next() == Pause(FIRST_PAUSE)


def test_gap_has_everything_asked_for():
    """What leaves a gap is not believed; a snapshot is asked for, and nothing less is taken for one."""
    follower = Follower()
    follower.start()
    follower.take(follower.ask(), follower.document(5, 6, OTHER))
    assert follower.told() == [Turn.ANEW, Turn.FOLLOWED]
    ask = follower.ask()
    assert (ask.known, ask.wait) == (None, 0)
    follower.take(ask, follower.document(3, 6, OTHER))
    assert "does not begin at the beginning" in str(follower.following.status(follower.elapsed).trouble)
    ask = follower.ask()
    assert ask.known is None
    follower.take(ask, follower.document(0, 6, ENTRY))
    assert follower.verdict() == "revoked"
    assert follower.ask().known is not None


def test_new_history_replaces_the_old_one():
    """A snapshot of another history is taken; a part of one has the whole asked for."""
    follower = Follower()
    follower.start(ENTRY)
    follower.take(follower.ask(), follower.document(0, 1, OTHER, epoch="second"))
    assert follower.verdict() == "good"
    ask = follower.ask()
    assert ask.known is not None
    assert (ask.known.epoch, ask.known.number) == ("second", 1)
    follower.take(ask, follower.document(1, 2, ENTRY, epoch="third"))
    assert follower.verdict() == "good"
    assert follower.ask().known is None


def served(answer: str, follower: Follower, ask: Ask, count: int) -> FeedDocument:
    """Return what a server answers at once that is broken in a way."""
    known = 3 if ask.known is None else ask.known.number
    match answer:
        case "nothing new":
            return follower.document(known, known)
        case "always news":
            return follower.document(known, known + 1, OTHER)
        case "always everything":
            return follower.document(0, known)
        case "always another history":
            return follower.document(0, 3, epoch=f"epoch {count}")
        case "always a gap":
            return follower.document(0, known) if ask.known is None else follower.document(known + 1, known + 2)
    return follower.document(0, known) if count % 2 else follower.document(known, known)


@pytest.mark.parametrize(
    ("answer", "most"),
    [
        ("nothing new", 60 / 10 + 2),
        ("always news", 60 / PACE_OF_NEWS + 2),
        ("always everything", 13),
        ("always another history", 13),
        ("always a gap", 23),
        ("everything now and then", 200),
    ],
)
def test_no_answer_has_the_server_hammered(answer: str, most: float):
    """Whatever a server answers at once, requests come at a pace, and a broken one is asked ever more rarely."""
    follower = Follower()
    follower.start()
    until = follower.elapsed + 60.0
    asks: list[Ask] = []
    while follower.elapsed < until:
        ask = follower.ask()
        follower.take(ask, served(answer, follower, ask, len(asks)))
        asks.append(ask)
        assert len(asks) <= most
    assert (
        min(later.sent - earlier.sent for earlier, later in pairwise(asks))
        > (PACE_OF_NEWS if answer == "always news" else PACE) - 1e-9
    )


def test_without_waiting_there_is_a_pace():
    """Where a staleness is too short for requests that wait, they come four times in that span."""
    follower = Follower(2)
    follower.start()
    sent = []
    for _ in range(5):
        ask = follower.ask()
        follower.take(ask, follower.document(3, 3))
        sent.append(ask.sent)
    assert [later - earlier for earlier, later in pairwise(sent)] == [pytest.approx(0.5)] * 4


def test_pauses_grow_and_are_bounded():
    """Each failure in a row doubles the pause up to a bound; jitter takes at most half of it; success ends it."""
    follower = Follower()
    pauses = []
    for _ in range(40):
        follower.ask()
        follower.fail()
        pauses.append(follower.following._next_at - follower.elapsed)
    assert pauses[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_PAUSE, LONGEST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    follower.following.fail("down", follower.elapsed, jitter=0.0)
    assert follower.following._next_at - follower.elapsed == LONGEST_PAUSE / 2
    follower.start()
    follower.take(follower.ask(), follower.document(3, 3))
    follower.ask()
    follower.fail()
    assert follower.following._next_at - follower.elapsed == FIRST_PAUSE


@pytest.mark.parametrize(("asked", "pause"), [(0.0, 0.5), (3.0, 3.0), (86_400.0, LONGEST_PAUSE)])
def test_server_may_ask_to_be_left_alone(asked: float, pause: float):
    """`Retry-After` is heeded within the bound of all pauses."""
    follower = Follower()
    follower.ask()
    follower.fail(retry_after=asked)
    assert follower.next() == Pause(pause)


def test_after_a_failure_an_answer_is_wanted_at_once():
    """While there is something to lose, the next try does not wait for news; once it is lost, answers get more time."""
    follower = Follower(8)
    follower.start()
    follower.ask()
    follower.fail()
    ask = follower.ask()
    assert ask.known is not None
    assert (ask.wait, ask.seconds) == (0, 2.0)
    follower.fail()
    follower.elapse(8.0)
    assert follower.ask().seconds == TIMEOUT


def test_stale_is_refused_and_recovers():
    """Past the staleness a good token is neither accepted nor invalid, a revoked one is invalid; then all is well."""
    follower = Follower()
    follower.start()
    assert follower.told() == [Turn.FOLLOWED]
    follower.ask()
    follower.fail("down")
    assert follower.told() == [Turn.FAILING]
    assert follower.verdict() == "good"
    follower.elapsed = 1_000.0 + STALENESS
    follower.wall = NOW + STALENESS
    assert follower.verdict() == "the revocations are stale: down"
    assert follower.told() == [Turn.STALE]
    assert follower.told() == []
    ask = follower.ask()
    follower.take(ask, follower.document(3, 4, ENTRY))
    assert follower.told() == [Turn.FOLLOWED]
    assert follower.verdict() == "revoked"
    follower.elapse(1_000.0)
    assert follower.verdict() == "revoked"


def test_a_pause_ends_when_what_is_known_gets_stale():
    """Whoever drives looks again at that moment, so that it is told then and not with the next request."""
    follower = Follower(1)
    follower.start()
    for _ in range(2):
        follower.ask()
        follower.fail()
    step = follower.next()
    assert isinstance(step, Pause)
    assert follower.elapsed + step.seconds == pytest.approx(1_001.0)
    follower.told()
    follower.elapse(step.seconds)
    assert follower.told() == [Turn.STALE]


def test_stale_may_be_accepted_if_it_was_known_once():
    """`when_stale="accept"` goes on with what was known last and counts what it lets in; revoked stays revoked."""
    follower = Follower(when_stale="accept")
    assert follower.verdict().startswith("the revocations are not known yet")
    follower.ask()
    follower.fail("down")
    assert follower.verdict() == "the revocations are not known yet: down"
    follower.start()
    follower.elapse(STALENESS)
    assert follower.verdict() == "good"
    status = follower.following.status(follower.elapsed)
    assert (status.usable, status.fresh, status.accepted_stale) == (True, False, 1)
    assert follower.told() == [Turn.STALE]
    follower.take(follower.ask(), follower.document(3, 4, ENTRY))
    follower.elapse(STALENESS)
    assert follower.verdict() == "revoked"


def test_each_reason_is_told_once():
    """A reason that stays the same is not told again, another one is; between them nothing is told."""
    follower = Follower()
    told = []
    for why in ("down", "down", "slow", "slow", "down"):
        follower.ask()
        follower.fail(why)
        told.append([change.why for change in follower.following.changes(follower.elapsed)])
    assert told == [["down"], [], ["slow"], [], ["down"]]


def test_status_tells_how_it_stands():
    """Counts, age and trouble are those of what happened."""
    follower = Follower()
    assert follower.following.status(follower.elapsed).age is None
    follower.start(ENTRY, OTHER)
    follower.elapse(2.0)
    follower.ask()
    follower.fail("down")
    status = follower.following.status(follower.elapsed)
    assert (status.usable, status.fresh, status.age, status.entries) == (True, True, 2.0, 2)
    assert (status.fetches, status.failures, status.accepted_stale, status.trouble) == (2, 1, 0, "down")


def test_refusal_says_when_to_come_again():
    """`Retry-After` is until the next request to the feed."""
    follower = Follower()
    for _ in range(5):
        follower.ask()
        follower.fail()
    with pytest.raises(CannotTell) as refusal:
        follower.following.refuse_revoked(TOKEN, follower.elapsed)
    assert refusal.value.retry_after == 8


@pytest.mark.parametrize(
    "policy",
    [
        {"max_staleness": timedelta(seconds=0.9)},
        {"max_staleness": timedelta(hours=1, seconds=1)},
        {"max_staleness": timedelta(0)},
        {"max_staleness": 30},
        {"when_stale": "ignore"},
        {"when_stale": None},
        {"token": ""},
        {"token": "with space"},
        {"token": "line\r\nX-Evil: 1"},
        {"token": "ümlaut"},
        {"token": "x" * 1025},
        {"token": 7},
        {"url": ""},
        {"url": 7},
        {"url": "https://auth.example/revocations?all=1"},
    ],
    ids=str,
)
def test_policy_without_bounds_cannot_be_made(policy: dict[str, Any]):
    """What is out of range, unknown, or could write headers or queries of its own is refused, and never echoed."""
    with pytest.raises((ValueError, TypeError)) as error:
        RevocationFeed(**{"max_staleness": timedelta(seconds=30), **policy})
    assert "Evil" not in str(error.value)


def test_staleness_has_no_default():
    """Whoever follows a feed says how long it may be behind."""
    with pytest.raises(TypeError, match="max_staleness"):
        RevocationFeed()  # type: ignore[call-arg]


def test_token_is_not_shown():
    """What the policy looks like in a log does not hold the token."""
    assert "s3cret" not in repr(RevocationFeed(max_staleness=timedelta(seconds=30), token="s3cret"))
