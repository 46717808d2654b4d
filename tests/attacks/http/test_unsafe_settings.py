"""Settings that would be a breach: nothing starts with them, each override is said aloud, and `doctor` tells all."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.system.server_process import ServerProcess
from tokenkeep.cli import main
from tokenkeep.settings import Settings
from tokenkeep.settings.safety import judge_safety


@dataclass(frozen=True, slots=True)
class Unsafe:
    """Settings that break a rule, as variables; `named` is what must be told, `override` what lets them pass."""

    rule: str
    given: dict[str, str]
    named: str
    override: str | None = None


PUBLIC: Final = {"ISSUER": "https://auth.example.test"}
UNSAFE: Final = {
    "http issuer": Unsafe("issuer-transport", {"ISSUER": "http://auth.example.test"}, "issuer", "INSECURE_BIND"),
    "http issuer that looks local": Unsafe(
        "issuer-transport", {"ISSUER": "http://127.0.0.1.example.test"}, "issuer", "INSECURE_BIND"
    ),
    "any address, http": Unsafe("listener", {"HOST": "0.0.0.0"}, "host", "INSECURE_BIND"),
    "any IPv6 address, http": Unsafe("listener", {"HOST": "::"}, "host", "INSECURE_BIND"),
    "any address, https issuer alone": Unsafe("listener", {**PUBLIC, "HOST": "0.0.0.0"}, "host", "INSECURE_BIND"),
    "certificate, http issuer": Unsafe("tls-issuer", {"TLS_CERT": "cert.pem", "TLS_KEY": "key.pem"}, "issuer"),
    # Its override lets `doctor` look for the database, which is not there: tests/storage/test_postgres_tls.py has it.
    "unverified database": Unsafe(
        "database-transport",
        {"DATABASE_URL": "postgresql://tokenkeep@db.example.test/tokenkeep?sslmode=require"},
        "sslmode=require",
    ),
    # Likewise: what its override lets pass is not there.
    "unencrypted Redis": Unsafe(
        "redis-transport", {"REDIS_URL": "redis://tokenkeep@redis.example.test/0"}, "without TLS"
    ),
    "workers on SQLite": Unsafe("workers", {"WORKERS": "2"}, "workers is 2"),
    "short secret": Unsafe("server-secret", {"SECRET": "a-secret-of-31-characters-abcde"}, "secret is "),
    "known secret": Unsafe("server-secret", {"SECRET": "changeme" * 8}, "secret is weak", "ALLOW_WEAK_SECRET"),
    "repeated secret": Unsafe("server-secret", {"SECRET": "ab" * 32}, "secret is weak", "ALLOW_WEAK_SECRET"),
    "weak previous secret": Unsafe(
        "server-secret", {"PREVIOUS_SECRETS": "ab" * 32}, "previous_secrets is weak", "ALLOW_WEAK_SECRET"
    ),
    "long access": Unsafe("access-life", {"ACCESS_TTL": "61m"}, "access_ttl", "ALLOW_LONG_ACCESS"),
    "shared algorithm": Unsafe(
        "shared-algorithm", {"SIGNING_ALGORITHM": "HS256", "AUDIENCES": "https://api.example.test"}, "signing_algorithm"
    ),
    "any origin": Unsafe("allowed-origins", {"ALLOWED_ORIGINS": "*"}, "allowed_origins"),
    "any origin below": Unsafe(
        "allowed-origins", {**PUBLIC, "ALLOWED_ORIGINS": "https://*.example.test"}, "allowed_origins"
    ),
    "null origin": Unsafe("allowed-origins", {"ALLOWED_ORIGINS": "null"}, "allowed_origins"),
    "origin with a path": Unsafe(
        "allowed-origins", {**PUBLIC, "ALLOWED_ORIGINS": "https://app.example.test/"}, "allowed_origins"
    ),
    "http origin": Unsafe(
        "allowed-origins", {**PUBLIC, "ALLOWED_ORIGINS": "http://app.example.test"}, "allowed_origins"
    ),
    "origin of another site": Unsafe(
        "allowed-origins", {**PUBLIC, "ALLOWED_ORIGINS": "https://app.example.org"}, "allowed_origins"
    ),
    "everybody a proxy": Unsafe("trusted-proxies", {"TRUSTED_PROXIES": "0.0.0.0/0"}, "trusted_proxies"),
    "half of everybody a proxy": Unsafe(
        "trusted-proxies", {"TRUSTED_PROXIES": "0.0.0.0/1, 128.0.0.0/1"}, "trusted_proxies"
    ),
    "every IPv6 address a proxy": Unsafe("trusted-proxies", {"TRUSTED_PROXIES": "::/0"}, "trusted_proxies"),
    "a name as proxy": Unsafe("trusted-proxies", {"TRUSTED_PROXIES": "proxy.example.test"}, "trusted_proxies"),
    "a star as proxy": Unsafe("trusted-proxies", {"TRUSTED_PROXIES": "*"}, "trusted_proxies"),
    "no limits in public": Unsafe("rate-limits", {**PUBLIC, "RATE_LIMITS": "off"}, "rate_limits"),
    "weak hashing": Unsafe("password-hashing", {"ARGON2_MEMORY": "8192"}, "argon2_memory"),
    "short operations token": Unsafe("ops-token", {"OPS_TOKEN": "a-token-of-31-characters-abcdef"}, "ops_token"),
    "known operations token": Unsafe("ops-token", {"OPS_TOKEN": "changeme" * 8}, "ops_token is weak"),
    "short feed token": Unsafe("feed-token", {"FEED_TOKEN": "a-token-of-31-characters-abcdef"}, "feed_token"),
    "known feed token": Unsafe("feed-token", {"FEED_TOKEN": "changeme" * 8}, "feed_token is weak"),
    "feed token that opens metrics": Unsafe(
        "feed-token",
        {"FEED_TOKEN": "one-token-for-two-purposes-7a3f9c", "OPS_TOKEN": "one-token-for-two-purposes-7a3f9c"},
        "feed_token is also ops_token",
    ),
    "repeated operations token": Unsafe("ops-token", {"OPS_TOKEN": "ab" * 32}, "ops_token is weak"),
}

OVERRIDDEN: Final = {what: unsafe for what, unsafe in UNSAFE.items() if unsafe.override}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs the command in an empty folder; returns its exit code and its two outputs."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    monkeypatch.chdir(tmp_path)

    def run_command(words: list[str], **variables: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["tokenkeep", *words])
            for name, value in variables.items():
                patched.setenv(f"TOKENKEEP_{name}", value)
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    yield run_command
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize("what", UNSAFE)
def test_unsafe_settings_do_not_start(run: Run, tmp_path: Path, what: str) -> None:
    """`serve` exits with 1, names the setting, the fix and the override in plain words, and has made nothing."""
    unsafe = UNSAFE[what]

    code, out, err = run(["serve"], **unsafe.given)

    assert code == 1
    assert unsafe.named in err
    assert err.startswith("tokenkeep: ")
    assert "Traceback" not in err
    assert "serves" not in out
    assert unsafe.override is None or unsafe.override.lower() in err
    assert not list(tmp_path.iterdir())
    for name in ("SECRET", "PREVIOUS_SECRETS", "OPS_TOKEN", "FEED_TOKEN"):
        assert unsafe.given.get(name, "nothing") not in err


@pytest.mark.parametrize("what", OVERRIDDEN)
def test_an_override_is_no_way_around_another_rule(run: Run, what: str) -> None:
    """Each override lets its own rule pass and no other: with all others set, the server does not start."""
    unsafe = OVERRIDDEN[what]
    others = {each.override: "on" for each in OVERRIDDEN.values() if each.override != unsafe.override}

    code, _, err = run(["serve"], **unsafe.given, **others)

    assert (code, unsafe.named in err) == (1, True)


def test_everything_that_is_wrong_is_told_at_once(run: Run) -> None:
    """Several broken rules are named together, so that nobody mends one after the other."""
    code, _, err = run(["serve"], ISSUER="http://auth.example.test", ACCESS_TTL="2h", OPS_TOKEN="short")

    assert code == 1
    for named in ("issuer", "access_ttl", "ops_token"):
        assert named in err


@pytest.mark.parametrize("what", UNSAFE)
def test_doctor_tells_what_is_unsafe(run: Run, what: str) -> None:
    """`doctor` names the rule, what it found and the fix, and exits with 1; with the override it says UNSAFE and 0."""
    unsafe = UNSAFE[what]

    code, out, _ = run(["doctor", "--json"], **unsafe.given)
    findings = [json.loads(line) for line in out.splitlines()]
    broken = [finding for finding in findings if not finding["ok"]]
    text_code, text, _ = run(["doctor"], **unsafe.given)

    assert code == text_code == 1
    assert {finding["rule"] for finding in broken} == {unsafe.rule}
    assert all(unsafe.named in finding["found"] and finding["fix"] for finding in broken)
    assert f"BROKEN  {unsafe.rule}: " in text
    assert "fix: " in text
    if unsafe.override is not None:
        code, out, _ = run(["doctor", "--json"], **unsafe.given, **{unsafe.override: "on"})
        overridden = [finding for finding in map(json.loads, out.splitlines()) if finding["override"]]
        assert code == 0
        assert {finding["override"] for finding in overridden} == {unsafe.override.lower()}
        assert "UNSAFE  " in run(["doctor"], **unsafe.given, **{unsafe.override: "on"})[1]


def test_doctor_tells_every_rule_when_all_is_well(run: Run) -> None:
    """With safe settings `doctor` shows each rule and exits with 0; each has its rows in the table above."""
    code, out, _ = run(["doctor", "--json"])
    findings = [json.loads(line) for line in out.splitlines()]
    text_code, text, _ = run(["doctor"])

    assert (code, text_code) == (0, 0)
    assert all(finding.keys() == {"rule", "ok", "found", "fix", "override"} for finding in findings)
    assert all(finding["ok"] and finding["found"] for finding in findings)
    rules = {finding.rule for finding in judge_safety(Settings())}
    assert rules <= {finding["rule"] for finding in findings}
    assert all(f"ok      {rule}: " in text for rule in rules)
    assert rules == {unsafe.rule for unsafe in UNSAFE.values()}


def test_unknown_names_are_errors_with_a_suggestion(run: Run, tmp_path: Path) -> None:
    """A mistyped setting is an error in every source and every command, and the right name is suggested."""
    config = tmp_path / "tokenkeep.toml"
    for command in ("serve", "doctor", "settings", "users list", "migrate"):
        for mistyped, right in (("ACCES_TTL", "access_ttl"), ("ISUER", "issuer"), ("SECRETT", "secret")):
            code, _, err = run(command.split(), **{mistyped: "canary"})
            assert code == 1, command
            assert f"unknown setting {mistyped.lower()}" in err
            assert f"did you mean {right}?" in err
            assert "canary" not in err
        config.write_text('acces_ttl = "15m"\n')
        code, _, err = run(command.split())
        assert (code, "did you mean access_ttl?" in err) == (1, True)
        config.write_text("[server]\nport = 80\n")
        assert run(command.split())[0] == 1
        config.write_text('secret = "canary\n')
        code, _, err = run(command.split())
        assert (code, "canary" in err) == (1, False)
        config.unlink()
    code, _, err = run(["serve", "--acces-ttl", "15m"])
    assert (code, "--access-ttl" in err) == (2, True)


@pytest.mark.system
@pytest.mark.xdist_group("system")
def test_overridden_settings_start_and_say_so(tmp_path: Path) -> None:
    """With its override each unsafe setting serves, and every start logs UNSAFE, the override, and what it allows."""
    environ = {"TOKENKEEP_SECRET": "changeme" * 8, "TOKENKEEP_RATE_LIMITS": "on"}
    with ServerProcess(
        tmp_path,
        environ=environ,
        issuer="http://auth.example.test",
        access_ttl="2h",
        insecure_bind="on",
        allow_weak_secret="on",
        allow_long_access="on",
    ) as process:
        process.start()
        assert process.request("GET", "/livez").status_code == 200
        process.stop()
    said = [line for line in process.log.splitlines() if "UNSAFE" in line]
    for override, setting in (
        ("insecure_bind", "issuer"),
        ("allow_weak_secret", "secret is "),
        ("allow_long_access", "access_ttl"),
    ):
        assert [line for line in said if override in line and setting in line], override
    assert "changeme" not in process.log
