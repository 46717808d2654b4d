"""Every option: its default, its bounds, and how it is shown."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tokenkeep.jose.key_set import MAX_PUBLISHED_KEYS
from tokenkeep.policies import rotation_policy
from tokenkeep.settings import Secret, Settings, SettingsError
from tokenkeep.settings.kinds import Kind, Rate
from tokenkeep.settings.options import OPTIONS, Option
from tokenkeep.verifier import KeyFetching

DEFAULTS = {
    "issuer": "http://127.0.0.1:8000",
    "audiences": (),
    "client_id": "tokenkeep",
    "data_dir": Path(".tokenkeep"),
    "database_url": None,
    "secret": None,
    "previous_secrets": (),
    "signing_algorithm": "ES256",
    "key_rotation": timedelta(days=90),
    "access_ttl": timedelta(minutes=15),
    "refresh_idle_ttl": timedelta(days=7),
    "session_ttl": timedelta(days=30),
    "max_sessions": 100,
    "refresh_grace": timedelta(seconds=10),
    "leeway": timedelta(seconds=5),
    "revocation_max_staleness": timedelta(seconds=5),
    "allowed_origins": (),
    "trusted_proxies": (),
    "allowed_hosts": (),
    "password_min_length": 15,
    "redis_url": None,
    "redis_prefix": "tokenkeep:",
    "workers": 1,
    "host": "127.0.0.1",
    "port": 8000,
    "insecure_bind": False,
    "api_docs": False,
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_is_the_documented_one(name: str):
    """Defaults are those of the design."""
    assert getattr(Settings(), name) == DEFAULTS[name]
    assert OPTIONS[name].default == ("" if name == "issuer" else DEFAULTS[name])


def test_issuer_follows_the_port():
    """Who only chooses another port has an issuer with that port."""
    assert Settings(port=9000).issuer == "http://127.0.0.1:9000"
    assert Settings(issuer="", port=9000).issuer == "http://127.0.0.1:9000"
    assert Settings(issuer="https://auth.example.com", port=9000).issuer == "https://auth.example.com"


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS.keys())
def test_option_is_documented(option: Option):
    """Each option has a sentence of help, a variable and a flag that follow from its name, and a default to show."""
    assert option.help.endswith(".")
    assert len(option.help) > 15
    assert option.variable == "TOKENKEEP_" + option.name.upper()
    assert option.flag == "--" + option.name.replace("_", "-")
    assert option.show(option.default)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS.keys())
def test_switches_are_off_by_default(option: Option):
    """What opens something must be switched on."""
    if option.kind is Kind.BOOLEAN and option.help.startswith("UNSAFE"):
        assert option.default is False


def test_table_and_settings_have_the_same_names():
    """Nothing can be set that is not in the table."""
    assert set(OPTIONS) == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("issuer", "https://auth.example.com"),
        ("issuer", "https://example.com/auth"),
        ("issuer", "https://example.com/Auth/Tokens"),
        ("issuer", "http://[::1]:8000"),
        ("access_ttl", timedelta(seconds=1)),
        ("access_ttl", timedelta(hours=1)),
        ("refresh_idle_ttl", timedelta(seconds=1)),
        ("session_ttl", timedelta(days=365)),
        ("max_sessions", 1),
        ("max_sessions", 10_000),
        ("refresh_grace", timedelta()),
        ("refresh_grace", timedelta(seconds=60)),
        ("leeway", timedelta()),
        ("leeway", timedelta(seconds=60)),
        ("revocation_max_staleness", timedelta(seconds=1)),
        ("revocation_max_staleness", timedelta(seconds=60)),
        ("password_min_length", 8),
        ("password_min_length", 64),
        ("port", 1),
        ("port", 65_535),
        ("hash_concurrency", 1),
        ("argon2_memory", 7_168),
        ("argon2_memory", 262_144),
        ("argon2_passes", 1),
        ("argon2_passes", 10),
        ("signing_algorithm", "EdDSA"),
        ("key_rotation", timedelta(hours=1)),
        ("key_rotation", timedelta(days=3650)),
        ("database_url", Secret("postgresql://user:password@host/name")),
        ("database_url", Secret("sqlite:///relative.db")),
    ],
)
def test_good_value_is_taken(name: str, value: Any):
    """The bounds themselves are allowed."""
    assert getattr(Settings(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("issuer", "auth.example.com"),
        ("issuer", "ftp://auth.example.com"),
        ("issuer", "https://"),
        ("issuer", "https://auth.example.com/"),
        ("issuer", "https://Auth.example.com"),
        ("issuer", "HTTPS://auth.example.com"),
        ("issuer", "https://auth.example.com?x=y"),
        ("issuer", "https://auth.example.com#x"),
        ("issuer", "https://user@auth.example.com"),
        ("issuer", "https://user:password@auth.example.com"),
        ("issuer", "https://:password@auth.example.com"),
        ("issuer", "https://auth.example.com:99999"),
        ("issuer", "https://auth.example.com:port"),
        ("issuer", "https://auth.example.com\n"),
        ("issuer", "https://auth.example.com /x"),
        ("issuer", "javascript:alert(1)"),
        ("access_ttl", timedelta(milliseconds=999)),
        ("access_ttl", timedelta(days=2)),
        ("refresh_idle_ttl", timedelta()),
        ("session_ttl", timedelta(days=366)),
        ("max_sessions", 0),
        ("max_sessions", 10_001),
        ("refresh_grace", timedelta(seconds=61)),
        ("refresh_grace", timedelta(seconds=-1)),
        ("leeway", timedelta(seconds=61)),
        ("revocation_max_staleness", timedelta()),
        ("revocation_max_staleness", timedelta(seconds=61)),
        ("password_min_length", 7),
        ("password_min_length", 65),
        ("port", 0),
        ("port", 65_536),
        ("hash_concurrency", 0),
        ("argon2_memory", 7_167),
        ("argon2_memory", 262_145),
        ("argon2_passes", 0),
        ("argon2_passes", 11),
        ("key_rotation", timedelta(minutes=59)),
        ("key_rotation", timedelta(days=3651)),
        ("signing_algorithm", "none"),
        ("signing_algorithm", "es256"),
        ("signing_algorithm", ""),
        ("database_url", Secret("mysql://host/name")),
        ("database_url", Secret("")),
        ("redis_url", Secret("http://localhost")),
        ("redis_url", Secret("")),
        ("workers", 0),
        ("workers", 65),
        ("redis_prefix", "with space"),
        ("redis_prefix", "star*"),
        ("redis_prefix", "x" * 65),
        ("database_url", Secret("sqlite:relative.db")),
        ("log_level", "loud"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value),
)
def test_bad_value_is_refused_by_its_name(name: str, value: Any):
    """A value out of bounds or of no sense is refused, and the message names the setting."""
    with pytest.raises(SettingsError, match=f"^{name} "):
        Settings(**{name: value})


def test_idle_life_is_within_the_session():
    """An idle life longer than the session's is a mistake."""
    assert Settings(refresh_idle_ttl=timedelta(days=1), session_ttl=timedelta(days=1))
    with pytest.raises(SettingsError, match="refresh_idle_ttl"):
        Settings(refresh_idle_ttl=timedelta(days=2), session_ttl=timedelta(days=1))


