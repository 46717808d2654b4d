"""docs/fleet.md: its numbers, names, settings and rules are those of the code, and its change of the secret works."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
import yaml

from tests.api.caller import PASSWORD, Caller, assert_problem
from tests.redis_server import RedisServer
from tokenkeep import chores
from tokenkeep.api.requests import LARGEST_BODY
from tokenkeep.api.routes import ROUTES
from tokenkeep.assembly import HASHING_WAIT
from tokenkeep.cli.main import commands
from tokenkeep.cli.serve import DRAIN
from tokenkeep.domain.clocks import LARGEST_OFFSET
from tokenkeep.domain.readiness import Need
from tokenkeep.flows.check_readiness import LONGEST_ANSWER
from tokenkeep.flows.publish_revocations import LONGEST_WAIT
from tokenkeep.observability import Metrics
from tokenkeep.policies import rotation_policy
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings, load
from tokenkeep.settings.options import OPTIONS
from tokenkeep.settings.safety import judge_safety
from tokenkeep.storage.sql import postgres

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs/fleet.md").read_text("utf-8")
OPS_TOKEN: Final = "an-operations-token-of-32-chars."
OLD: Final = Secret("the server secret before: 7be1c0d2a4f693")
NEW: Final = Secret("the server secret after: 90d4e7f1b2a8c35")


def block(language: str, *, first: str = "") -> str:
    """Return what stands in the block of a language, or in the one that begins with a word."""
    [found] = re.findall(rf"^```{language}\n({first}.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_numbers_are_those_of_the_code():
    """Whatever the page counts in seconds, connections or bytes, the code says too."""
    settings = Settings()
    quarter, per_process = chores.REVOCATION_POLL, postgres.PostgresDatabase("")._connections
    assert quarter == 0.25
    assert LARGEST_BODY == 16 * 1024
    slowest = postgres.CONNECT_TIMEOUT + postgres.STATEMENT_TIMEOUT
    for text in (
        f"takes up to {per_process}, when it wants them",
        f"gives all other requests {DRAIN} seconds",
        f"within {settings.refresh_grace.seconds} seconds, by the same program",
        f"keeps its readers waiting for up to {LONGEST_WAIT}",
        f"Access tokens are good for {settings.revocation_max_staleness.seconds} more seconds",
        f"503 after {postgres.CONNECT_TIMEOUT:.0f} to {slowest:.0f} seconds",
        f"clock is more than {LARGEST_OFFSET // 1000} seconds off",
        f"within {chores.CLOCK_INTERVAL:.0f} seconds of the clock's jump",
        f"beyond {settings.revocation_max_staleness.seconds} s every access token",
        f"at {rotation_policy(settings).propagation // 1000} s nothing is signed",
        f"wait longer than {HASHING_WAIT:.0f} seconds",
        f"`session_ttl` bounds ({settings.session_ttl.days} days)",
        f"`refresh_limit_address`, {settings.refresh_limit_address.count} a minute",
    ):
        assert text in PAGE, text
    assert LONGEST_ANSWER == 1.0
    assert f"100,000 people at once are {100_000 / settings.access_ttl.total_seconds():.0f} refreshes" in PAGE


def test_the_sum_of_connections_is_right():
    """The formula, put to the example, comes to what the page says, and that is no more than the defaults allow."""
    assert "(nodes + 1) × workers × 10 + 10" in PAGE
    nodes, workers = 3, 2
    wanted = (nodes + 1) * workers * postgres.PostgresDatabase("")._connections + 10
    assert f"Three nodes with two workers want {wanted}: the defaults, 100 and 3" in PAGE
    assert wanted <= 100 - 3


def test_the_settings_of_a_node_may_start(tmp_path: Path):
    """The file and the variables on the page are known, and break no rule together."""
    (tmp_path / "tokenkeep.toml").write_text(block("toml"))
    variables = dict(re.findall(r"^(TOKENKEEP_\w+)=(\S+)$", PAGE, re.MULTILINE))
    known = {option.variable for option in OPTIONS.values()}
    assert {variable.removesuffix("_FILE") for variable in variables} <= known
    given = {
        "SECRET": OLD.reveal(),
        "DATABASE_URL": "postgresql://tokenkeep:password@db.internal/tokenkeep",
        "REDIS_URL": "rediss://tokenkeep:password@redis.example.com/0",
        "OPS_TOKEN": OPS_TOKEN,
    }
    environ = {"TOKENKEEP_DATA_DIR": variables.pop("TOKENKEEP_DATA_DIR")}
    for name, value in given.items():
        (tmp_path / name).write_text(value)
        assert variables.pop(f"TOKENKEEP_{name}_FILE").startswith("/run/secrets/")
        environ[f"TOKENKEEP_{name}_FILE"] = str(tmp_path / name)
    assert variables == {}
    findings = judge_safety(load(config=tmp_path / "tokenkeep.toml", environ=environ).settings)
    assert [finding for finding in findings if not finding.ok or finding.overridden] == []


def test_every_named_setting_and_command_exists():
    """What the page tells operators to set or to run is there."""
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
    elsewhere = {"database", "max_connections", "default_pool_size", "max_client_conn", "rolled_back", "refresh_reused"}
    elsewhere |= {"synchronous_standby_names", "ssl_ca_certs", "rule_files", "max_staleness"}
    assert named - elsewhere <= OPTIONS.keys()
    words = set(re.findall(r"`tokenkeep ([a-z]+)", PAGE))
    assert words <= set(commands.commands)
    equal = re.search(r"Settings that must be equal: (.*?)\. Of these", PAGE, re.DOTALL)
    assert equal
    assert set(re.findall(r"`(\w+)`", equal[1])) <= OPTIONS.keys()


def test_every_need_is_told_by_the_table_of_outages():
    """The column about `/readyz` uses each name that a process can lack, and no other."""
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and line.count(" | ") == 3]
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row[3])}
    assert told == set(Need)


# ------------------------------------------------------------------------------------------------------- alerts


def rules() -> list[dict[str, Any]]:
    """Return the alerts of the page."""
    [group] = yaml.safe_load(block("yaml", first="groups"))["groups"]
    return list(group["rules"])


def exposed() -> dict[str, dict[str, set[str]]]:
    """Return the samples that are scraped, with the values that their labels can have where these are known."""
    metrics = Metrics()
    seen: dict[str, dict[str, set[str]]] = {}
    for metric in metrics._registry.collect():
        for name in {metric.name, f"{metric.name}_total", *(f"{metric.name}_{each}" for each in ("bucket", "count"))}:
            seen.setdefault(name, {})
        for sample in metric.samples:
            for label, value in sample.labels.items():
                seen.setdefault(sample.name, {}).setdefault(label, set()).add(value)
    return seen


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_asks_for_what_is_scraped(rule: dict[str, Any]):
    """Each rule names metrics, labels and values that there are, and its brackets are closed."""
    expression = rule["expr"]
    scraped = exposed()
    asked = re.findall(r"\b((?:tokenkeep|process)_\w+)(?:\{([^}]*)\})?", expression)
    assert asked or expression.startswith("up{")
    for name, selector in asked:
        assert name in scraped, name
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', selector):
            if label in {"event", "verdict"}:
                assert value in scraped[name][label], value
            elif label == "route":
                assert value in {route.path for route in ROUTES}
            elif label != "job":
                assert (label, value[:1]) == ("status", "5")
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))


def test_no_alert_is_there_twice():
    """Each alert has a name of its own, and the page's prose names only alerts that there are."""
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    assert set(re.findall(r"`(Tokenkeep\w+)`", PAGE)) <= set(names)


