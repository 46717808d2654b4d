"""A publisher of a good key set, and verifiers that ask it, each test for both kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from tests.settable_clock import SettableClock
from tests.verifier.driven import KINDS, Driven
from tests.verifier.feed_publisher import FeedPublisher, publishing_feed
from tests.verifier.followed import Followed
from tests.verifier.publisher import Publisher, publishing
from tests.verifier.requests_to_judge import KEY

Drive = Callable[..., Driven]


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """A publisher of a good key set."""
    with publishing(KEY) as publisher:
        yield publisher


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of verifier in turn."""
    return str(request.param)


@pytest.fixture
def drive(kind: str, publisher: Publisher, clock: SettableClock) -> Iterator[Drive]:
    """Makes verifiers of a kind that fetch from the publisher and go by the clock of the test; all are closed."""
    with ExitStack() as verifiers:

        def make(**arguments: object) -> Driven:
            given = {"jwks_url": publisher.url, "monotonic": clock.monotonic, **arguments}
            return verifiers.enter_context(closing(Driven(kind, **given)))

        yield make


@pytest.fixture
def feed(clock: SettableClock) -> Iterator[FeedPublisher]:
    """A publisher of a good key set and of a feed."""
    with publishing_feed(clock) as publisher:
        yield publisher


Follow = Callable[..., Followed]


@pytest.fixture
def follow(kind: str, feed: FeedPublisher, clock: SettableClock) -> Iterator[Follow]:
    """Makes verifiers of a kind that follow the feed and go by the clock of the test; all are closed."""
    with ExitStack() as verifiers:
        verifiers.callback(feed.end)

        def make(**arguments: object) -> Followed:
            return verifiers.enter_context(closing(Followed(kind, feed, clock, **arguments)))

        yield make
