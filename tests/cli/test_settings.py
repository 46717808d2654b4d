"""`tokenkeep settings` and `doctor`: what is in force, where it comes from, what is unsafe; never a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.redis_server import RedisServer
from tokenkeep.settings.options import OPTIONS

SECRET = "hunter2-Zk9xq3vR7mL0pWc8sYb2NdHf5JgUe1A"


def test_every_setting_is_shown(run: Run, folder: Path):
    """Each option stands in the list with its value and where that came from."""
    outcome = run("settings")
    assert outcome.code == 0
    lines = {line.split()[0]: line for line in outcome.out.splitlines() if line.strip()}
    assert OPTIONS.keys() <= lines.keys()
    assert "http://127.0.0.1:8000" in lines["issuer"]
    assert lines["access_ttl"].split()[1:] == ["15m", "default"]
    assert f"data directory: {folder / '.tokenkeep'}" in outcome.err
    assert list(folder.iterdir()) == []


def test_sources_are_named(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """A value from a file and one from the environment say so."""
    (folder / "tokenkeep.toml").write_text('client_id = "[/]odd"\naudiences = ["a", "b"]\n')
    monkeypatch.setenv("TOKENKEEP_PORT", "9000")
    listed = json.loads(run("settings", "--json").out)
    assert listed["client_id"] == {"value": "[/]odd", "from": "tokenkeep.toml"}
    assert listed["audiences"] == {"value": "a, b", "from": "tokenkeep.toml"}
    assert listed["port"] == {"value": "9000", "from": "TOKENKEEP_PORT"}
    assert listed["issuer"]["from"] == "default"
    assert listed.keys() == OPTIONS.keys()
    assert "[/]odd" in run("settings").out


def test_secrets_are_masked(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """That a secret is set is shown, the secret is not."""
    (folder / "secret.txt").write_text(SECRET)
    monkeypatch.setenv("TOKENKEEP_SECRET_FILE", str(folder / "secret.txt"))
    monkeypatch.setenv("TOKENKEEP_DATABASE_URL", "postgresql://user:hunter2@host/name")
    monkeypatch.setenv("TOKENKEEP_PREVIOUS_SECRETS", f"{SECRET}1,{SECRET}2")
    for arguments in ([], ["--json"]):
        outcome = run("settings", *arguments)
        assert outcome.code == 0
        assert "hunter2" not in outcome.out + outcome.err
        assert "********" in outcome.out
    listed = json.loads(run("settings", "--json").out)
    assert listed["secret"] == {"value": "********", "from": "TOKENKEEP_SECRET_FILE"}
    assert listed["database_url"]["value"] == listed["previous_secrets"]["value"] == "********"


def test_unsafe_settings_can_be_looked_at(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Settings that would not start are shown all the same, so that they can be mended."""
    monkeypatch.setenv("TOKENKEEP_HOST", "0.0.0.0")
    assert json.loads(run("settings", "--json").out)["host"]["value"] == "0.0.0.0"


def test_doctor_finds_a_healthy_installation(run: Run, data: Path):
    """Everything that was examined is said to be well."""
    outcome = run("doctor")
    assert outcome.code == 0
    assert all(line.startswith("ok ") for line in outcome.out.splitlines())
    findings = [json.loads(line) for line in run("doctor", "--json").out.splitlines()]
    assert all(finding["ok"] for finding in findings)
    assert {finding["rule"] for finding in findings} >= {"listener", "data-directory", "installation"}


def test_doctor_before_the_first_start(run: Run, folder: Path):
    """Without an installation the settings are examined, and nothing is made."""
    outcome = run("doctor")
    assert outcome.code == 0
    assert "not there yet" in outcome.out
    assert list(folder.iterdir()) == []


def test_doctor_names_what_is_broken(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch):
    """What would not start is told with its fix, and the exit code is 1."""
    monkeypatch.setenv("TOKENKEEP_HOST", "0.0.0.0")
    outcome = run("doctor")
    assert outcome.code == 1
    assert "BROKEN" in outcome.out
    assert "fix: " in outcome.out
    data.chmod(0o755)
    assert "open to other users" in run("doctor").out


@pytest.mark.xdist_group("redis")
@pytest.mark.parametrize(
    ("policy", "said"),
    [("noeviction", "each process limits attempts by itself"), ("allkeys-lru", "forgets limits")],
)
def test_doctor_looks_at_redis(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch, policy: str, said: str):
    """It says whether Redis can be used, and what happens when it is full; one that is away is broken."""
    with RedisServer.running("--maxmemory", "100mb", "--maxmemory-policy", policy) as redis:
        monkeypatch.setenv("TOKENKEEP_REDIS_URL", redis.url.replace("redis://", "redis://nobody:canary@"))
        outcome = run("doctor")
        assert outcome.code == 1
        assert "redis_url" in outcome.out
        assert "canary" not in outcome.out + outcome.err
        monkeypatch.setenv("TOKENKEEP_REDIS_URL", redis.url)
        outcome = run("doctor")
        assert outcome.code == 0, outcome.out
        assert said in outcome.out
    outcome = run("doctor")
    assert outcome.code == 1
    assert "nothing answers" in outcome.out


def test_doctor_names_what_is_unsafe(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch):
    """What only an override allows is called unsafe, and is not broken."""
    monkeypatch.setenv("TOKENKEEP_HOST", "0.0.0.0")
    monkeypatch.setenv("TOKENKEEP_INSECURE_BIND", "on")
    outcome = run("doctor")
    assert outcome.code == 0
    assert "UNSAFE" in outcome.out
