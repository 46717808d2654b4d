"""Several workers behind one port, on one PostgreSQL and one Redis: nobody can tell which one answers."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.postgres_server import PostgresSchema
from tests.redis_server import RedisServer
from tests.system.conftest import FLEET, WORKERS, sharing
from tests.system.server_process import ServerProcess, wait_until
from tests.system.surroundings.spoken import say
from tests.system.visitor import Visitor

PASSWORD: Final = "correct-horse-battery"
OPS_TOKEN: Final = "an-operations-token-of-32-chars."
pytestmark = [*FLEET, pytest.mark.slow]


HASTY: Final = """
from tokenkeep.cli import main
from tokenkeep.domain import server_processes
from tokenkeep.flows import serve_together
assert server_processes.LOST_AFTER == serve_together.LOST_AFTER == 10_000
server_processes.LOST_AFTER = serve_together.LOST_AFTER = 3_000
main()
"""
"""A server that takes others to be gone after three seconds, and not after ten."""


Prepare = Callable[..., ServerProcess]
"""Prepares a server that is not started; `environ` adds to its environment."""


@pytest.fixture
def prepare(tmp_path: Path, postgres_schema: PostgresSchema, redis: RedisServer) -> Iterator[Prepare]:
    """Prepares servers on one PostgreSQL and one Redis; all are killed in the end."""
    servers: list[ServerProcess] = []
    shared = sharing(postgres_schema, redis) | {"TOKENKEEP_OPS_TOKEN": OPS_TOKEN}

    def add(directory: str = "node", *, environ: dict[str, str] | None = None, **flags: str) -> ServerProcess:
        (tmp_path / directory).mkdir(exist_ok=True)
        both = {name: value for name, value in (shared | (environ or {})).items() if value}
        servers.append(ServerProcess(tmp_path / directory, environ=both, **flags))
        return servers[-1]

    yield add
    for server in servers:
        server.kill()


@pytest.fixture
def server(prepare: Prepare) -> ServerProcess:
    """A running server with its workers."""
    started = prepare(workers=str(WORKERS))
    started.start()
    return started


def pids_of(server: ServerProcess) -> set[int]:
    """Return the ids of the workers."""
    return {child.pid for child in server.children()}


def processes_told(server: ServerProcess, rounds: int = 60) -> set[str]:
    """Return which processes answer when metrics are asked for often."""
    found = set()
    for _ in range(rounds):
        answer = server.request("GET", "/metrics", headers={"Authorization": f"Bearer {OPS_TOKEN}"})
        found |= set(re.findall(r'^tokenkeep_redis_up\{process="(\d+)"\} 1.0$', answer.text, re.MULTILINE))
    return found


def everywhere(visitor: Visitor, rounds: int = 30) -> Counter[int]:
    """Return the statuses with which a visitor's token is answered, over many connections."""
    return Counter(visitor.get("/me").status_code for _ in range(rounds))


def test_all_workers_answer_and_agree(server: ServerProcess):
    """Logins of one worker are known to the others, and so is their end, within a moment."""
    wait_until(lambda: len(processes_told(server, 10)) == WORKERS or len(processes_told(server)) > 1, "several answer")
    assert len(pids_of(server)) == WORKERS
    assert processes_told(server) <= {str(pid) for pid in pids_of(server)}
    server.add_user("Ada", PASSWORD)
    for _ in range(5):
        ada = Visitor(server, "Ada", PASSWORD)
        assert ada.login().status_code == 200
        assert everywhere(ada) == {200: 30}
        assert ada.refresh().status_code == 200
        assert ada.logout().status_code == 200
        time.sleep(0.1)  # what is promised for all processes; a second is the limit where Redis is away
        assert everywhere(ada) == {401: 30}
    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log.upper().replace("INTERNAL_ERROR", "")


