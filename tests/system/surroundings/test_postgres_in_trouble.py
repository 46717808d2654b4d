"""A PostgreSQL that cannot be reached, refuses, goes away and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from multiprocessing import Queue
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.ports import free_port
from tests.postgres_front import fronted
from tests.postgres_server import PostgresSchema
from tests.redis_server import RedisServer
from tests.storage.contracts import execute, rows
from tests.system.conftest import POSTGRES
from tests.system.forked_process import LOADED
from tests.system.server_process import LONGEST_WAIT, PAUSE, ServerProcess, wait_until
from tests.system.surroundings import spoken
from tests.system.surroundings.cluster import Cluster
from tests.system.surroundings.forked import ForkedServer
from tests.system.surroundings.spoken import add_account, say, serve
from tests.system.visitor import Visitor
from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.storage.sql import postgres
from tokenkeep.storage.sql.migrate import known_migrations
from tokenkeep.storage.sql.postgres import PostgresDatabase

pytestmark = POSTGRES

PASSWORD: Final = "correct-horse-battery"
CANARY: Final = "canary-of-a-database-password"
STALENESS: Final = 2.0
"""Seconds after which tokens are not checked by what is known of revocations; the setting in these tests."""
SLACK: Final = 10.0
"""Seconds by which a machine with much to do may be late."""
AT_ONCE: Final = 10
"""Processes that meet an empty database together."""
LONGEST_ANSWER: Final = 20.0
"""Seconds in which a request is answered while the database is silent: a statement, and giving up its transaction.

