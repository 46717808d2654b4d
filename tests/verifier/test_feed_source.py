"""The life of what follows a feed: when it begins, who waits for it, and what is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from tests.settable_clock import SettableClock
from tests.system.server_process import wait_until
from tests.verifier.conftest import Follow
from tests.verifier.feed_publisher import FeedPublisher
from tests.verifier.followed import PATIENCE, STALENESS, Followed, feed_of
from tests.verifier.requests_to_judge import AUDIENCE, CLAIMS, ISSUER, token
from tokenkeep.contract.revocation import RevocationKind, RevocationSet, digest
from tokenkeep.jose import Key
from tokenkeep.verifier import (
    AccessToken,
    AsyncTokenVerifier,
    CannotTell,
    KeyFetching,
    Refused,
    RevocationFeed,
    TokenVerifier,
    feed_keeping,
)
from tokenkeep.verifier.asgi import TokenGuard, respond_to_refusal
from tokenkeep.verifier.fastapi import TokenAuth

ROOT: Final = Path(__file__).resolve().parents[2]
SESSION: Final = digest(RevocationKind.SESSION, ISSUER, str(CLAIMS["sid"]))
NAME: Final = "tokenkeep revocations"
FOREIGN: Final = Key.generate("ES256")


def arguments(feed: FeedPublisher, clock: SettableClock, **changes: Any) -> dict[str, Any]:
    """Return what makes a verifier that follows a feed."""
    return {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ["ES256"],
        "jwks_url": feed.web.url,
        "revocations": feed_of(feed),
        "clock": lambda: clock.now() / 1000,
        "monotonic": clock.monotonic,
        **changes,
    }


def threads() -> list[threading.Thread]:
    """Return the threads that follow feeds, and those that download for them."""
    return [thread for thread in threading.enumerate() if thread.name in (NAME, "tokenkeep download")]


def tasks(followed: Followed) -> list[str]:
    """Return the tasks in the event loop of a verifier that follow feeds."""

    async def find() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == NAME]

    return followed.run(find())


def test_nothing_happens_before_the_first_good_token(follow: Follow, feed: FeedPublisher):
    """A verifier that is made starts no thread and no task and asks nobody; nor does a token that is not good."""
    verifier = follow()
    status = verifier.status
    assert verifier.verdict("hello").startswith("invalid_token")
    assert verifier.verdict(token(key=FOREIGN)).startswith("invalid_token")
    assert (threads(), tasks(verifier), feed.questions) == ([], [], [])
    assert (status.usable, status.fresh, status.age, status.fetches) == (False, False, None, 0)


def test_entering_begins(follow: Follow, feed: FeedPublisher):
    """`with` and `async with` follow at once, and wait for nothing."""
    verifier = follow()
    feed.behaviour = feed.web.stay_silent
    verifier.enter()
    verifier.wait_for("the first request", lambda: len(feed.questions) == 1)
    assert verifier.status.fetches == 1


def test_readiness_waits_for_the_first_answer(follow: Follow, feed: FeedPublisher):
    """A health check that asks makes the revocations come, so that the first user need not wait."""
    feed.revoke(SESSION)
    verifier = follow()
    assert verifier.ready()
    assert verifier.status.entries == 1
    assert verifier.verdict(token()) == "invalid_token: revoked"
    assert len(feed.questions) == 1


def test_all_wait_for_one_answer(follow: Follow, feed: FeedPublisher):
    """Many tokens at once before anything is known cost one request, and each gets its verdict."""
    feed.revoke(SESSION)
    verifier = follow()
    verdicts: list[str] = []

    def judge() -> None:
        verdicts.append(verifier.verdict(token()))

    asking = [threading.Thread(target=judge) for _ in range(20)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(PATIENCE)
    assert verdicts == ["invalid_token: revoked"] * 20
    assert len(feed.questions) == 1


def test_nobody_waits_for_ever(follow: Follow, feed: FeedPublisher, monkeypatch: pytest.MonkeyPatch):
    """If the first request has not ended after a multiple of its limit, the token is refused with 503."""
    monkeypatch.setattr("tokenkeep.verifier.feed_source.PATIENCE", 0.1)
    monkeypatch.setattr("tokenkeep.verifier.async_feed_source.PATIENCE", 0.1)
    feed.behaviour = feed.web.stay_silent
    verifier = follow(fetching=KeyFetching(timeout=timedelta(seconds=3)))
    assert verifier.verdict(token()) == "unavailable: the revocations are not known yet: no answer has come in time"


def test_closing_leaves_nothing_behind(follow: Follow):
    """A request that waits for news is given up: no thread, no task and no connection is left."""
    verifier = follow()
    verifier.follow(token())
    begun = time.monotonic()
    verifier.close_the_verifier()
    assert time.monotonic() - begun < 5.0, "it would have waited for 15 seconds"
    assert NAME not in [thread.name for thread in threads()]
    assert tasks(verifier) == []
    wait_until(lambda: threads() == [], "nothing is downloaded")


def test_closed_verifier_goes_on_with_what_is_known(follow: Follow, feed: FeedPublisher):
    """After the end what is known is used while it is fresh, nobody is asked, and closing again does nothing."""
    verifier = follow()
    verifier.follow(token())
    verifier.close_the_verifier()
    questions = len(feed.questions)
    assert verifier.verdict(token()) == "good"
    verifier.let_pass(STALENESS)
    assert verifier.verdict(token()).startswith("unavailable: the revocations are stale")
    assert not verifier.ready()
    verifier.close_the_verifier()
    assert len(feed.questions) == questions


def test_verifier_closed_before_it_began(follow: Follow, feed: FeedPublisher):
    """A verifier that is closed before its first token never asks, and accepts nothing."""
    verifier = follow(jwks_url=None, keys=feed.key.public())
    verifier.close_the_verifier()
    assert verifier.verdict(token()) == "unavailable: the verifier is closed"
    assert not verifier.ready()
    assert feed.questions == []


def test_forgotten_verifier_ends_its_thread(feed: FeedPublisher, clock: SettableClock):
    """What follows for a verifier that nobody holds any more ends, and keeps nothing alive."""
    verifier = TokenVerifier(**arguments(feed, clock))
    verifier.verify(token())
    assert threads()
    del verifier
    gc.collect()
    wait_until(lambda: threads() == [], "the thread has ended")


async def test_forgotten_verifier_ends_its_task(feed: FeedPublisher, clock: SettableClock):
    """What follows for a verifier that nobody holds any more ends, and keeps nothing alive."""
    verifier = AsyncTokenVerifier(**arguments(feed, clock))
    await verifier.verify(token())
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == NAME]
    del verifier
    gc.collect()
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.cancelled()


async def test_task_knows_nothing_of_the_request(feed: FeedPublisher, clock: SettableClock):
    """What a request keeps in its context does not live on in the task that it happened to begin."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    seen = []

    def monotonic() -> float:
        task = asyncio.current_task()
        if task is not None and task.get_name() == NAME:
            seen.append(variable.get())
        return clock.monotonic()

    variable.set("a request")
    verifier = AsyncTokenVerifier(**arguments(feed, clock, monotonic=monotonic))
    await verifier.verify(token())
    await verifier.aclose()
    assert set(seen) == {"none"}


