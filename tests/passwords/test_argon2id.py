"""Argon2id: the cost of a hash, its form, and what is checked of a password."""

import re

import pytest

from tokenkeep.passwords import Argon2Parameters
from tokenkeep.passwords.argon2id import Argon2id

ARGON2ID = Argon2id(Argon2Parameters())
CHEAPER = Argon2id(Argon2Parameters(memory=7_168, passes=5))


def test_hash_has_the_documented_cost():
    """A stored hash names Argon2id version 1.3 with 19456 KiB, two passes and one lane, and a salt of 16 bytes."""
    phc = ARGON2ID.hash("correct-horse-battery")
    salt = re.fullmatch(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$([A-Za-z0-9+/]{22})\$[A-Za-z0-9+/]{43}", phc)
    assert salt, phc


def test_equal_passwords_have_different_hashes():
    """Each hash has a salt of its own."""
    assert ARGON2ID.hash("correct-horse-battery") != ARGON2ID.hash("correct-horse-battery")


@pytest.mark.parametrize(
    ("memory", "passes", "lanes"),
    [(19_456, 2, 1), (47_104, 1, 1), (12_288, 3, 1), (9_216, 4, 1), (7_168, 5, 1), (65_536, 3, 4)],
)
def test_recommended_costs_are_allowed(memory: int, passes: int, lanes: int):
    """Every cost that OWASP recommends, and any above, is allowed."""
    assert Argon2Parameters(memory, passes, lanes).memory == memory


@pytest.mark.parametrize(
    ("memory", "passes", "lanes"),
    [
        (19_455, 2, 1),
        (19_456, 1, 1),
        (47_103, 1, 1),
        (12_287, 3, 1),
        (9_215, 4, 1),
        (7_167, 5, 1),
        (7_167, 100, 1),
        (8, 1, 1),
        (0, 0, 0),
        (1_000_000, 0, 1),
        (19_456, 2, 0),
    ],
)
def test_weaker_costs_are_refused(memory: int, passes: int, lanes: int):
    """A cost below all recommended ones cannot be configured."""
    with pytest.raises(ValueError, match="weaker"):
        Argon2Parameters(memory, passes, lanes)


@pytest.mark.parametrize(
    ("password", "other"),
    [
        ("correct-horse-battery", "correct-horse-batterx"),
        ("correct-horse-battery", "correct-horse-battery "),
        ("correct-horse-battery", " correct-horse-battery"),
        ("correct-horse-battery", "Correct-horse-battery"),
        ("correct-horse-battery", "correct-horse-battery\n"),
        ("correct-horse\0battery", "correct-horse\0staple!"),
        ("correct-horse\0battery", "correct-horse"),
        ("x" * 72 + "a", "x" * 72 + "b"),
        ("x" * 72 + "a", "x" * 72),
        ("x" * 1023 + "a", "x" * 1023 + "b"),
        ("🐎" * 15, "🐎" * 14 + "🔋"),
        ("correct-horse-battery", ""),
    ],
)
def test_the_whole_password_counts(password: str, other: str):
    """Case, spaces, everything after NUL and after byte 72 is part of a password."""
    stored = CHEAPER.hash(password)
    assert CHEAPER.verify(stored, password)
    assert not CHEAPER.verify(stored, other)


@pytest.mark.parametrize(
    "stored",
    ["", "x", "plain text", "$argon2id$", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$", "$2b$12$" + "x" * 53, "é", "\0"],
)
def test_text_that_is_no_hash_has_no_password(stored: str):
    """A stored text that cannot be read as a hash lets nobody in, and raises nothing."""
    assert not ARGON2ID.verify(stored, "correct-horse-battery")
    assert not ARGON2ID.verify(stored, stored)


def test_hash_of_another_cost_is_outdated():
    """A hash made with other parameters is still checked, and known to need replacing."""
    stored = CHEAPER.hash("correct-horse-battery")
    assert ARGON2ID.verify(stored, "correct-horse-battery")
    assert ARGON2ID.outdated(stored)
    assert not CHEAPER.outdated(stored)
    assert not ARGON2ID.outdated(ARGON2ID.hash("correct-horse-battery"))
