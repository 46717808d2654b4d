"""The state machine of the key cache: a table of what it decides, and what it never does whatever happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.verifier.requests_to_judge import KEY, OTHER_KEY
from tokenkeep.jose import KeySet
from tokenkeep.verifier.jwks import KeyFetching, Publication
from tokenkeep.verifier.key_cache import (
    EXCUSE,
    LONGEST_AGE,
    MOST_MISSING,
    REFRESH_FROM,
    REFRESH_SPREAD,
    SHORTEST_AGE,
    USUAL_AGE,
    Fetch,
    KeyCache,
    Refuse,
    Unknown,
    Use,
    Wait,
)

KEYS: Final = KeySet([KEY.public()])
OTHER_KEYS: Final = KeySet([OTHER_KEY.public()])
STALE: Final = 3_600.0
COOLDOWN: Final = 10.0
AGE: Final = 300.0
TOKEN: Final = "a.b.c"


def published(keys: KeySet | None = KEYS, *, age: float | None = AGE, etag: str | None = None) -> Publication:
    """Return a publication of some keys."""
    return Publication(keys, etag, age)


class Story:
    """A cache, and what happens to it at instants that the test names."""

    def __init__(self, **fetching: timedelta) -> None:
        self.cache = KeyCache(KeyFetching(**fetching))

    def fetch(self, now: float) -> Fetch:
        """Have a token come that must wait for a fetch, which begins."""
        decision = self.cache.keys_for(now, now)
        assert isinstance(decision, Wait)
        assert decision.begin
        return decision.fetch

    def hold(self, now: float, publication: Publication | None = None, *, jitter: float = 0.0) -> None:
        """Have the keys fetched at an instant."""
        self.cache.succeed(self.fetch(now), publication or published(), asked=now, jitter=jitter)

    def look(self, now: float) -> Use | Wait | Refuse:
        """Have a token come."""
        return self.cache.keys_for(now, now)

    def miss(self, now: float, token: str = TOKEN, *, arrived: float | None = None) -> Use | Wait | Unknown | Refuse:
        """Have a token come whose key is not in the set."""
        return self.cache.newer_keys_for(token, KEYS, now if arrived is None else arrived, now=now)


def test_first_token_fetches_and_others_wait():
    """Nothing is held at first: one fetches, and everybody waits for that one fetch."""
    story = Story()
    fetch = story.fetch(100.0)
    assert [story.look(100.0 + second) for second in range(3)] == [Wait(fetch, begin=False)] * 3
    story.cache.succeed(fetch, published(), asked=100.0, jitter=0.0)
    assert story.look(103.0) == Use(KEYS)


@pytest.mark.parametrize(
    ("said", "kept"),
    [(None, USUAL_AGE), (0.0, SHORTEST_AGE), (31.0, 31.0), (600.0, 600.0), (31_536_000.0, LONGEST_AGE)],
)
def test_age_is_what_the_issuer_says_within_bounds(said: float | None, kept: float):
    """A set lives as long as its issuer says, but at least half a minute and at most a day."""
    story = Story()
    story.hold(0.0, published(age=said))
    assert story.look(kept * REFRESH_FROM - 0.001) == Use(KEYS)
    assert isinstance(story.look(kept), Wait)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_keys_are_fetched_anew_before_their_time_is_over(jitter: float):
    """From a share of the age on, one token starts a fetch in the background, and nobody waits."""
    story = Story()
    story.hold(0.0, jitter=jitter)
    early = AGE * (REFRESH_FROM + REFRESH_SPREAD * jitter)
    assert early < AGE
    assert story.look(early - 0.001) == Use(KEYS)
    decision = story.look(early)
    assert isinstance(decision, Use)
    assert decision.begin is not None
    assert [story.look(early + second) for second in (0.0, 1.0, 5.0)] == [Use(KEYS)] * 3
    story.cache.succeed(decision.begin, published(OTHER_KEYS), asked=early, jitter=0.0)
    assert story.look(early + 6.0) == Use(OTHER_KEYS)


def test_fetch_in_the_background_may_outlast_the_age():
    """Nobody waits because a fetch that began in time takes long."""
    story = Story()
    story.hold(0.0)
    assert isinstance(story.look(AGE - 1.0), Use)
    assert story.look(AGE + 2.0) == Use(KEYS)


def test_fetch_in_the_background_is_the_only_one():
    """A fetch that takes longer than the cooldown is still the one that is under way."""
    story = Story()
    story.hold(0.0)
    decision = story.look(AGE - 20.0)
    assert isinstance(decision, Use)
    assert decision.begin is not None
    for seconds in (COOLDOWN, 2 * COOLDOWN - 0.001):
        assert story.look(AGE - 20.0 + seconds) == Use(KEYS)
        assert story.miss(AGE - 20.0 + seconds) == Wait(decision.begin, begin=False)


def test_answer_that_took_longer_than_its_age_serves_those_who_waited():
    """Whoever waited for a slow issuer gets its keys, and is not made to wait again and again."""
    story = Story(timeout=timedelta(seconds=60))
    story.cache.succeed(story.fetch(0.0), published(age=SHORTEST_AGE), asked=0.0, jitter=0.0)
    assert story.cache.keys_for(0.0, 45.0) == Use(KEYS)
    assert isinstance(story.look(45.0), Wait)


def test_old_keys_are_not_used_without_asking():
    """After a pause longer than the age, the next token waits: a key may have been taken back meanwhile."""
    story = Story()
    story.hold(0.0)
    assert isinstance(story.look(AGE), Wait)


def test_keys_are_used_while_the_issuer_is_down_until_the_hard_limit():
    """If the issuer cannot be reached, keys are used past their age, and not a second longer than the limit."""
    story = Story()
    story.hold(0.0)
    now = AGE
    story.cache.fail(story.fetch(now), "down", now)
    while (now := now + 5.0) < AGE + STALE:
        decision = story.look(now)
        assert isinstance(decision, Use), now
        if decision.begin is not None:
            story.cache.fail(decision.begin, "down", now + 1.0)
    assert isinstance(story.look(AGE + STALE - 0.001), Use)
    now = AGE + STALE
    decision = story.look(now)
    if isinstance(decision, Wait):
        story.cache.fail(decision.fetch, "down", now)
        decision = story.look(now)
    assert isinstance(decision, Refuse)
    assert decision.detail == "down"


def test_without_a_stale_limit_keys_end_with_their_age():
    """A limit of nothing means that keys are never used past their age."""
    story = Story(stale_limit=timedelta(0))
    story.hold(0.0)
    decision = story.look(AGE - 1.0)
    assert isinstance(decision, Use)
    assert decision.begin is not None
    story.cache.fail(decision.begin, "down", AGE - 0.5)
    assert isinstance(story.look(AGE - 0.001), Use)
    assert isinstance(story.look(AGE), Refuse)


def test_one_failure_does_not_excuse_for_ever():
    """Some time after the last failed attempt, old keys are not used without asking again."""
    story = Story()
    story.hold(0.0)
    story.cache.fail(story.fetch(AGE), "down", AGE)
    assert isinstance(story.look(AGE + EXCUSE - 0.001), Use)
    other = Story()
    other.hold(0.0)
    other.cache.fail(other.fetch(AGE), "down", AGE)
    assert isinstance(other.look(AGE + EXCUSE), Wait)


def test_success_ends_the_excuse():
    """A failure before the last success excuses nothing."""
    story = Story()
    story.cache.fail(story.fetch(0.0), "down", 1.0)
    story.hold(COOLDOWN, published(age=SHORTEST_AGE))
    assert COOLDOWN + SHORTEST_AGE < 1.0 + EXCUSE
    assert isinstance(story.look(COOLDOWN + SHORTEST_AGE), Wait)


def test_recovery_needs_no_more_than_one_fetch():
    """As soon as the issuer answers again everything is as before."""
    story = Story()
    story.cache.fail(story.fetch(0.0), "down", 1.0)
    assert isinstance(story.look(1.0), Refuse)
    story.hold(COOLDOWN)
    assert story.look(COOLDOWN) == Use(KEYS)
    assert story.cache.status(COOLDOWN + 3.0).trouble is None


def test_failures_are_not_repeated_within_the_cooldown():
    """While there are no keys, one token per cooldown tries, and the others are told when to come again."""
    story = Story()
    story.cache.fail(story.fetch(0.0), "down", 0.5)
    assert story.look(0.5) == Refuse("down", 10)
    assert story.look(7.4) == Refuse("down", 3)
    assert story.look(9.999) == Refuse("down", 1)
    assert isinstance(story.look(10.0), Wait)


def test_token_that_waited_in_vain_is_refused():
    """Whoever came before a fetch that failed is not made to wait for another one."""
    story = Story(cooldown=timedelta(seconds=1))
    story.cache.fail(story.fetch(0.0), "down", 5.0)
    assert isinstance(story.cache.keys_for(0.0, 5.0), Refuse)
    assert isinstance(story.cache.keys_for(5.0, 5.0), Wait)


def test_unknown_key_is_looked_up_once():
    """A token with a key that is not held waits for a fetch; still unknown after it, it is invalid."""
    story = Story()
    story.hold(0.0)
    decision = story.miss(100.0)
    assert isinstance(decision, Wait)
    assert decision.begin
    assert story.look(100.5) == Use(KEYS), "good tokens go on meanwhile"
    assert story.miss(100.5, "another") == Wait(decision.fetch, begin=False)
    story.cache.succeed(decision.fetch, published(None, etag='"1"'), asked=100.0, jitter=0.0)
    assert story.miss(101.0, arrived=100.0) == Unknown()


def test_new_key_is_found():
    """What a fetch brought is what the token is judged with again."""
    story = Story()
    story.hold(0.0)
    decision = story.miss(100.0)
    assert isinstance(decision, Wait)
    story.cache.succeed(decision.fetch, published(OTHER_KEYS), asked=100.0, jitter=0.0)
    assert story.miss(101.0, arrived=100.0) == Use(OTHER_KEYS)


@pytest.mark.parametrize("keys", [None, OTHER_KEYS])
def test_token_that_came_after_the_fetch_is_not_called_invalid(keys: KeySet | None):
    """Within the cooldown the set cannot be looked up again, so that nobody knows: refused, but not as invalid."""
    story = Story()
    story.hold(0.0)
    decision = story.miss(100.0)
    assert isinstance(decision, Wait)
    story.cache.succeed(decision.fetch, published(keys), asked=100.0, jitter=0.0)
    than = KEYS if keys is None else keys
    refused = story.cache.newer_keys_for("newer", than, 100.1, now=101.5)
    assert refused == Refuse("the key is unknown, and the key set was fetched a moment ago", 9)
    assert isinstance(story.cache.newer_keys_for("newer", than, 110.0, now=110.0), Wait)


def test_token_that_was_looked_up_in_vain_stays_invalid():
    """The same token again is told the same, without a fetch, until the next one."""
    story = Story()
    story.hold(0.0)
    decision = story.miss(100.0)
    assert isinstance(decision, Wait)
    story.cache.succeed(decision.fetch, published(None), asked=100.0, jitter=0.0)
    assert story.miss(101.0, arrived=100.0) == Unknown()
    assert story.miss(102.0) == Unknown()
    assert isinstance(story.miss(110.0), Wait)


def test_memory_of_unknown_tokens_is_bounded():
    """A flood fills the memory and no more: those that found no room are refused, but not as invalid."""
    story = Story()
    story.hold(0.0)
    for number in range(MOST_MISSING + 5):
        assert story.miss(1.0, f"token {number}", arrived=0.0) == Unknown()
    assert story.miss(2.0, "token 0") == Unknown()
    assert isinstance(story.miss(2.0, f"token {MOST_MISSING + 1}"), Refuse)


def test_unknown_key_while_the_issuer_is_down_is_not_called_invalid():
    """If the set could not be fetched, nobody knows whether the key is good; and held keys stay."""
    story = Story()
    story.hold(0.0)
    decision = story.miss(100.0)
    assert isinstance(decision, Wait)
    story.cache.fail(decision.fetch, "down", 101.0)
    assert story.miss(101.0, arrived=100.0) == Refuse("down", 9)
    assert story.look(101.0) == Use(KEYS)


def test_tag_of_what_is_held_is_asked_with():
    """A fetch names what is held, also when "not modified" did not repeat the tag."""
    story = Story()
    assert story.fetch(0.0).etag is None
    story = Story()
    story.hold(0.0, published(etag='"one"'))
    decision = story.miss(100.0)
    assert isinstance(decision, Wait)
    assert decision.fetch.etag == '"one"'
    story.cache.succeed(decision.fetch, published(None), asked=100.0, jitter=0.0)
    decision = story.miss(200.0)
    assert isinstance(decision, Wait)
    assert decision.fetch.etag == '"one"'


def test_not_modified_renews_the_age():
    """A set that has not changed is good for its age again, counted from when that was asked."""
    story = Story()
    story.hold(0.0, published(etag='"one"'))
    decision = story.look(AGE - 1.0)
    assert isinstance(decision, Use)
    assert decision.begin is not None
    story.cache.succeed(decision.begin, published(None), asked=AGE - 1.0, jitter=1.0)
    assert story.look(2 * AGE - 50.0) == Use(KEYS)


def test_fetch_that_is_lost_is_replaced():
    """A fetch whose thread or event loop is gone does not hold everybody up for ever; a late answer changes nothing."""
    story = Story(timeout=timedelta(seconds=5))
    lost = story.fetch(0.0)
    assert story.look(19.999) == Wait(lost, begin=False)
    assert story.cache.is_under_way(lost, 19.999)
    fetch = story.fetch(20.0)
    assert not story.cache.is_under_way(lost, 20.0)
    story.cache.succeed(lost, published(OTHER_KEYS), asked=0.0, jitter=0.0)
    story.cache.fail(lost, "late", 21.0)
    assert story.look(21.0) == Wait(fetch, begin=False)


def test_closed_cache_fetches_nothing():
    """After the end, what is held is used while it may be, and nothing is fetched."""
    story = Story()
    story.cache.close()
    assert story.look(0.0) == Refuse("the verifier is closed", 1)
    story = Story()
    story.hold(0.0)
    story.cache.close()
    assert story.look(AGE - 1.0) == Use(KEYS)
    assert isinstance(story.look(AGE), Refuse)
    assert isinstance(story.miss(100.0), Refuse)


def test_status_tells_how_it_stands():
    """For metrics and health: whether keys are usable, how old they are, and what went wrong how often."""
    story = Story()
    status = story.cache.status(0.0)
    assert (status.usable, status.age, status.fetches, status.failures, status.trouble) == (False, None, 0, 0, None)
    story.cache.fail(story.fetch(0.0), "down", 1.0)
    status = story.cache.status(1.0)
    assert (status.usable, status.fetches, status.failures, status.trouble) == (False, 1, 1, "down")
    story.hold(20.0)
    status = story.cache.status(25.0)
    assert (status.usable, status.age, status.fetches, status.failures, status.trouble) == (True, 5.0, 2, 1, None)
    assert story.cache.status(20.0 + AGE + STALE - 0.001).usable
    assert not story.cache.status(20.0 + AGE + STALE).usable


class AnyCourse(RuleBasedStateMachine):
    """Tokens come and fetches end in any order and at any time; a simple model says what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.fetching = KeyFetching(cooldown=timedelta(seconds=COOLDOWN), stale_limit=timedelta(seconds=120))
        self.cache = KeyCache(self.fetching)
        self.now = 1_000.0
        self.begun: list[float] = []
        self.flying: Fetch | None = None
        self.sent = 0.0
        self.keys: KeySet | None = None
        self.asked = -1.0
        self.age = 0.0
        self.looked_up: set[str] = set()

    def begin(self, fetch: Fetch) -> None:
        """Note a fetch that begins; the model has its own opinion on whether it may."""
        assert self.flying is None or self.now >= self.flying.began + self.cache.lost_after, "two at once"
        assert not self.begun or self.now - self.begun[-1] >= COOLDOWN, "sooner than the cooldown"
        self.begun.append(self.now)
        self.flying = fetch
        self.sent = self.now
        self.looked_up.clear()

    @rule(seconds=st.one_of(st.floats(0.0, 3.0), st.floats(0.0, 400.0)))
    def time_passes(self, seconds: float) -> None:
        """Nothing happens for a while."""
        self.now += seconds

    @rule(waited=st.floats(0.0, 8.0))
    def good_token_comes(self, waited: float) -> None:
        """A token is judged, that came some time ago or just now."""
        decision = self.cache.keys_for(self.now - waited, self.now)
        match decision:
            case Use(keys, begin):
                assert keys is self.keys, "other keys than the last good ones"
                assert self.now < self.asked + self.age + 120.0, "past the hard limit"
                if begin is not None:
                    self.begin(begin)
            case Wait(fetch, begin):
                if begin:
                    self.begin(fetch)
                assert fetch is self.flying
            case Refuse(retry_after=seconds):
                assert self.begun
                assert 1 <= seconds <= COOLDOWN
                assert self.keys is None or self.now >= self.asked + self.age + 120.0, "refused while keys are good"

    @precondition(lambda self: self.keys is not None)
    @rule(waited=st.floats(0.0, 8.0), token=st.sampled_from(["one", "two", "three"]))
    def unknown_token_comes(self, waited: float, token: str) -> None:
        """A token is judged whose key is not in the set."""
        assert self.keys is not None
        arrived = self.now - waited
        decision = self.cache.newer_keys_for(token, self.keys, arrived, now=self.now)
        match decision:
            case Unknown():
                assert self.asked >= arrived or token in self.looked_up, "invalid, but not looked up since it came"
                self.looked_up.add(token)
            case Wait(fetch, begin):
                if begin:
                    self.begin(fetch)
                assert fetch is self.flying
            case Refuse(retry_after=seconds):
                assert 1 <= seconds <= COOLDOWN
            case Use():
                raise AssertionError("there are no newer keys")

    @precondition(lambda self: self.flying is not None)
    @rule(
        age=st.sampled_from([None, 0.0, 60.0, 300.0, 10**9]),
        changed=st.booleans(),
        jitter=st.floats(0.0, 1.0),
        began_to_ask=st.floats(0.0, 1.0),
    )
    def fetch_succeeds(self, age: float | None, changed: bool, jitter: float, began_to_ask: float) -> None:
        """The issuer answers."""
        assert self.flying is not None
        lost = self.now >= self.flying.began + self.cache.lost_after
        new = KeySet([KEY.public()]) if changed or self.keys is None else None
        asked = self.sent + began_to_ask * (self.now - self.sent)
        self.cache.is_under_way(self.flying, self.now)
        self.cache.succeed(self.flying, published(new, age=age), asked=asked, jitter=jitter)
        if not lost:
            self.keys = new or self.keys
            self.asked = asked
            self.age = 300.0 if age is None else min(max(age, 30.0), 86_400.0)
        self.flying = None

    @precondition(lambda self: self.flying is not None)
    @rule()
    def fetch_fails(self) -> None:
        """The issuer does not answer, or not with keys."""
        assert self.flying is not None
        self.cache.fail(self.flying, "down", self.now)
        self.flying = None

    @invariant()
    def keys_are_never_lost(self) -> None:
        """Whatever happens, the last good keys are held."""
        assert self.cache.status(self.now).usable is (
            self.keys is not None and self.now < self.asked + self.age + 120.0
        )


TestAnyCourse = AnyCourse.TestCase
TestAnyCourse.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