def test_a_scraper_that_would_keep_its_connection_meets_every_worker(server: ServerProcess):
    """Metrics end the connection, so that one client sees what each of the workers counts."""
    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {OPS_TOKEN}"}) as scraper:
        met: set[str] = set()

        def scrape() -> bool:
            met.update(
                re.findall(r'^tokenkeep_redis_up\{process="(\d+)"\}', scraper.get("/metrics").text, re.MULTILINE)
            )
            return len(met) == WORKERS

        wait_until(scrape, "all workers are met")
    assert met == {str(pid) for pid in pids_of(server)}


def test_limits_are_those_of_one_server(prepare: Prepare):
    """Whichever workers are asked, one address has as many logins as the limit says."""
    server = prepare(workers=str(WORKERS), rate_limits="on", login_limit_address="10/10m")
    server.start()
    answers = Counter(
        server.request("POST", "/login", json={"name": f"Nobody {number}", "password": "x" * 20}).status_code
        for number in range(40)
    )
    assert answers == {401: 10, 429: 30}


def test_a_worker_that_is_killed_is_replaced(server: ServerProcess):
    """A new one is started, knows what was revoked, and counts as the others do; also if it is killed again at once."""
    server.add_user("Ada", PASSWORD)
    gone, there = Visitor(server, "Ada", PASSWORD), Visitor(server, "Ada", PASSWORD)
    gone.login()
    there.login()
    gone.logout()
    for _ in range(2):
        victim = max(pids_of(server))
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda gone=victim: len(pids_of(server)) == WORKERS and gone not in pids_of(server),
            "there are as many again",
        )

    def all_answer() -> bool:
        try:
            return len(processes_told(server, 30)) > 1
        except httpx2.TransportError:
            return False

    wait_until(all_answer, "they answer")
    time.sleep(0.2)
    assert everywhere(gone, 60) == {401: 60}
    assert everywhere(there, 60) == {200: 60}
    assert server.stop() == 0


def test_redis_that_goes_under_traffic_is_missed_by_nobody(server: ServerProcess, redis: RedisServer):
    """While it is stopped, frozen and started again, logins, refreshes and logouts are answered as ever."""
    server.add_user("Ada", PASSWORD)
    answers: list[int] = []
    ended: list[Visitor] = []
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            ada = Visitor(server, "Ada", PASSWORD)
            answers.extend(answer.status_code for answer in (ada.login(), ada.refresh(), ada.logout()))
            ended.append(ada)

    crowd = [threading.Thread(target=use) for _ in range(2)]
    for each in crowd:
        each.start()
    try:
        redis.stop()
        wait_until(lambda: len(answers) > 12, "people go on")
        redis.start()
        with redis.frozen():
            reached = len(answers)
            wait_until(lambda: len(answers) > reached + 12, "people go on")
        redis.ask("FLUSHALL")
        reached = len(answers)
        wait_until(lambda: len(answers) > reached + 12, "people go on")
    finally:
        done.set()
        for each in crowd:
            each.join()
    assert Counter(answers) == {200: len(answers)}
    wait_until(lambda: all(everywhere(ada, 6) == {401: 6} for ada in ended[-5:]), "no token comes back")
    assert all(everywhere(ada, 3) == {401: 3} for ada in ended)
    assert server.stop() == 0


def test_a_reload_replaces_all_workers(server: ServerProcess):
    """After SIGHUP there are as many new ones, and nobody was refused for it."""
    before = pids_of(server)
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: len(pids_of(server) - before) == WORKERS and not pids_of(server) & before, "all are new")
    assert server.request("GET", "/readyz").status_code == 200
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("environ", "flags", "said"),
    [
        ({"TOKENKEEP_DATABASE_URL": ""}, {"workers": "2"}, r"workers is 2, but .*set database_url"),
        ({"TOKENKEEP_REDIS_URL": ""}, {"workers": "2"}, r"workers is 2, but .*set redis_url"),
    ],
    ids=["SQLite", "no Redis"],
)
def test_workers_that_share_nothing_are_refused(
    prepare: Prepare, environ: dict[str, str], flags: dict[str, str], said: str
):
    """The refusal says what is missing, and which setting names it."""
    server = prepare(environ=environ, **flags)
    server.launch()
    assert server.wait() == 1
    assert re.search(said, server.log)


