"""One drill: nodes on a PostgreSQL and a Redis of their own, people on them, a fault, and what must hold after it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.redis_server import RedisServer
from tests.system.conftest import FLEET, SECRET
from tests.system.drills.crowd import Crowd, seconds_until
from tests.system.drills.plan import Plan
from tests.system.recovery.consistency import broken_rules
from tests.system.server_process import ServerProcess
from tests.system.stored import asking
from tests.system.surroundings.cluster import Cluster
from tests.system.workers import workers_of

MARKS: Final = [*FLEET, pytest.mark.slow]


class Drill:
    """Running nodes with people on them."""

    def __init__(self, nodes: Sequence[ServerProcess], cluster: Cluster, redis: RedisServer, plan: Plan) -> None:
        self.nodes = nodes
        self.cluster = cluster
        self.redis = redis
        self._begun = None if plan.killing else self._processes()
        self.crowd = Crowd(nodes, plan)

    def wait_for_recovery(self) -> None:
        """Return when every process of every node is ready again, and note how long that took."""
        self.crowd.figures.recoveries.append(seconds_until(self.all_ready, "all are ready again"))

    def all_ready(self) -> bool:
        """Tell whether every process of every node is ready."""
        return all(is_ready(node) for node in self.nodes)

    def check(self) -> None:
        """Hold everything to its promises, once the people have gone home."""
        self.crowd.end()
        self.crowd.check()
        assert self._begun is None or self._processes() == self._begun, "a process was replaced"
        found = self.crowd.figures.wrong + list(broken_rules(asking(self.cluster.url())))
        for node in self.nodes:
            if "Traceback" in node.log:
                found.append(f"a traceback in the log: {node.log[node.log.index('Traceback') :][:2000]}")
            assert node.stop() == 0
        print(f"\n{self.crowd.figures}")
        assert not found, "\n".join(found[:20])

    def _processes(self) -> list[str]:
        found = []
        for node in self.nodes:
            with workers_of(node) as workers:
                found += [str(node.pid), *sorted(worker.process for worker in workers)]
        return found


@contextmanager
def drill(directory: Path, plan: Plan) -> Iterator[Drill]:
    """Set up a drill and let people in; when it is over, everything is checked and its figures are printed."""
    with ExitStack() as stack:
        cluster = Cluster()
        stack.callback(cluster.close)
        redis = stack.enter_context(RedisServer.running())
        nodes: list[ServerProcess] = []
        for number in range(plan.nodes):
            place = directory / f"node-{number}"
            place.mkdir()
            environ = {
                "TOKENKEEP_DATABASE_URL": cluster.url(),
                "TOKENKEEP_REDIS_URL": redis.url,
                "TOKENKEEP_SECRET": SECRET,
            }
            environ |= plan.environ[number] if plan.environ else {}
            flags = {"workers": str(plan.workers), "log_level": "warning", **plan.flags}
            if nodes:
                flags["issuer"] = nodes[0].url
            nodes.append(stack.enter_context(ServerProcess(place, environ=environ, **flags)))
            nodes[-1].start()
        for node in nodes:
            seconds_until(lambda node=node: is_ready(node), "all have started")
        held = Drill(nodes, cluster, redis, plan)
        held.crowd.add_accounts()
        held.crowd.begin()
        try:
            held.crowd.go_on(plan.people)
            yield held
        finally:
            held.crowd.end()
        held.check()


def is_ready(node: ServerProcess) -> bool:
    """Tell whether every process of a node is ready."""
    try:
        with workers_of(node) as workers:
            return all(worker.request("GET", "/readyz").status_code == 200 for worker in workers)
    except (httpx2.TransportError, AssertionError):
        return False


@contextmanager
def paused(node: ServerProcess) -> Iterator[None]:
    """Stop every process of a node where it is, for a while."""
    os.killpg(node.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(node.pid, signal.SIGCONT)


def let_pass(seconds: float) -> None:
    """Let time pass: how long a fault lasts is what the drill is about."""
    time.sleep(seconds)
