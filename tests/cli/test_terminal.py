"""Nothing that came from elsewhere moves a terminal's cursor, changes its colours, or reverses its text."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import Run
from tokenkeep.cli.terminal import json_text, one_line
from tokenkeep.jose import Key, KeySet, jwt

KEY = Key.generate("ES256")
# C0 and C1 controls, marks of direction, blanks, separators, private use, and what is no character.
HOSTILE = "\x1b[2J\x07\r\n\t\x7f\x85\x9b31m\u202e\u2066\u200b\u2028\ufeff\u00ad\ue000\U000e0041\uffff"
HARMLESS = "Zoë 日本 🙂"


@pytest.fixture
def token() -> str:
    """A good token whose every text is hostile."""
    return jwt.issue(
        {"name": HOSTILE, HOSTILE: [HOSTILE, HARMLESS]},
        KEY,
        issuer=HOSTILE,
        subject=HOSTILE,
        audience=HOSTILE,
        lifetime=timedelta(minutes=5),
    )


@pytest.fixture
def jwks(folder: Path) -> str:
    """A file with the key set."""
    (folder / "jwks.json").write_text(json.dumps(KeySet([KEY.public()]).to_jwks()))
    return "jwks.json"


def is_harmless(text: str) -> bool:
    """Tell whether all of a text is seen, but for its line breaks."""
    return text.replace("\n", "").isprintable()


def test_json_of_a_token_is_escaped(run: Run, token: str, jwks: str):
    """`inspect` and `verify` print JSON that reads the same and that no terminal obeys; letters stay letters."""
    for words in (("inspect",), ("verify", "--key", jwks)):
        outcome = run("token", *words, "--json", stdin=token)
        assert outcome.code == 0, outcome
        assert is_harmless(outcome.out)
        assert HARMLESS in outcome.out
        claims = json.loads(outcome.out)["claims"]
        assert (claims["name"], claims[HOSTILE]) == (HOSTILE, [HOSTILE, HARMLESS])


def test_words_about_a_token_are_escaped(run: Run, token: str, jwks: str):
    """The tables are harmless too, and so is what is said of a refusal."""
    for words in (("inspect",), ("verify", "--key", jwks), ("verify", "--key", jwks, "--issuer", "other")):
        outcome = run("token", *words, stdin=token)
        assert is_harmless(outcome.out + outcome.err), words


@pytest.mark.parametrize("words", [("tail",), ("tail", "--json"), ("search", "--json"), ("search",)])
def test_the_audit_log_is_escaped(run: Run, data: Path, words: tuple[str, ...]):
    """Whatever got into the database comes out of it harmless."""
    connection = sqlite3.connect(data / "tokenkeep.db")
    with connection:
        connection.execute(
            "INSERT INTO audit_events (id, at, kind, actor, address, user_agent, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
            ("x", 1_767_225_600_000, "login_refused", HOSTILE, HOSTILE, HOSTILE, HOSTILE),
        )
    connection.close()
    outcome = run("audit", *words)
    assert outcome.code == 0, outcome
    assert "login_refused" in outcome.out
    assert is_harmless(outcome.out)
    if "--json" in words:
        [event] = [json.loads(line) for line in outcome.out.splitlines() if "login_refused" in line]
        assert event["userAgent"] == event["detail"] == HOSTILE


def test_what_a_command_complains_of_is_escaped(run: Run, monkeypatch: pytest.MonkeyPatch):
    """A value that is repeated in a complaint cannot rewrite the line."""
    monkeypatch.setenv("TOKENKEEP_ALLOWED_ORIGINS", f"http://{HOSTILE.replace(chr(10), '')}")
    complaint = run("serve").complaint
    assert "allowed_origins" in complaint
    assert is_harmless(complaint)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, st.sampled_from([None, 2]))
def test_json_text_reads_the_same(value: Any, indent: int | None):
    """Escaping changes no value, and leaves nothing that is not seen."""
    text = json_text(value, indent=indent)
    assert json.loads(text) == value
    assert is_harmless(text)


@given(st.text())
def test_one_line_is_one_line(text: str):
    """Any text becomes one line that is seen; one that is so already stays as it is."""
    assert one_line(text).isprintable()
    assert one_line(text) == text or not text.isprintable()
