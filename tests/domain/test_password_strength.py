"""How strong a password must be, and which words somebody who guesses it knows."""

from __future__ import annotations

import pytest

from tokenkeep.domain.accounts import PasswordPolicy, parse_name
from tokenkeep.domain.errors import InvalidField
from tokenkeep.domain.password_strength import (
    Strength,
    context_words,
    require_more_than_context,
    require_strength,
)

POLICY = PasswordPolicy(service=("tokenkeep", "auth.example.com"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Ada", ["ada", "tokenkeep", "auth.example.com", "auth", "example", "com"]),
        (
            "Ada.Love@Engines.example",
            ["ada.love@engines.example", *POLICY.service, "ada", "love", "engines", "example", "auth", "com"],
        ),
        ("j_r hartley", ["j_r hartley", "tokenkeep", "auth.example.com", "hartley", "auth", "example", "com"]),
        ("12345", ["tokenkeep", "auth.example.com", "auth", "example", "com"]),
    ],
)
def test_name_and_service_are_known(name: str, words: list[str]):
    """The name, the service and the parts of both are known to whoever guesses; numbers and syllables are no words."""
    assert list(context_words(parse_name(name), POLICY)) == words


WORDS = ("ada.lovelace", "tokenkeep", "ada", "lovelace", "ai")


@pytest.mark.parametrize(
    "password",
    [
        "lovelace-tokenkeep",
        "Lovelace.Tokenkeep.",
        "ADA LOVELACE ADA LOVELACE",
        "ada-tokenkeep-2026",
        "ada.lovelace.1815!!!",
        "tokenkeeptokenkeep",
        "tokenkeep_________________",
        "1234567tokenkeep",
    ],
)
def test_password_of_known_words_is_refused(password: str):
    """Names with a year, a number or signs around them are what somebody who knows the names tries first."""
    with pytest.raises(InvalidField) as refusal:
        require_more_than_context(password, WORDS, field="newPassword")
    assert refusal.value.field == "newPassword"
    assert password not in str(refusal.value)


@pytest.mark.parametrize(
    "password",
    ["Ada likes engines", "correct-horse-battery", "12345678tokenkeep", "!!!!!!!!!!!!!!!!", "ai ai ai ai ai ai"],
)
def test_password_may_contain_known_words(password: str):
    """Eight letters or digits of its own are enough; without known words nothing is asked."""
    require_more_than_context(password, WORDS)


@pytest.mark.parametrize("score", [3, 4])
def test_strong_password_may_be_set(score: int):
    """A score of 3 is enough."""
    require_strength(Strength(score))


@pytest.mark.parametrize("score", [0, 1, 2])
def test_weak_password_is_refused_with_its_explanation(score: int):
    """A score below 3 is refused under the field's name, in the words of the explanation."""
    with pytest.raises(InvalidField) as refusal:
        require_strength(Strength(score, "Dates are often easy to guess."), field="newPassword")
    assert refusal.value.field == "newPassword"
    assert refusal.value.sentence == "The password is easy to guess. Dates are often easy to guess."


def test_refusal_without_an_explanation_is_a_sentence():
    """Where there is nothing to explain, the sentence ends as one."""
    with pytest.raises(InvalidField) as refusal:
        require_strength(Strength(0))
    assert refusal.value.sentence == "The password is easy to guess."