def test_a_second_node_without_redis_is_refused(prepare: Prepare):
    """It says so and ends, while the first goes on; once that is gone, it starts."""
    alone = {"TOKENKEEP_REDIS_URL": ""}
    one = prepare("one", environ=alone)
    one.start()
    two = prepare("two", environ=alone | {"TOKENKEEP_ALLOW_UNMARKED_DATABASE": "on"}, issuer=one.url)
    two.launch()
    assert two.wait() == 1
    assert "tokenkeep: another server process serves this database, and this one has no redis_url" in two.log
    assert one.request("GET", "/readyz").status_code == 200
    assert one.stop() == 0
    two.start()
    assert two.stop() == 0


def test_a_second_node_with_another_issuer_is_refused(prepare: Prepare):
    """It names both and ends, and `doctor` says it too; the first goes on, and is not said to disagree with itself."""
    one = prepare("one")
    one.start()
    two = prepare("two", environ={"TOKENKEEP_ALLOW_UNMARKED_DATABASE": "on"})
    two.launch()
    assert two.wait() == 1
    told = f"another server process serves this database with the issuer {one.url}, and this one has {two.url}: "
    assert f"tokenkeep: {told}" in two.log
    two.data.mkdir(exist_ok=True)
    say(two, "doctor", "--issuer", two.url).check_finding(f"server-processes: {re.escape(told)}")
    assert "ok      server-processes: no other node" in "\n".join(say(one, "doctor", "--issuer", two.url).lines)
    assert one.request("GET", "/readyz").status_code == 200
    assert one.stop() == 0


def test_a_second_node_with_another_algorithm_serves(prepare: Prepare):
    """Both serve, since it may be a change node by node; the log of each says it, and so does `doctor`."""
    one = prepare("one")
    one.start()
    two = prepare("two", environ={"TOKENKEEP_ALLOW_UNMARKED_DATABASE": "on"}, issuer=one.url, signing_algorithm="EdDSA")
    two.start()
    for node, (others, own) in ((one, ("EdDSA", "ES256")), (two, ("ES256", "EdDSA"))):
        told = f"with the signing_algorithm {others}, and this one has {own}: "
        wait_until(lambda node=node, told=told: told in node.log, "the log says it")  # type: ignore[misc]
        said = say(node, "doctor", "--issuer", one.url, "--signing-algorithm", own)
        assert f"ok      server-processes: another server process serves this database {told}" in "\n".join(said.lines)
    assert one.stop() == two.stop() == 0


def test_a_second_node_that_shares_redis_serves(prepare: Prepare):
    """Two nodes on one database and one Redis start and serve; one that was killed starts again at once."""
    one = prepare("one")
    one.start()
    two = prepare("two", environ={"TOKENKEEP_ALLOW_UNMARKED_DATABASE": "on"}, issuer=one.url)
    two.start()
    one.kill()
    one.start()
    assert one.stop() == two.stop() == 0


def test_a_node_that_was_killed_is_waited_for_by_another(prepare: Prepare):
    """Without Redis, another node starts when the killed one counts as gone; the same one starts at once."""
    alone = {"TOKENKEEP_REDIS_URL": ""}
    one = prepare("one", environ=alone)
    one.start()
    one.kill()
    began = time.monotonic()
    one.start()
    assert time.monotonic() - began < 8
    one.kill()
    two = prepare("two", environ=alone | {"TOKENKEEP_ALLOW_UNMARKED_DATABASE": "on"}, issuer=one.url)
    two.program = (sys.executable, "-c", HASTY)
    two.start()
    assert "waiting for what may be the last sign of it" in two.log
    assert two.stop() == 0