A server that has little patience needs a third of that, on a machine that does nothing else.
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL for these tests alone, with a user `app` who has a password and few rights."""
    started = Cluster()
    started.run("CREATE ROLE app LOGIN PASSWORD 'right'", "CREATE DATABASE small", "CREATE DATABASE tokenkeep")
    started.ask_for_passwords("app")
    yield started
    started.close()


@pytest.fixture
def empty(cluster: Cluster) -> str:
    """The name of a database that is empty."""
    cluster.run("DROP DATABASE IF EXISTS empty", "CREATE DATABASE empty")
    return "empty"


def site_on(directory: Path, url: str) -> ForkedServer:
    """Return a server, not started, on a database."""
    environ = {"TOKENKEEP_DATABASE_URL": url, "TOKENKEEP_SECRET": secrets.token_urlsafe(32)}
    return ForkedServer(directory, environ=environ, revocation_max_staleness=f"{STALENESS:.0f}s", log_level="warning")


@pytest.fixture
def server(cluster: Cluster, tmp_path: Path) -> Iterator[ForkedServer]:
    """A running server with the account Ada."""
    cluster.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", database="tokenkeep")
    with site_on(tmp_path, cluster.url(database="tokenkeep")) as started:
        started.start()
        add_account(started, "Ada", PASSWORD)
        yield started


@pytest.fixture
def ada(server: ServerProcess) -> Visitor:
    """Ada, logged in."""
    visitor = Visitor(server, "Ada", PASSWORD)
    assert visitor.login().status_code == 200
    return visitor


UNREACHABLE: Final = (r"PostgreSQL", r"nothing answers|refused", r"database_url")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nobody listens", UNREACHABLE),
        ("no socket", UNREACHABLE),
        ("unknown database", (r"PostgreSQL", r"no database", r"create it|correct")),
        ("wrong password", (r"PostgreSQL", r"password", r"database_url|correct")),
        ("no password", (r"PostgreSQL", r"password", r"database_url|correct")),
        ("no rights", (r"PostgreSQL", r"may not|permission|rights", r"grant")),
        ("no address", (r"PostgreSQL", r"database_url", r"cannot be read")),
    ],
)
def test_a_database_that_cannot_be_used_is_named(cluster: Cluster, tmp_path: Path, place: str, words: tuple[str, ...]):
    """`serve`, `doctor` and commands say in a line what is wrong and what to do, without a traceback or password."""
    url = {
        "nobody listens": f"postgresql://app:{CANARY}@127.0.0.1:{free_port()}/tokenkeep",
        "no socket": f"postgresql://app:{CANARY}@/tokenkeep?host={tmp_path}",
        "unknown database": cluster.url(password=CANARY, database="nowhere"),
        "wrong password": cluster.url("app", CANARY),
        "no password": cluster.url("app"),
        "no rights": cluster.url("app", "right", database="small"),
        "no address": f"postgresql://app:{CANARY}@127.0.0.1:five/tokenkeep",
    }[place]
    site = site_on(tmp_path, url)
    refused, listed, found = serve(site), say(site, "users", "list"), say(site, "doctor")
    refused.check_refusal(*words)
    # Where the rights are missing to make the tables, commands find that there are none.
    others = (r"has not the schema", r"tokenkeep migrate") if place == "no rights" else words
    listed.check_refusal(*others)
    found.check_finding(*others)
    for said in (refused, listed, found):
        assert CANARY not in "".join(said.lines)


def test_a_database_that_is_down_at_the_start_is_named(cluster: Cluster, tmp_path: Path):
    """While it is down nothing starts, with exit code 1; as soon as it is up, the server does."""
    site = site_on(tmp_path, cluster.url(database="small"))
    with cluster.away():
        serve(site).check_refusal(*UNREACHABLE)
    with site:
        site.start()
        assert site.stop() == 0


def test_a_database_elsewhere_must_prove_who_it_is(cluster: Cluster, tmp_path: Path, empty: str):
    """Without verified TLS nothing starts but with the override, which is logged at each start."""
    with fronted(cluster.socket) as front:
        url = f"postgresql://postgres:{CANARY}@0.0.0.0:{front.port}/{empty}?sslmode=prefer"
        site = site_on(tmp_path, url)
        words = (r"database at 0\.0\.0\.0", r"sslmode=verify-full", r"insecure_database")
        said = (serve(site), say(site, "users", "list"), say(site, "doctor"))
        for refused in said[:2]:
            refused.check_refusal(*words)
        said[2].check_finding(*words)
        assert front.heard == 0
        with site_on(tmp_path, url) as allowed:
            allowed.arguments += ["--insecure-database", "on"]
            allowed.start()
            allowed.restart()
            assert allowed.stop() == 0
    # Each start says it twice: once when all is checked, and once in the worker.
    told = [line for line in allowed.log.splitlines() if "UNSAFE, allowed by insecure_database" in line]
    assert len(told) == 4
    assert CANARY not in allowed.log + "".join(line for each in said for line in each.lines)


def test_a_silent_database_is_not_waited_for_at_the_start(cluster: Cluster, tmp_path: Path, empty: str):
    """A server that takes connections and says nothing is named in time; the start is refused with 1."""
    site = site_on(tmp_path, cluster.url(database=empty))
    with cluster.frozen():
        serve(site, impatient=True).check_refusal(r"PostgreSQL", r"does not answer in time", r"see whether it runs")


def test_commands_that_migrate_at_once_migrate_once(cluster: Cluster, tmp_path: Path, empty: str):
    """Of ten `tokenkeep migrate` on an empty database one applies everything, and all of them succeed."""
    site = site_on(tmp_path, cluster.url(database=empty))
    with ExitStack() as running:
        commands = [running.enter_context(spoken.started(site, "migrate")) for _ in range(AT_ONCE)]
        said = [command.wait() for command in commands]
    assert [each.code for each in said] == [0] * AT_ONCE, said
    [once] = [each.lines for each in said if each.lines != ["the database is up to date"]]
    assert len(once) == len(known_migrations())
    assert all(line.startswith("applied ") for line in once)


def come_up(data: Path, opened: tuple[str, str, str], published: Queue[list[str]]) -> None:
    """Open a server on a database, with a secret and a Redis, and tell which keys it publishes."""
    url, secret, redis = (Secret(each) for each in opened)
    # Whoever comes second finds a database that was served before, of which it has no mark.
    settings = Settings(data_dir=data, database_url=url, secret=secret, redis_url=redis, allow_unmarked_database=True)

    async def main() -> list[str]:
        async with AuthServer(settings) as server:
            keys = await server.graph.storage.read(lambda tx: tx.signing_keys.published())
            return [key.id for key in keys]

    published.put(asyncio.run(main()))


def test_ten_processes_that_come_up_at_once_agree(
    cluster: Cluster, tmp_path: Path, empty: str, redis_server: RedisServer
):
    """On an empty database one of ten migrates and makes the keys; all ten come up, with the same ones."""
    published = LOADED.Queue()
    opened = (cluster.url(database=empty), secrets.token_urlsafe(32), redis_server.url)
    processes = [
        LOADED.Process(target=come_up, args=(tmp_path / str(number), opened, published)) for number in range(AT_ONCE)
    ]
    try:
        with cluster.locked(postgres._ALONE, database=empty) as count_waiting:
            for process in processes:
                process.start()
            wait_until(lambda: count_waiting() == AT_ONCE, "all of them want to migrate")
        keys = [published.get(timeout=LONGEST_WAIT) for _ in processes]
        for process in processes:
            process.join(LONGEST_WAIT)
        assert [process.exitcode for process in processes] == [0] * AT_ONCE
    finally:
        for process in processes:
            process.kill()
    assert len(keys[0]) == 2
    assert keys == [keys[0]] * AT_ONCE


def test_servers_that_start_at_once_migrate_once_and_sign_with_the_same_keys(
    cluster: Cluster, tmp_path: Path, empty: str, redis_server: RedisServer
):
    """Three servers that find an empty database together all become ready, on one schema and one pair of keys."""
    environ = {
        "TOKENKEEP_DATABASE_URL": cluster.url(database=empty),
        "TOKENKEEP_REDIS_URL": redis_server.url,
        "TOKENKEEP_REDIS_PREFIX": redis_server.new_prefix(),
        "TOKENKEEP_SECRET": secrets.token_urlsafe(32),
    }
    # Whoever comes second finds a database that was served before, of which it has no mark.
    flags = {"log_level": "warning", "allow_unmarked_database": "on", "issuer": "http://127.0.0.1:8000"}
    with ExitStack() as running:
        sites = []
        for number in range(3):
            (tmp_path / str(number)).mkdir()
            site = running.enter_context(ForkedServer(tmp_path / str(number), environ=environ, **flags))
            site.launch()
            sites.append(site)
        for site in sites:
            wait_until(lambda site=site: answers(site), "each server is ready")
        published = [site.request("GET", "/.well-known/jwks.json").json() for site in sites]
        assert len(published[0]["keys"]) == 2
        assert published == [published[0]] * 3
        assert [site.stop() for site in sites] == [0] * 3
        assert not any('"level": "error"' in site.log or "Traceback" in site.log for site in sites)


def answers(server: ServerProcess) -> bool:
    """Tell whether a server that was launched is there, and ready."""
    try:
        return ready(server)
    except httpx2.TransportError:
        return False


def test_a_standby_is_not_served_until_it_is_promoted(cluster: Cluster, tmp_path: Path, empty: str):
    """A server that cannot be written is named at the start; once it is the primary, the same start works."""
    site = site_on(tmp_path, cluster.url(database=empty))
    with cluster.as_standby():
        serve(site).check_refusal(r"PostgreSQL", r"standby", r"name the primary")
        say(site, "users", "list").check_refusal(r"PostgreSQL", r"standby", r"name the primary")
    with site:
        site.start()
        assert site.stop() == 0


async def where_written(database: PostgresDatabase) -> str:
    """Return the directory of the server that a transaction which writes is given, as soon as there is one."""
    async with asyncio.timeout(LONGEST_WAIT):
        while True:
            with suppress(StorageUnavailable):
                await execute(database, "CREATE TABLE IF NOT EXISTS things (id BIGINT)")
                return str((await rows(database, "SELECT current_setting('data_directory') AS place"))[0]["place"])
            await asyncio.sleep(PAUSE)


def test_of_several_hosts_the_one_that_can_be_written_is_used(cluster: Cluster, postgres_schema: PostgresSchema):
    """A standby that is named first is passed over; when the server in use goes away, the other one is found."""
    other = parse_qs(urlsplit(postgres_schema.url).query).get("host")
    if other is None:
        pytest.skip("the server is reached over TCP")
    url = f"postgresql://postgres@/postgres?host={cluster.socket},{other[0]}&search_path={postgres_schema.name},public"
    database = PostgresDatabase(url)
    with asyncio.Runner() as runner:
        with cluster.as_standby():
            runner.run(database.open())
            assert Path(runner.run(where_written(database))) == Path(other[0])
            runner.run(database.close())
        runner.run(database.open())
        assert Path(runner.run(where_written(database))) == Path(cluster.socket)
        with cluster.away():
            assert Path(runner.run(where_written(database))) == Path(other[0])
        runner.run(database.close())


def check_unavailable(answer: httpx2.Response) -> None:
    """Hold an answer to a refusal that asks to come again, and takes no cookie away."""
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert "set-cookie" not in answer.headers


def ready(server: ServerProcess) -> bool:
    """Tell whether the server says that it can serve."""
    return server.request("GET", "/readyz").status_code == 200


def wait_until_stale(ada: Visitor) -> None:
    """Return when a token is no longer checked; until then it is accepted, and never refused."""
    started = time.monotonic()
    while (answer := ada.get("/me")).status_code == 200:
        assert time.monotonic() - started < STALENESS + SLACK
        time.sleep(0.02)
    check_unavailable(answer)


def test_a_database_that_goes_away_comes_back_without_a_restart(cluster: Cluster, server: ServerProcess, ada: Visitor):
    """While it is away changes are 503 at once, tokens are checked for a while and then 503 too, never 401."""
    with cluster.away():
        for request in (ada.refresh, ada.login, ada.logout):
            check_unavailable(request())
        check_unavailable(server.request("GET", "/readyz"))
        assert server.request("GET", "/livez").status_code == 200
        say(server, "users", "disable", "Ada").check_refusal(*UNREACHABLE)
        wait_until_stale(ada)
        check_unavailable(server.request("GET", "/readyz"))
        assert server.request("GET", "/livez").status_code == 200
    wait_until(lambda: ready(server), "the database is found again")
    assert ada.get("/me").status_code == 200
    assert ada.refresh().status_code == 200
    assert server.stop() == 0
    told = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert any("PostgreSQL" in event["event"] and event["level"] in {"warning", "error"} for event in told)
    assert "Traceback" not in server.log


def test_what_is_revoked_while_it_is_away_is_revoked_when_it_is_back(
    cluster: Cluster, server: ServerProcess, ada: Visitor
):
    """A logout that could not be made durable keeps its cookie, and works when it is tried again."""
    with cluster.away():
        check_unavailable(ada.logout())
        assert ada.cookie is not None
    wait_until(lambda: ready(server), "the database is found again")
    cookie = ada.cookie
    assert ada.logout().status_code == 200
    assert ada.get("/me").status_code == 401
    assert ada.refresh(cookie=cookie).json()["code"] == "no_valid_refresh_token"


def test_a_database_is_waited_for_as_long_as_is_sensible():
    """A connection has five seconds, a statement ten, and the end three."""
    assert (postgres.CONNECT_TIMEOUT, postgres.STATEMENT_TIMEOUT, postgres.CLOSE_TIMEOUT) == (5.0, 10.0, 3.0)


def test_a_database_that_is_silent_is_not_waited_for_without_end(cluster: Cluster, server: ForkedServer):
    """A database that neither answers nor hangs up costs each request a bounded time, however many there are."""
    assert server.stop() == 0
    server.impatient = True
    server.start()
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().status_code == 200
    crowd = [Visitor(server, "Ada", PASSWORD) for _ in range(12)]
    for visitor in crowd:
        visitor.cookie = ada.cookie

    def refresh(visitor: Visitor) -> tuple[httpx2.Response, float]:
        started = time.monotonic()
        return visitor.refresh(), time.monotonic() - started

    with cluster.frozen(), ThreadPoolExecutor(len(crowd)) as threads:
        asked = [threads.submit(refresh, visitor) for visitor in crowd]
        wait_until_stale(ada)
        assert server.request("GET", "/livez").status_code == 200
        for answer, seconds in (one.result() for one in asked):
            check_unavailable(answer)
            assert seconds < LONGEST_ANSWER
    wait_until(lambda: ready(server), "the database answers again")
    assert ada.get("/me").status_code == 200
    assert ada.refresh().status_code == 200
    assert server.stop() == 0


def test_a_worker_that_finds_no_database_says_why(cluster: Cluster, server: ServerProcess):
    """A worker that dies while the database is away cannot be replaced: the server ends with 1, and says why."""
    with cluster.away():
        for worker in server.children():
            os.kill(worker.pid, signal.SIGKILL)
        assert server.wait() == 1
    assert "Traceback" not in server.log
    assert "nothing answers" in server.log
    server.start()
    assert server.stop() == 0


def test_a_server_ends_in_time_while_its_database_is_away(cluster: Cluster, server: ServerProcess):
    """SIGTERM ends it within the draining time, with exit code 0, whether the database is away or there."""
    with cluster.away():
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 11
    server.start()
    assert server.stop() == 0