def test_the_scraper_asks_each_node_of_the_page():
    """The job has the name that the rules go by, and the addresses that the balancers have."""
    [job] = yaml.safe_load(block("yaml", first="scrape_configs"))["scrape_configs"]
    assert f'job="{job["job_name"]}"' in block("yaml", first="groups")
    [targets] = [each["targets"] for each in job["static_configs"]]
    assert set(targets) == set(re.findall(r"^    server (?:one|two) (\S+)$", PAGE, re.MULTILINE))


SCRAPED: Final = """
rule_files: [rules.yml]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - series: 'tokenkeep_redis_up{job="tokenkeep",instance="one",process="1"}'
        values: "0 stale 0 stale 0 stale 0 stale 0 stale 0 stale 0"
      - series: 'tokenkeep_redis_up{job="tokenkeep",instance="one",process="2"}'
        values: "_ 0 stale 0 stale 0 stale 0 stale 0 stale 0 stale"
      - series: 'tokenkeep_redis_up{job="tokenkeep",instance="two",process="3"}'
        values: "1x12"
    alert_rule_test:
      - {eval_time: 2m45s, alertname: TokenkeepRedisAway, exp_alerts: [{exp_labels: {instance: one}}]}
  - interval: 15s
    input_series:
      - {series: 'tokenkeep_requests_total{instance="one",status="500"}', values: "_x8 1x120"}
    alert_rule_test:
      - {eval_time: 1m, alertname: TokenkeepDefect, exp_alerts: []}
      - {eval_time: 3m, alertname: TokenkeepDefect, exp_alerts: [{exp_labels: {instance: one, status: "500"}}]}
      - {eval_time: 25m, alertname: TokenkeepDefect, exp_alerts: []}
  - interval: 15s
    input_series:
      - {series: 'tokenkeep_requests_total{route="/readyz",status="503"}', values: "0+15x80"}
      - {series: 'tokenkeep_requests_total{route="/me",status="200"}', values: "0+15x80"}
      - {series: 'tokenkeep_requests_total{route="/me",status="503"}', values: "0x40 0+1x40"}
    alert_rule_test:
      - {eval_time: 9m, alertname: TokenkeepUnavailable, exp_alerts: []}
      - {eval_time: 19m, alertname: TokenkeepUnavailable, exp_alerts: [{exp_labels: {}}]}
"""
"""Scrapes that meet two workers in turn; a first 500 ever; a node that is not ready, then clients that are told so."""


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed")
def test_prometheus_understands_the_rules(tmp_path: Path):
    """Prometheus's own tool takes the rules, and has them fire where they should, and only there."""
    (tmp_path / "rules.yml").write_text(block("yaml", first="groups"))
    (tmp_path / "tests.yml").write_text(SCRAPED)
    for command in (("check", "rules", "rules.yml"), ("test", "rules", "tests.yml")):
        done = subprocess.run(("promtool", *command), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


async def test_the_scraper_reaches_a_node_as_the_page_has_it(tmp_path: Path):
    """At the node's own address, in plain http and with the token, metrics answer the scraper, and nobody else."""
    (tmp_path / "tokenkeep.toml").write_text(block("toml"))
    settings = replace(
        load(config=tmp_path / "tokenkeep.toml").settings,
        data_dir=tmp_path / "data",
        workers=1,
        ops_token=Secret(OPS_TOKEN),
        hash_concurrency=1,
    )
    async with AuthServer(settings) as server:
        for address, status in (("10.0.0.6", 200), ("10.0.0.7", 403)):
            transport = httpx2.ASGITransport(app=server.app, client=(address, 40_000))
            async with httpx2.AsyncClient(transport=transport, base_url="http://10.0.0.11:8000") as client:
                answer = await client.get("/metrics", headers={"Authorization": f"Bearer {OPS_TOKEN}"})
            assert answer.status_code == status
            assert ("tokenkeep_revocations_age_seconds" in answer.text) is (status == 200)


# ---------------------------------------------------------------------------------------------- the server secret


@pytest.fixture
def node(postgres_settings: Settings, redis: RedisServer) -> Settings:
    """Settings that all nodes share."""
    return replace(
        postgres_settings,
        redis_url=Secret(redis.url),
        redis_prefix=redis.new_prefix(),
        secret=OLD,
        rate_limits=True,
    )


@asynccontextmanager
async def two_nodes(
    node: Settings, *secrets: tuple[Secret, tuple[Secret, ...]]
) -> AsyncIterator[tuple[AuthServer, AuthServer]]:
    """Run two nodes, each with its current secret and those that it knows besides."""
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                AuthServer(replace(node, data_dir=node.data_dir / str(number), secret=own, previous_secrets=known))
            )
            for number, (own, known) in enumerate(secrets)
        ]
        yield first, second


