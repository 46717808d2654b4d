"""The revocation feed of the real server: who waits hears at once, and nothing is lost when the server ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from tests.system.feed_reader import FEED_TOKEN, WITH_FEED, FeedReader, Waiting
from tests.system.server_process import ServerProcess, wait_until
from tests.system.visitor import Visitor
from tests.system.workers import workers_of
from tokenkeep.verifier import InvalidToken, RevocationFeed, TokenVerifier

PASSWORD = "correct-horse-battery"
AT_ONCE = 5.0
"""Seconds in which what comes at once has come, also on a machine with much else to do; the longest wait is 30."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with an administrator and a user."""
    with ServerProcess(tmp_path_factory.mktemp("made")) as server:
        server.start()
        server.add_user("Root", PASSWORD, role="admin")
        server.add_user("Ada", PASSWORD)
        assert server.stop() == 0
    return server.data


@pytest.fixture
def server(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """A running server with a feed."""
    if engine == "sqlite":
        shutil.copytree(request.getfixturevalue("made"), tmp_path / "data")
        with ServerProcess(tmp_path, environ=WITH_FEED) as started:
            started.start()
            yield started
        return
    started = request.getfixturevalue("start")(added=WITH_FEED)
    started.add_user("Root", PASSWORD, role="admin")
    started.add_user("Ada", PASSWORD)
    yield started


def signed_in(server: ServerProcess, name: str = "Ada") -> Visitor:
    """Return somebody who has logged in."""
    visitor = Visitor(server, name, PASSWORD)
    assert visitor.login().status_code == 200
    return visitor


def waiting(server: ServerProcess) -> int:
    """Return how many readers wait."""
    with workers_of(server) as workers:
        return int(sum(worker.metric("tokenkeep_feed_waiting") for worker in workers))


def wait_beside(server: ServerProcess, reader: FeedReader) -> Waiting:
    """Have a reader wait for news, and return when it does."""
    before = waiting(server)
    task = Waiting(reader)
    wait_until(lambda: waiting(server) == before + 1, "the reader waits")
    return task


def log_out(_: ServerProcess, visitor: Visitor) -> None:
    """End the session as its user does."""
    assert visitor.logout().status_code == 200


def end_own_session(_: ServerProcess, visitor: Visitor) -> None:
    """End the session from the list of sessions."""
    [session] = [each for each in visitor.get("/sessions").json()["sessions"] if each["current"]]
    assert visitor.delete(f"/sessions/{session['id']}").status_code == 200


def expel(server: ServerProcess, visitor: Visitor) -> None:
    """Have an administrator end all sessions of the account."""
    root = signed_in(server, "Root")
    user = visitor.get("/me").json()["id"]
    assert root.delete(f"/admin/users/{user}/sessions").status_code == 200


def revoke_by_command(server: ServerProcess, _: Visitor) -> None:
    """End the sessions with a command beside the server."""
    server.command("sessions", "revoke", "Ada")


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("end", [log_out, end_own_session, expel, revoke_by_command], ids=lambda end: end.__name__)
def test_who_waits_hears_at_once(server: ServerProcess, end: Callable[[ServerProcess, Visitor], None]):
    """Whatever ends a session, by whomever: a waiting reader is told, and refuses its tokens from then on."""
    visitor, reader = signed_in(server), FeedReader(server)
    assert reader.follow().after == 0
    assert not reader.refuses(visitor.access_token)
    task = wait_beside(server, reader)
    end(server, visitor)
    answered_at = time.monotonic()
    document = task.done()
    assert document.entries
    assert task.ended_at - answered_at < AT_ONCE
    assert reader.refuses(visitor.access_token)
    assert not reader.refuses(signed_in(server).access_token)


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("ask", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_server_that_ends_keeps_nobody_waiting(server: ServerProcess, ask: str):
    """Told to end, or to begin anew with new settings, it answers who waits at once, and well, and does not wait."""
    readers = [FeedReader(server) for _ in range(2)]
    for reader in readers:
        reader.follow()
    tasks = [wait_beside(server, reader) for reader in readers]
    workers = server.children()
    started = time.monotonic()
    os.kill(server.pid, signal.Signals[ask])
    assert [task.done().entries for task in tasks] == [(), ()]
    # Of several workers, one is replaced after the other: each serves until its turn.
    turns = server.workers if ask == "SIGHUP" else 1
    assert max(task.ended_at for task in tasks) - started < AT_ONCE * turns
    # Long before Granian loses its patience. Its log does not tell: a worker that has just ended may count as alive.
    assert psutil.wait_procs(workers, AT_ONCE * turns)[1] == []
    if ask != "SIGHUP":
        assert server.wait() == 0
    assert "Traceback" not in server.log


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_reader_goes_on_after_a_restart(server: ServerProcess, end: str):
    """The history goes on where it was, also after a power cut: a reader misses nothing and need not begin anew."""
    visitors, reader = [signed_in(server) for _ in range(3)], FeedReader(server)
    assert visitors[0].logout().status_code == 200
    before = reader.follow()
    assert visitors[1].logout().status_code == 200
    assert server.stop() == 0 if end == "stop" else server.kill() is None
    server.start()
    assert visitors[2].logout().status_code == 200
    after = reader.follow()
    assert after.epoch == before.epoch
    assert (after.after, after.upto, len(after.entries)) == (before.upto, before.upto + 2, 2)
    assert all(reader.refuses(visitor.access_token) for visitor in visitors)
    newcomer = FeedReader(server)
    assert len(newcomer.follow().entries) == 3


@pytest.mark.engines("sqlite")
def test_what_is_revoked_while_the_server_is_down_is_not_missed(server: ServerProcess):
    """A command ends a session while nobody serves: the reader hears of it from the next server."""
    visitor, reader = signed_in(server), FeedReader(server)
    reader.follow()
    assert server.stop() == 0
    revoke_by_command(server, visitor)
    server.start()
    reader.follow()
    assert reader.refuses(visitor.access_token)


@pytest.mark.engines("sqlite", pinned=True)
def test_a_recovery_begins_a_new_history(server: ServerProcess):
    """After a backup was put back and `recover` has run, readers are given everything anew, signed with new keys."""
    visitor, reader = signed_in(server), FeedReader(server)
    before = reader.follow()
    assert server.stop() == 0
    shutil.copy(server.data / "tokenkeep.db", server.directory / "backup.db")
    server.start()
    assert visitor.logout().status_code == 200
    reader.follow()
    assert server.stop() == 0
    shutil.copy(server.directory / "backup.db", server.data / "tokenkeep.db")
    server.command("recover", "--yes")
    server.start()
    after = reader.follow()
    assert after.epoch != before.epoch
    assert after.after == 0
    assert reader.refuses(visitor.access_token)


@pytest.mark.engines("sqlite")
def test_lines_of_the_log_hold_neither_token_nor_query(server: ServerProcess):
    """What readers send stays out of the log."""
    reader = FeedReader(server)
    epoch = reader.follow().epoch
    reader.follow()
    assert reader.get(epoch="canary-epoch", after=3).status_code == 200
    assert server.request("GET", "/revocations", headers={"Authorization": f"Bearer {FEED_TOKEN}x"}).status_code == 401
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines if line.get("path") == "/revocations"] == [200, 200, 200, 401]
    for told in (FEED_TOKEN, epoch, "canary-epoch"):
        assert told not in server.log


@pytest.mark.engines("sqlite")
def test_the_verifier_of_another_service_follows(server: ServerProcess):
    """A service with a verifier refuses what was logged out at once, and goes on through a restart of the server."""
    feed = RevocationFeed(max_staleness=timedelta(seconds=40), token=FEED_TOKEN)
    with TokenVerifier(issuer=server.url, audience=server.url, algorithms=["ES256"], revocations=feed) as verifier:
        first, second = signed_in(server), signed_in(server)
        assert verifier.verify(first.access_token)
        wait_until(lambda: waiting(server) == 1, "the verifier waits")
        assert first.logout().status_code == 200
        wait_until(lambda: refused(verifier, first.access_token), "the token is refused", within=AT_ONCE)
        assert verifier.verify(second.access_token)
        server.restart()
        assert second.logout().status_code == 200
        wait_until(lambda: refused(verifier, second.access_token), "the token is refused after the restart")
        assert refused(verifier, first.access_token)
        assert verifier.revocation_status().trouble is None


def refused(verifier: TokenVerifier, token: str) -> bool:
    """Tell whether a verifier refuses a token as revoked."""
    try:
        verifier.verify(token)
    except InvalidToken as refusal:
        assert str(refusal) == "revoked"  # noqa: PT017  (told apart from any other refusal)
        return True
    return False


@pytest.mark.engines("fleet")
def test_the_feed_of_a_database_that_others_share(server: ServerProcess):
    """Several workers: a reader of one hears at once of a logout in another, and soon of a command beside them."""
    reader = FeedReader(server)
    reader.follow()
    for end in (log_out, revoke_by_command):
        visitor = signed_in(server)
        task = wait_beside(server, reader)
        end(server, visitor)
        answered_at = time.monotonic()
        assert task.done().entries
        assert task.ended_at - answered_at < AT_ONCE
        assert reader.refuses(visitor.access_token)
    dates = [document.issued_at for document in reader.documents]
    assert dates == sorted(dates)
