"""What may not start: each unsafe setting is refused with its fix, and passes only by its own override."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tokenkeep.contract.loopback import is_loopback
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings, SettingsError, check_safety
from tokenkeep.settings.safety import judge_safety

PUBLIC = "https://auth.example.com"
STRONG = "ZkT9xq3vR7mL0pWc8sYb2NdHf5JgUe1A"
TLS = {"tls_cert": Path("cert.pem"), "tls_key": Path("key.pem")}


LOCAL_OR_VERIFIED = [
    "sqlite:///var/lib/tokenkeep.db",
    "postgresql:///tokenkeep",
    "postgresql://tokenkeep@/tokenkeep?host=/run/postgresql",
    "postgresql://tokenkeep@%2Frun%2Fpostgresql/tokenkeep?sslmode=disable",
    "postgresql://tokenkeep@localhost/tokenkeep",
    "postgresql://tokenkeep@127.0.0.1:5433,localhost/tokenkeep?sslmode=prefer",
    "postgresql://tokenkeep@db.example.com/tokenkeep",
    "postgresql://tokenkeep@db.example.com/tokenkeep?sslrootcert=/etc/ca.pem",
    "postgresql://tokenkeep@one.example.com,two.example.com/tokenkeep?sslmode=verify-full",
    "postgresql://tokenkeep@/tokenkeep?host=db.example.com&sslmode=verify-full",
]
ELSEWHERE_AND_NOT_VERIFIED = [
    *(
        f"postgresql://tokenkeep@db.example.com/tokenkeep?sslmode={mode}"
        for mode in ("disable", "allow", "prefer", "require", "verify-ca")
    ),
    "postgresql://tokenkeep@localhost,db.example.com/tokenkeep?sslmode=require",
    "postgresql://tokenkeep@/tokenkeep?host=/run/postgresql,db.example.com&sslmode=require",
    "postgresql://tokenkeep@/tokenkeep?host=10.0.0.5&sslmode=disable",
    "postgresql://tokenkeep@localhost.example.com/tokenkeep?sslmode=prefer",
    "postgresql://tokenkeep@[2001:db8::1]/tokenkeep?sslmode=prefer",
    "postgresql://tokenkeep@0.0.0.0/tokenkeep?sslmode=prefer",
    "postgresql://tokenkeep@db.example.com/tokenkeep?sslmode=verify-full&sslmode=require",
]


SAFE: list[dict[str, Any]] = [
    {},
    {"issuer": "http://localhost:8000"},
    {"issuer": "http://[::1]:8000", "host": "::1"},
    {"issuer": "http://127.8.8.8:8000", "host": "127.0.0.2"},
    {"issuer": PUBLIC},
    {"issuer": PUBLIC, "host": "0.0.0.0", "trusted_proxies": ("10.0.0.5",)},
    {"issuer": PUBLIC, "host": "0.0.0.0", **TLS},
    {"issuer": PUBLIC, "host": "127.0.0.1", **TLS},
    {"secret": Secret(STRONG)},
    {"secret": Secret("a long sentence that nobody else has thought of yet")},
    {"secret": Secret(STRONG), "previous_secrets": (Secret(STRONG[::-1]),)},
    {"access_ttl": timedelta(hours=1)},
    {"signing_algorithm": "HS256"},
    {"audiences": ("https://api.example.com",)},
    {"issuer": PUBLIC, "allowed_origins": ("https://app.example.com",)},
    {"issuer": PUBLIC, "allowed_origins": ("https://example.com", "https://app.example.com:8443")},
    {"allowed_origins": ("http://127.0.0.1:5173",)},
    {"issuer": "http://localhost:8000", "allowed_origins": ("http://localhost:5173",)},
    {"trusted_proxies": ("10.0.0.5", "10.1.0.0/16", "2001:db8::/48")},
    {"ops_token": Secret("an-operations-token-of-32-chars.")},
    {"feed_token": Secret("a-feed-token-of-32-characters-7a"), "ops_token": Secret("an-operations-token-of-32-chars.")},
    {"feed_public": True},
    {"signing_algorithm": "HS256", "feed_public": True},
    {"rate_limits": False},
    {"argon2_memory": 47_104, "argon2_passes": 1},
    {"argon2_memory": 7_168, "argon2_passes": 5},
    {"argon2_memory": 262_144, "argon2_passes": 10},
    *({"database_url": Secret(url)} for url in LOCAL_OR_VERIFIED),
    {
        "workers": 2,
        "database_url": Secret("postgresql:///tokenkeep"),
        "redis_url": Secret("redis://localhost"),
    },
    *(
        {"redis_url": Secret(url)}
        for url in (
            "redis://127.0.0.1",
            "redis://user:password@localhost:6380/3",
            "redis://[::1]:6379/0",
            "unix:///run/redis/redis.sock?db=1",
            "unix://user:password@/run/redis.sock",
            "rediss://user:password@redis.example.com/0?ssl_ca_certs=/etc/ca.pem",
        )
    ),
]


@pytest.mark.parametrize("changes", SAFE, ids=repr)
def test_safe_settings_pass(changes: dict[str, Any]):
    """What is safe needs no override, and nothing is said about it."""
    assert check_safety(Settings(**changes)) == []


UNSAFE: list[tuple[dict[str, Any], str, str | None]] = [
    ({"issuer": "http://auth.example.com"}, "clear text", "insecure_bind"),
    ({"issuer": "http://10.0.0.1"}, "clear text", "insecure_bind"),
    ({"argon2_memory": 19_455}, "too weak against guessing", None),
    ({"argon2_passes": 1}, "too weak against guessing", None),
    ({"argon2_memory": 7_168, "argon2_passes": 4}, "too weak against guessing", None),
    ({"issuer": "http://localhost.example.com"}, "clear text", "insecure_bind"),
    ({"issuer": "http://127.0.0.1.example.com"}, "clear text", "insecure_bind"),
    ({"host": "0.0.0.0"}, "host 0.0.0.0", "insecure_bind"),
    ({"host": "::"}, "host ::", "insecure_bind"),
    ({"host": "192.168.1.5"}, "host 192.168.1.5", "insecure_bind"),
    ({"host": "example.com"}, "host example.com", "insecure_bind"),
    ({"issuer": PUBLIC, "host": "0.0.0.0"}, "host 0.0.0.0", "insecure_bind"),
    ({"host": "0.0.0.0", "trusted_proxies": ("10.0.0.5",)}, "host 0.0.0.0", "insecure_bind"),
    *(
        ({"redis_url": Secret(url)}, "without TLS", "insecure_redis")
        for url in ("redis://redis.example.com", "redis://u:p@10.0.0.5:6379/0", "redis://localhost.example.com")
    ),
    *(
        ({"redis_url": Secret(url)}, "redis_url", None)
        for url in (
            "redis://",
            "redis:///0",
            "redis://user:p@ss@redis.example.com",
            "redis://user:p/ss@redis.example.com",
            "redis://user:p#ss@localhost",
            "redis://localhost:port",
            "redis://localhost/name",
            "redis://localhost/-1",
            "redis://localhost?ssl_ca_certs=/etc/ca.pem",
            "redis://localhost?db=1",
            "rediss://redis.example.com?ssl_cert_reqs=none",
            "rediss://redis.example.com?ssl_check_hostname=false",
            "unix://host/run/redis.sock",
            "unix:///run/redis.sock?db=x",
        )
    ),
    ({"workers": 2}, "workers is 2, but a database in a file", None),
    ({"workers": 2, "redis_url": Secret("redis://localhost")}, "a database in a file", None),
    ({"workers": 2, "database_url": Secret("sqlite:///x.db")}, "a database in a file", None),
    ({"workers": 2, "database_url": Secret("postgresql:///tokenkeep")}, "without a Redis", None),
    ({"secret": Secret("short")}, "secret is shorter than 32 bytes", None),
    ({"secret": Secret("")}, "secret is shorter than 32 bytes", None),
    ({"secret": Secret("a" * 64)}, "secret is weak", "allow_weak_secret"),
    ({"secret": Secret("correct-horse-" * 3)}, "secret is weak", "allow_weak_secret"),
    ({"secret": Secret("Change.Me! 3f9a0c7715e84b2f6d 9a0c")}, "secret is weak", "allow_weak_secret"),
    ({"secret": Secret("put YOUR_JWT_SECRET here, 32 bytes")}, "secret is weak", "allow_weak_secret"),
    ({"secret": Secret("<an example of 32 bytes and more>")}, "secret is weak", "allow_weak_secret"),
    ({"previous_secrets": (Secret("short"),)}, "previous_secrets is shorter than 32 bytes", None),
    ({"previous_secrets": (Secret("a" * 64),)}, "previous_secrets is weak", "allow_weak_secret"),
    ({"issuer": PUBLIC, "rate_limits": False}, "rate_limits is off", None),
    ({"issuer": PUBLIC, "host": "0.0.0.0", "rate_limits": False, **TLS}, "rate_limits is off", None),
    ({"access_ttl": timedelta(hours=1, seconds=1)}, "access_ttl", "allow_long_access"),
    ({"access_ttl": timedelta(days=1)}, "access_ttl is 1d", "allow_long_access"),
    (TLS, "tls_cert", None),
    ({"signing_algorithm": "HS256", "audiences": ("https://api.example.com",)}, "HS256", None),
    ({"signing_algorithm": "HS512", "audiences": ("https://api.example.com",)}, "HS512", None),
    ({"issuer": PUBLIC, "allowed_origins": ("https://evil.example",)}, "https://evil.example", None),
    ({"issuer": PUBLIC, "allowed_origins": ("http://app.example.com",)}, "http://app.example.com", None),
    ({"issuer": PUBLIC, "allowed_origins": ("*",)}, "is not an origin", None),
    ({"issuer": PUBLIC, "allowed_origins": ("null",)}, "is not an origin", None),
    ({"issuer": PUBLIC, "allowed_origins": ("https://*.example.com",)}, "is not an origin", None),
    ({"issuer": PUBLIC, "allowed_origins": ("https://app.example.com/",)}, "is not an origin", None),
    ({"issuer": PUBLIC, "allowed_origins": ("https://app.example.com/x",)}, "is not an origin", None),
    ({"issuer": PUBLIC, "allowed_origins": ("app.example.com",)}, "is not an origin", None),
    ({"issuer": PUBLIC, "allowed_origins": ("https://user@app.example.com",)}, "is not an origin", None),
    ({"issuer": PUBLIC, "allowed_origins": ("https://App.example.com",)}, "is not an origin", None),
    ({"issuer": PUBLIC, "allowed_origins": ("https://app.example.com:443",)}, "is not an origin", None),
    ({"issuer": PUBLIC, "allowed_origins": ("ftp://app.example.com",)}, "is not an origin", None),
    ({"allowed_origins": ("http://localhost:5173",)}, "another site", None),
    ({"trusted_proxies": ("0.0.0.0/0",)}, "so wide", None),
    ({"trusted_proxies": ("::/0",)}, "so wide", None),
    ({"trusted_proxies": ("nginx",)}, "no address", None),
    ({"trusted_proxies": ("*",)}, "no address", None),
    ({"ops_token": Secret("x" * 31)}, "ops_token is shorter", None),
    ({"ops_token": Secret("changeme" * 8)}, "ops_token is weak", None),
    ({"feed_token": Secret("a-feed-token-of-31-characters-7")}, "feed_token is shorter", None),
    ({"feed_token": Secret("changeme" * 8)}, "feed_token is weak", None),
    ({"feed_token": Secret(STRONG), "ops_token": Secret(STRONG)}, "feed_token is also ops_token", None),
    ({"feed_token": Secret(STRONG), "secret": Secret(STRONG)}, "feed_token is also secret", None),
    *(({"database_url": Secret(url)}, "sslmode=", "insecure_database") for url in ELSEWHERE_AND_NOT_VERIFIED),
    ({"database_url": Secret("postgresql://db.example.com:five/x")}, "cannot be read", None),
    ({"database_url": Secret("postgresql://db.example.com/x?sslmode=always")}, "unknown sslmode", None),
]


@pytest.mark.parametrize(("changes", "complaint", "override"), UNSAFE, ids=repr)
def test_unsafe_settings_do_not_start(changes: dict[str, Any], complaint: str, override: str | None):
    """Each unsafe setting is refused with cause and fix; an override, where there is one, is named and works."""
    with pytest.raises(SettingsError) as refusal:
        check_safety(Settings(**changes))
    message = str(refusal.value)
    assert complaint in message
    assert ": " in message, "a fix follows"
    with pytest.raises(SettingsError):
        AuthServer(Settings(**changes))
    if override is None:
        return
    assert f"(or {override})" in message
    findings = check_safety(Settings(**changes, **{override: True}))
    assert findings
    assert all(finding.overridden == override for finding in findings)


@pytest.mark.parametrize("override", ["insecure_bind", "insecure_database", "allow_long_access", "allow_weak_secret"])
def test_override_lets_nothing_else_pass(override: str):
    """An override is for its own rule only."""
    for changes, _, own in UNSAFE:
        if own != override:
            with pytest.raises(SettingsError):
                check_safety(Settings(**changes, **{override: True}))


def test_all_complaints_come_at_once():
    """Somebody who mends settings sees everything that is to be mended."""
    with pytest.raises(SettingsError) as refusal:
        check_safety(Settings(issuer="http://auth.example.com", host="0.0.0.0", access_ttl=timedelta(hours=2)))
    assert len(str(refusal.value).splitlines()) == 3


def test_complaints_do_not_show_secrets():
    """What is wrong with a secret is said without showing it."""
    settings = Settings(secret=Secret("hunter2"), ops_token=Secret("hunter3"), feed_token=Secret("hunter4"))
    text = repr(judge_safety(settings))
    assert "hunter" not in text
    with pytest.raises(SettingsError) as refusal:
        check_safety(settings)
    assert "hunter" not in str(refusal.value)


def test_publicly_known_secret_is_weak():
    """A secret out of a tutorial is refused, long as it may be."""
    with pytest.raises(SettingsError, match="publicly known"):
        check_safety(Settings(secret=Secret("reallyreallyreallyreallyverysafe")))


def test_every_rule_says_something():
    """Whoever asks what is safe here hears of every rule."""
    rules = {finding.rule for finding in judge_safety(Settings())}
    assert {
        "issuer-transport",
        "listener",
        "database-transport",
        "server-secret",
        "access-life",
        "allowed-origins",
    } <= rules
    assert all(finding.ok for finding in judge_safety(Settings()))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("127.1", False),
        ("2130706433", False),
    ],
)
def test_loopback(host: str, loopback: bool):
    """This machine's own addresses are known, and names that look like them are not."""
    assert is_loopback(host) is loopback