STEPS: Final = [(OLD, ()), (OLD, (NEW,)), (NEW, (OLD,)), (NEW, ())]
"""The rows of the page's table: the secret, and those before it."""


def test_the_steps_of_the_page_are_those_that_are_tried():
    """The table's rows are the ones of the tests below."""
    rows = re.findall(r"^\| \d: [^|]*\| (\w+) \| (\w*) ?\|$", PAGE, re.MULTILINE)
    told = {"OLD": OLD, "NEW": NEW}
    assert [(told[own], (told[known],) if known else ()) for own, known in rows] == STEPS


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
@pytest.mark.parametrize("step", [1, 2])
async def test_neighbouring_steps_serve_side_by_side(node: Settings, step: int):
    """While nodes take a step one after the other, sessions begun on either go on on the other, and so do tokens."""
    node.data_dir.mkdir(0o700)
    async with AuthServer(replace(node, data_dir=node.data_dir / "before")) as before:
        await before.accounts.create("Ada", PASSWORD, role="user", actor="operator")
    async with two_nodes(node, STEPS[step - 1], STEPS[step]) as nodes:
        callers = [Caller(each) for each in nodes]
        for here, there in (callers, reversed(callers)):
            session = await here.login()
            assert (await there("GET", "/me", bearer=session.access)).status_code == 200
            assert (await there("POST", "/refresh", cookie=session.refresh)).status_code == 200


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
async def test_a_step_that_is_left_out_is_refused_as_the_page_says(node: Settings):
    """A node that does not know the new secret answers a session that began under it with 401, and leaves it alone."""
    node.data_dir.mkdir(0o700)
    async with AuthServer(replace(node, data_dir=node.data_dir / "before")) as before:
        await before.accounts.create("Ada", PASSWORD, role="user", actor="operator")
    async with two_nodes(node, STEPS[0], STEPS[2]) as nodes:
        behind, ahead = (Caller(each) for each in nodes)
        session = await ahead.login()
        assert_problem(await behind("POST", "/refresh", cookie=session.refresh), "invalid_refresh_token")
        assert (await ahead("POST", "/refresh", cookie=session.refresh)).status_code == 200