async def test_cancelled_request_does_not_end_it(feed: FeedPublisher, clock: SettableClock):
    """A client that hangs up while it waits for the first answer takes it from nobody."""
    async with AsyncTokenVerifier(**arguments(feed, clock, jwks_url=None, keys=feed.key.public())) as verifier:
        first = asyncio.create_task(verifier.verify(token()))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await verifier.verify(token())
    assert len(feed.questions) == 1


def test_missing_thread_is_no_answer(feed: FeedPublisher, clock: SettableClock, monkeypatch: pytest.MonkeyPatch):
    """If no thread can be had the token is refused with 503, and the next one tries again."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == NAME:
            raise RuntimeError("can't start new thread")
        start(thread)

    verifier = TokenVerifier(**arguments(feed, clock))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        verifier.__enter__()
        with pytest.raises(CannotTell, match="can't start new thread"):
            verifier.verify(token())
        assert not verifier.ready()
    assert verifier.verify(token())
    verifier.close()


def test_dead_thread_is_replaced(feed: FeedPublisher, clock: SettableClock, monkeypatch: pytest.MonkeyPatch):
    """If what follows has ended, whatever for, the set gets stale and the next token begins anew."""
    broken = False
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def monotonic() -> float:
        if broken and threading.current_thread().name == NAME:
            raise SystemExit
        return clock.monotonic()

    with TokenVerifier(**arguments(feed, clock, monotonic=monotonic)) as verifier:
        verifier.verify(token())
        course = verifier._feed._course
        broken = True
        with course.changed:
            course.changed.notify_all()
        course.join()
        broken = False
        assert verifier.verify(token())
        feed.revoke(SESSION)
        clock.elapse(STALENESS)
        with pytest.raises(Refused, match="revoked"):
            verifier.verify(token())


def test_another_event_loop_begins_anew(feed: FeedPublisher, clock: SettableClock):
    """A verifier that is used in one event loop after the other follows in each; what is fresh is used at once."""
    verifier = AsyncTokenVerifier(**arguments(feed, clock))
    assert asyncio.run(verifier.verify(token()))
    assert asyncio.run(verifier.verify(token()))
    assert len(feed.questions) == 1
    feed.revoke(SESSION)
    clock.elapse(STALENESS)
    with pytest.raises(Refused, match="revoked"):
        asyncio.run(verifier.verify(token()))
    assert len(feed.questions) == 2


def test_event_loop_beside_another_does_not_hang(feed: FeedPublisher, clock: SettableClock):
    """While one event loop waits for the first answer, a token in another one is refused with 503."""
    feed.behaviour = feed.web.stay_silent
    keys = feed.key.public()
    followed = Followed(
        "asyncio", feed, clock, fetching=KeyFetching(timeout=timedelta(seconds=3)), keys=keys, jwks_url=None
    )
    followed.enter()
    with pytest.raises(CannotTell, match="another event loop"):
        asyncio.run(followed.verifier.verify(token()))  # type: ignore[arg-type]
    followed.close()


FORKING: Final = """
import os, sys, threading
from datetime import timedelta
from tests.verifier.requests_to_judge import AUDIENCE, ISSUER
from tokenkeep.verifier import Refused, RevocationFeed, TokenVerifier

