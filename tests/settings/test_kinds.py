"""How values are read from text: durations, switches, numbers, lists, secrets."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.settings import Secret
from tokenkeep.settings.kinds import Kind, Rate, format_duration, parse_duration, parse_rate


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0s", timedelta()),
        ("1ms", timedelta(milliseconds=1)),
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("007d", timedelta(days=7)),
        ("90m", timedelta(minutes=90)),
    ],
)
def test_duration_is_a_number_with_a_unit(text: str, duration: timedelta):
    """Milliseconds, seconds, minutes, hours and days."""
    assert parse_duration(text) == duration


NO_DURATIONS = [
    "",
    "15",
    "m",
    "15 m",
    " 15m",
    "15m ",
    "15m\n",
    "15M",
    "1.5h",
    "-5m",
    "+5m",
    "1h30m",
    "15min",
    "1w",
    "1e3s",
]


@pytest.mark.parametrize(
    "raw", [*NO_DURATIONS, "9999999999d", 15, 900.0, True, None, ["15m"], timedelta(minutes=15)], ids=repr
)
def test_other_texts_are_no_duration(raw: object):
    """A bare number has no unit, and nothing is guessed."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(raw)


@given(st.integers(0, 999_999_999), st.sampled_from([1, 1_000, 60_000, 3_600_000, 86_400_000]))
def test_duration_reads_back_as_written(amount: int, unit: int):
    """What is shown of a duration is read as the same duration."""
    duration = timedelta(milliseconds=amount % (999_999_999 // unit + 1) * unit)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [(timedelta(), "0ms"), (timedelta(seconds=90), "90s"), (timedelta(minutes=60), "1h"), (timedelta(hours=48), "2d")],
)
def test_duration_is_shown_in_its_largest_unit(duration: timedelta, text: str):
    """The shortest text is shown."""
    assert format_duration(duration) == text


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1/1s", Rate(1, timedelta(seconds=1))),
        ("60/1m", Rate(60, timedelta(minutes=1))),
        ("1200/24h", Rate(1200, timedelta(hours=24))),
    ],
)
def test_rate_is_a_count_in_a_duration(text: str, rate: Rate):
    """So many in so long."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "raw",
    ["", "60", "60/", "/1m", "0/1m", "60/0s", "60/999ms", "60/m", "-1/1m", "60 / 1m", "1.5/1m", 60, None],
    ids=repr,
)
def test_other_texts_are_no_rate(raw: object):
    """A rate of nothing, or in no time, is refused."""
    with pytest.raises(ValueError, match="rate"):
        parse_rate(raw)


@pytest.mark.parametrize("raw", ["on", "true", "yes", "1", "ON", "True", "YES", True])
def test_words_that_switch_on(raw: object):
    """The usual words switch on."""
    assert Kind.BOOLEAN.parse(raw) is True


@pytest.mark.parametrize("raw", ["off", "false", "no", "0", "OFF", "False", False])
def test_words_that_switch_off(raw: object):
    """The usual words switch off."""
    assert Kind.BOOLEAN.parse(raw) is False


@pytest.mark.parametrize("raw", ["", "maybe", "2", "y", "t", " on", 1, 0, None, []], ids=repr)
def test_other_values_are_no_switch(raw: object):
    """What is neither on nor off is refused: a security setting must not depend on a guess."""
    with pytest.raises(ValueError, match="on or off"):
        Kind.BOOLEAN.parse(raw)


@pytest.mark.parametrize(("raw", "number"), [("0", 0), ("8000", 8000), (8000, 8000), ("007", 7)])
def test_numbers(raw: object, number: int):
    """Whole numbers are read from text and from TOML."""
    assert Kind.INTEGER.parse(raw) == number


@pytest.mark.parametrize(
    "raw", ["", "-1", "+1", "1.0", "1e3", " 1", "0x10", "9" * 10, 1.0, -1, True, None, []], ids=repr
)
def test_other_values_are_no_number(raw: object):
    """A switch, a fraction or a sign is no whole number."""
    with pytest.raises(ValueError, match="whole number"):
        Kind.INTEGER.parse(raw)


@pytest.mark.parametrize(
    ("raw", "items"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        (" a , b ,, ", ("a", "b")),
        (["a", "b"], ("a", "b")),
        (("a",), ("a",)),
        ([], ()),
    ],
)
def test_lists(raw: object, items: tuple[str, ...]):
    """A list is a list, or one text with commas."""
    assert Kind.LIST.parse(raw) == items


@pytest.mark.parametrize("raw", [None, 1, [1], ["a", None], {"a": 1}], ids=repr)
def test_other_values_are_no_list(raw: object):
    """A list holds texts only."""
    with pytest.raises(ValueError, match="list"):
        Kind.LIST.parse(raw)


@pytest.mark.parametrize("kind", [Kind.TEXT, Kind.PATH, Kind.SECRET])
@pytest.mark.parametrize("raw", [1, True, None, ["a"], b"a"], ids=repr)
def test_text_is_text(kind: Kind, raw: object):
    """Nothing is turned into text that was none."""
    with pytest.raises(ValueError, match="text"):
        kind.parse(raw)


def test_texts_paths_and_secrets_are_taken_as_they_are():
    """No text is trimmed."""
    assert Kind.TEXT.parse(" a ") == " a "
    assert Kind.PATH.parse("a b/c") == Path("a b/c")
    assert Kind.SECRET.parse(" a ").reveal() == " a "
    assert [secret.reveal() for secret in Kind.SECRETS.parse("a,b")] == ["a", "b"]


def test_secret_shows_itself_to_nobody():
    """Neither repr nor str nor format of a secret holds it."""
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {secret!s} {[secret]} {(secret,)}"
    assert secret.reveal() == "hunter2"


def test_secrets_are_compared_by_value():
    """Two secrets of one value are the same, and none is the same as its text."""
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


@pytest.mark.parametrize("action", [pickle.dumps, copy.copy, copy.deepcopy])
def test_secret_cannot_be_serialised(action):
    """A secret does not leave the process by accident."""
    with pytest.raises(TypeError, match="pickled"):
        action(Secret("a"))


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_only_secrets_are_secret(kind: Kind):
    """What must not be shown is known by its kind."""
    assert kind.secret is (kind in {Kind.SECRET, Kind.SECRETS})