def test_certificate_and_key_belong_together():
    """One without the other is a mistake."""
    for given in ({"tls_cert": Path("cert.pem")}, {"tls_key": Path("key.pem")}):
        with pytest.raises(SettingsError, match="tls_cert and tls_key"):
            Settings(**given)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("access_ttl", timedelta(minutes=15), "15m"),
        ("insecure_bind", True, "on"),
        ("insecure_bind", False, "off"),
        ("audiences", ("a", "b"), "a, b"),
        ("audiences", (), "(none)"),
        ("port", 8000, "8000"),
        ("data_dir", Path("x/y"), "x/y"),
        ("issuer", "", "(not set)"),
        ("login_limit_address", Rate(60, timedelta(minutes=1)), "60/1m"),
        ("secret", None, "(not set)"),
        ("secret", Secret("hunter2"), "********"),
        ("previous_secrets", (), "(not set)"),
        ("previous_secrets", (Secret("hunter2"),), "********"),
        ("database_url", Secret("postgresql://u:hunter2@h/n"), "********"),
    ],
)
def test_values_are_shown_as_they_are_written(name: str, value: Any, shown: str):
    """What is shown could stand in a file, and secrets are masked."""
    assert OPTIONS[name].show(value) == shown


def test_repr_of_settings_shows_no_secret():
    """Settings can be logged without telling a secret."""
    settings = Settings(
        secret=Secret("hunter2-hunter2-hunter2-hunter2-"),
        previous_secrets=(Secret("hunter3"),),
        database_url=Secret("postgresql://user:hunter4@host/name"),
    )
    assert "hunter" not in repr(settings)


def test_refused_secret_is_not_quoted():
    """The refusal of a database address does not show it: it may hold a password."""
    with pytest.raises(SettingsError) as refusal:
        Settings(database_url=Secret("postgres://user:hunter2@host/name"))
    assert "hunter2" not in str(refusal.value)


def test_the_shortest_rotation_leaves_time_to_publish():
    """Whatever is allowed is longer than a key must be published before it signs, and the key set stays small."""
    shortest = rotation_policy(Settings(key_rotation=timedelta(hours=1)))
    longest_access = timedelta(days=1) // timedelta(milliseconds=1)
    assert shortest.interval > 10 * shortest.lead
    assert shortest.trail(longest_access) / shortest.interval + 2 < MAX_PUBLISHED_KEYS


def test_the_rotation_waits_for_the_slowest_verifier():
    """What a key's publication allows for is the longest pause between two fetches that a verifier can be given."""
    policy = rotation_policy(Settings())
    assert policy.interval == timedelta(days=90) // timedelta(milliseconds=1)
    slowest = timedelta(milliseconds=policy.fetch_cooldown)
    assert KeyFetching(cooldown=slowest)
    with pytest.raises(ValueError, match="cooldown"):
        KeyFetching(cooldown=slowest + timedelta(milliseconds=1))
