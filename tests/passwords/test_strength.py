"""Strength: what is easy to guess, what is said about it, and that no password takes long to judge."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zxcvbn as library

from tokenkeep.domain.accounts import PasswordPolicy, parse_name
from tokenkeep.domain.password_strength import context_words
from tokenkeep.passwords.strength import LOOKED_AT, LOOKED_AT_OF_SYMBOLS, measure

LETTERLIKE = "4@8({[<3691!|70$5+%2"


@pytest.mark.parametrize(
    "password",
    [
        "correct-horse-battery",
        "correct horse battery staple",
        "another-good-password",
        "wrong-donkey-fuel-cell",
        "zX8#kQ2!mV5@pL9$",
        "correcthorsebattery",
        "Ada likes engines",
        "pässwörd über alles",
        "дождь в апреле и зонт",
        "四月的雨和一把伞在门口等着我们回家吧",
        "🐎🔋📎🎺🌵🍉🛶🎈🧭🪁🐙🦔🎻🍋🚲",
        "x" * 14 + "!unlikely tail of it",
    ],
)
def test_good_password_is_strong(password: str):
    """Phrases, random characters and other scripts are strong enough, and need no explanation."""
    strength = measure(password, ["ada", "tokenkeep"])
    assert strength.score >= 3
    assert strength.explanation == ""


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("password1234567", "similar to a commonly used password"),
        ("passwordpassword", "Repeats"),
        ("xxxxxxxxxxxxxxxxxxx", "Repeats"),
        ("abcabcabcabcabcabc", "Repeats"),
        ("qwertyuiopasdfgh", "commonly used password"),
        ("abcdefghijklmnopqrst", "Sequences"),
        ("P4$$w0rdP4$$w0rd", "Repeats"),
        ("x" * 1024, "Repeats"),
    ],
)
def test_easy_password_is_weak(password: str, said: str):
    """What lists and programs try first is weak, and it is said why."""
    strength = measure(password, [])
    assert strength.score < 3
    assert said in strength.explanation


@pytest.mark.parametrize(
    ("password", "context"),
    [
        ("auth.example.com1", ["auth.example.com", "ada"]),
        ("xyzzyplughquux1", ["tokenkeep", "xyzzyplughquux"]),
        ("XyzzyPlughQuux", ["xyzzyplughquux"]),
        ("xuuqhgulpyzzyx", ["xyzzyplughquux"]),
    ],
)
def test_name_and_service_are_easy(password: str, context: list[str]):
    """What is built from the account's name or the service's is weak for this account only."""
    strength = measure(password, context)
    assert strength.score < 3
    assert "name of the account or of the service" in strength.explanation
    assert measure(password, []).score > strength.score


def test_words_of_one_call_do_not_last():
    """The words of one account are not held against the next one."""
    assert measure("xyzzyplughquux1", ["xyzzyplughquux"]).score < 3
    assert measure("xyzzyplughquux1", []).score >= 3


@pytest.mark.parametrize("password", ["password1234567", "lovelace-tokenkeep", "qwertyuiopasdfgh"])
def test_explanation_does_not_quote_the_password(password: str):
    """The explanation is for everyone's eyes."""
    assert password not in measure(password, ["lovelace", "tokenkeep"]).explanation


@pytest.mark.parametrize(
    "password", ["\0" * 15, "a\0b" * 5, "\u202e" * 15, "é" * 1024, "(((((" * 4, "\\" * 20, " " * 15]
)
def test_any_text_can_be_judged(password: str):
    """Control characters, foreign scripts and what means something to a pattern raise nothing."""
    assert 0 <= measure(password, [password[:10], ""]).score <= 4


def test_password_of_the_readme_is_strong():
    """The password with which the README tells the story is one that may be set for its account."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
    passwords = set(re.findall(r"--password-stdin <<< '([^']+)'|\"password\":\"([a-z-]+)\"", readme))
    assert {one or other for one, other in passwords} == {"correct-horse-battery"}
    assert measure("correct-horse-battery", context_words(parse_name("Ada"), PasswordPolicy())).score >= 3


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by what zxcvbn is given to look at."""
    given: list[str] = []
    original: Callable[..., Any] = library.zxcvbn

    def recorded(password: str, **rest: Any) -> Any:
        given.append(password)
        return original(password, **rest)

    monkeypatch.setattr(library, "zxcvbn", recorded)
    return given


@pytest.mark.parametrize(
    ("password", "length"),
    [
        ("x" * 1024, LOOKED_AT),
        ("correct horse battery staple " * 30, LOOKED_AT),
        ("p4$$w0rd" * 100, LOOKED_AT),
        (LETTERLIKE * 50, LOOKED_AT_OF_SYMBOLS),
        ("a" * 20 + LETTERLIKE, LOOKED_AT_OF_SYMBOLS),
        ("correct-horse-battery", 21),
    ],
)
def test_only_so_much_is_looked_at(looked_at: list[str], password: str, length: int):
    """However long a password is, what is analysed is short: the time grows with the square, and more with symbols."""
    measure(password, [])
    assert looked_at == [password[:length]]


def test_two_threads_do_not_mix_their_words(monkeypatch: pytest.MonkeyPatch):
    """While one password is judged against its words, no other is: the library keeps them in one place."""
    inside, most = 0, 0
    original: Callable[..., Any] = library.zxcvbn

    def recorded(password: str, **rest: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        result = original(password, **rest)
        inside -= 1
        return result

    monkeypatch.setattr(library, "zxcvbn", recorded)
    threads = [threading.Thread(target=measure, args=("x7!q" * 10, [str(number)])) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_server_that_sets_no_password_does_not_load_the_word_lists():
    """The library and its word lists are imported when the first password is judged."""
    program = "import sys, tokenkeep.server; print('zxcvbn' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "False"