url, token = sys.argv[1:]
verifier = TokenVerifier(
    issuer=ISSUER, audience=AUDIENCE, algorithms=["ES256"], clock=lambda: 1_767_225_600,
    jwks_url=f"{url}/jwks.json",
    revocations=RevocationFeed(
        max_staleness=timedelta(minutes=1), token="a-token-of-the-feed", url=f"{url}/revocations"
    ),
)

def verdict():
    try:
        return verifier.verify(token).name
    except Refused as refusal:
        return refusal.detail

print(verdict(), flush=True)
course = verifier._feed._course
held, may_go = threading.Event(), threading.Event()

def hold():
    # What another thread may hold at the moment of the fork.
    with course.changed, verifier._feed._lock, verifier._source._ended:
        held.set()
        may_go.wait()

holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = os.fork()
if child == 0:
    print(verdict(), verifier._feed._course is not course, verifier._feed._course.is_alive(), flush=True)
    verifier.close()
    os._exit(0)
may_go.set()
holder.join()
os.waitpid(child, 0)
print(verdict(), verifier._feed._course is course, course.is_alive(), flush=True)
verifier.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_child_of_a_fork_follows_by_itself(feed: FeedPublisher):
    """A child takes over neither thread nor locks nor what was known: its first token waits for an answer."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING]
    url = feed.url.removesuffix("/revocations")
    answer = subprocess.run([*command, url, token()], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == ["Ada", "Ada True True", "Ada True True"]
    assert [question.epoch for question in feed.questions].count(None) == 2


def application(verifier: AsyncTokenVerifier) -> FastAPI:
    """Return an application as the page tells to write it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with verifier:
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_exception_handler(Refused, respond_to_refusal)
    auth = TokenAuth(verifier)

    @app.get("/orders")
    async def orders(user: AccessToken = Depends(auth)) -> str | None:  # noqa: B008 - as FastAPI has it
        return user.name

    return app


@pytest.mark.parametrize("guarded", [False, True], ids=["dependency", "middleware"])
def test_applications_follow_while_they_live(feed: FeedPublisher, clock: SettableClock, guarded: bool):
    """Both adapters refuse what is revoked, and with 503 what cannot be told; the life span begins and ends it."""
    verifier = AsyncTokenVerifier(**arguments(feed, clock))
    app: Any = application(verifier)
    if guarded:
        app = TokenGuard(app, verifier)
    headers = {"Authorization": f"Bearer {token()}"}
    with TestClient(app) as client:
        wait_until(lambda: len(feed.questions) == 1, "the feed is followed before the first request")
        assert client.get("/orders", headers=headers).json() == "Ada"
        course = verifier._feed._course
        assert course is not None
        feed.status = 500
        clock.elapse(STALENESS)
        course._loop.call_soon_threadsafe(course.wake.set)
        wait_until(lambda: verifier.revocation_status().failures == 1, "the failure")
        answer = client.get("/orders", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"]
        feed.status = 200
        feed.revoke(SESSION)
        clock.elapse(20.0)
        course._loop.call_soon_threadsafe(course.wake.set)
        wait_until(lambda: verifier.revocation_status().fresh, "recovery")
        answer = client.get("/orders", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    assert not course.is_alive()


def test_verifier_that_waits_in_its_thread_has_no_place_in_an_event_loop(feed: FeedPublisher, clock: SettableClock):
    """Also with keys given, a verifier for threads waits for its feed, and the adapters do not take it."""
    verifier = TokenVerifier(**arguments(feed, clock, jwks_url=None, keys=feed.key.public()))
    assert verifier.may_wait
    with pytest.raises(TypeError, match="AsyncTokenVerifier"):
        TokenAuth(verifier)


@pytest.mark.parametrize("kind", [TokenVerifier, AsyncTokenVerifier])
def test_status_without_a_feed(kind: type, feed: FeedPublisher, clock: SettableClock):
    """Without revocations all is well; a set that somebody else keeps is told as it is."""
    common = arguments(feed, clock, jwks_url=None, keys=feed.key.public())
    assert kind(**{**common, "revocations": None}).revocation_status().usable
    kept = RevocationSet()
    kept.add([SESSION])
    verifier = kind(**{**common, "revocations": kept})
    assert (verifier.revocation_status().usable, verifier.revocation_status().entries) == (False, 1)
    kept.confirm(clock.monotonic() + 5)
    assert (verifier.revocation_status().usable, verifier.revocation_status().fresh) == (True, True)


def test_readers_spread_by_chance():
    """The pauses of the processes of a service differ."""
    keeping = feed_keeping.FeedKeeping(
        "https://auth.example/revocations",
        RevocationFeed(max_staleness=timedelta(seconds=30)),
        lambda: None,  # type: ignore[arg-type, return-value]
        clocks=feed_keeping.Clocks(lambda: 0.0, lambda: 0.0),
    )
    assert len({keeping._jitter() for _ in range(10)}) > 1
