"""`tokenkeep users`: accounts are added, listed and changed, and passwords come from standard input only."""

from __future__ import annotations

import json
import shlex
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tokenkeep.cli import users
from tokenkeep.cli.terminal import instant_text
from tokenkeep.domain.accounts import TEMPORARY_FOR
from tokenkeep.passwords import Argon2Parameters
from tokenkeep.passwords.argon2id import Argon2id

PASSWORD = "correct-horse-battery"


def account(data: Path, name: str = "Ada") -> dict[str, Any]:
    """Return an account as it is stored."""
    with closing(sqlite3.connect(data / "tokenkeep.db")) as connection:
        connection.row_factory = sqlite3.Row
        return dict(connection.execute("SELECT * FROM accounts WHERE name = ?", [name]).fetchone())


def opens(data: Path, password: str) -> bool:
    """Tell whether the password opens Ada's account."""
    return Argon2id(Argon2Parameters()).verify(account(data)["password_hash"], password)


@pytest.fixture
def ada(run: Run, data: Path) -> Path:
    """The data directory with the account Ada."""
    assert run("users", "add", "Ada", "--password-stdin", stdin=PASSWORD).code == 0
    return data


def test_account_is_added(run: Run, data: Path):
    """A new account is told with its id and role, and its password is not."""
    outcome = run("users", "add", "Ada", "--role", "admin", "--password-stdin", stdin=PASSWORD + "\n")
    stored = account(data)
    assert outcome.code == 0
    assert outcome.out == f"added Ada ({stored['id']}) with role admin\n"
    assert stored["role"] == "admin"
    assert opens(data, PASSWORD)
    assert PASSWORD not in outcome.out + outcome.err


def test_role_is_user_by_default(ada: Path):
    """Nobody becomes an administrator by not saying anything."""
    assert account(ada)["role"] == "user"


@pytest.mark.parametrize(
    ("stdin", "password"),
    [
        (f"{PASSWORD}\n", PASSWORD),
        (PASSWORD, PASSWORD),
        (f"{PASSWORD}\n\n", f"{PASSWORD}\n"),
        (f"{PASSWORD}\r\n", f"{PASSWORD}\r"),
        (f" {PASSWORD} \n", f" {PASSWORD} "),
        (f"\n{PASSWORD}\n", f"\n{PASSWORD}"),
        ("pässwörd über alles\n", "pässwörd über alles"),
    ],
)
def test_exactly_one_line_break_is_removed(run: Run, data: Path, stdin: str, password: str):
    """The password is what was given, but for the one line break that a shell adds."""
    assert run("users", "add", "Ada", "--password-stdin", stdin=stdin).code == 0
    assert opens(data, password)


@pytest.mark.parametrize(
    ("arguments", "stdin", "complaint"),
    [
        (["Ada", "--password-stdin"], "", "at least 15 characters"),
        (["Ada", "--password-stdin"], "too-short-one!\n", "at least 15 characters"),
        (["Ada", "--password-stdin"], "x" * 1025, "at most 1024 characters"),
        (["Ada", "--password-stdin"], "AdaAdaAdaAdaAda", "must not be made of the name"),
        (["Ada", "--password-stdin"], "ada-tokenkeep-2026", "must not be made of the name"),
        (["Ada", "--password-stdin"], "qwertyuiopasdfgh", "similar to a commonly used password"),
        (["Ada\x1b[31m", "--password-stdin"], PASSWORD, "control or invisible"),
        (["", "--password-stdin"], PASSWORD, "must not be empty"),
        (["Ada", "--role", "Admin", "--password-stdin"], PASSWORD, "lower-case"),
        (["Ada\udcff", "--password-stdin"], PASSWORD, "control or invisible"),
    ],
)
def test_impossible_account_is_refused(run: Run, data: Path, arguments: list[str], stdin: str, complaint: str):
    """What breaks a rule is refused with the rule and exit code 1, and nothing typed is repeated."""
    outcome = run("users", "add", *arguments, stdin=stdin)
    assert outcome.code == 1
    assert complaint in outcome.complaint
    assert not stdin or stdin.strip() not in outcome.err
    assert run("users", "list", "--json").out == ""


def test_password_that_is_no_text_is_refused(run: Run, data: Path):
    """Bytes that are no UTF-8 are called wrong input."""
    outcome = run("users", "add", "Ada", "--password-stdin", stdin=b"\xff\xfe" * 10)
    assert outcome.code == 2
    assert "UTF-8" in outcome.complaint


@pytest.mark.parametrize("arguments", [["add", "Ada"], ["set-password", "Ada"]])
def test_without_a_terminal_the_password_must_be_announced(run: Run, ada: Path, arguments: list[str]):
    """What happens to be on standard input is not taken for a password."""
    outcome = run("users", *arguments, stdin=PASSWORD)
    assert outcome.code == 2
    assert "--password-stdin" in outcome.complaint


def test_name_is_taken_once(run: Run, ada: Path):
    """A name that reads the same is refused."""
    outcome = run("users", "add", "ADA", "--password-stdin", stdin=PASSWORD)
    assert outcome.code == 1
    assert "taken" in outcome.complaint


def test_accounts_are_listed(run: Run, ada: Path):
    """The list shows who there is, for people and for programs."""
    run("users", "add", "Grace", "--role", "admin", "--password-stdin", stdin=PASSWORD)
    run("users", "disable", "Grace")
    outcome = run("users", "list")
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[0][:3] == ["name", "role", "state"]
    assert [row[:3] for row in rows[1:]] == [["Ada", "user", "active"], ["Grace", "admin", "disabled"]]
    listed = [json.loads(line) for line in run("users", "list", "--json").out.splitlines()]
    assert [(each["name"], each["role"], each["disabled"]) for each in listed] == [
        ("Ada", "user", False),
        ("Grace", "admin", True),
    ]
    assert listed[0].keys() == {"id", "name", "role", "disabled", "createdAt", "lastLoginAt", "passwordExpiresAt"}
    assert listed[0]["id"] == account(ada)["id"]
    assert "argon2" not in outcome.out


def test_list_is_paged(run: Run, ada: Path):
    """With a limit the list says what to go on after, in a form that a shell takes; without one it has everybody."""
    for name in ("Bob", "Eve O'Brien", "Zoë"):
        assert run("users", "add", name, "--password-stdin", stdin=PASSWORD).code == 0
    seen: list[str] = []
    words: list[str] = []
    while True:
        outcome = run("users", "list", "--json", "--limit", "1", *words)
        seen += [json.loads(line)["name"] for line in outcome.out.splitlines()]
        if "there are more" not in outcome.err:
            break
        words = shlex.split(outcome.err.partition("go on with ")[2])
    assert seen == ["Ada", "Bob", "Eve O'Brien", "Zoë"]
    everybody = run("users", "list", "--json")
    assert [json.loads(line)["name"] for line in everybody.out.splitlines()] == seen
    assert "there are more" not in everybody.err
    assert [line.split()[0] for line in run("users", "list", "--after", "b").out.splitlines()] == [
        "name",
        "Bob",
        "Eve",
        "Zoë",
    ]
    assert "control or invisible" in run("users", "list", "--after", "\x1b").complaint


def test_long_list_is_read_and_shown_in_pages(run: Run, ada: Path, monkeypatch: pytest.MonkeyPatch):
    """However many accounts there are, each is shown once, under one head."""
    monkeypatch.setattr(users, "PAGE_SIZE", 2)
    for name in ("Bob", "Eve", "Mary", "Zoë"):
        assert run("users", "add", name, "--password-stdin", stdin=PASSWORD).code == 0
    names = [line.split()[0] for line in run("users", "list").out.splitlines()]
    assert names == ["name", "Ada", "Bob", "Eve", "Mary", "Zoë"]
    limited = run("users", "list", "--limit", "3")
    assert [line.split()[0] for line in limited.out.splitlines()] == ["name", "Ada", "Bob", "Eve"]
    assert "go on with --after Eve" in limited.err
    assert "there are more" not in run("users", "list", "--limit", "5").err


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("\u0430dmin", "must not mix letters of scripts"),
        ("\u0430\u0441\u0435", "look like Latin ones"),
        ("ad\u2013min", "common punctuation"),
    ],
)
def test_name_that_deceives_is_refused(run: Run, data: Path, name: str, complaint: str):
    """A name that could pass for another is refused with the rule that it breaks."""
    outcome = run("users", "add", name, "--password-stdin", stdin=PASSWORD)
    assert outcome.code == 1
    assert complaint in outcome.complaint


def test_account_with_an_older_name_is_still_administered(run: Run, ada: Path):
    """A name that may not be given any more is still found by commands, so that its account can be changed."""
    with closing(sqlite3.connect(ada / "tokenkeep.db")) as connection, connection:
        connection.execute("UPDATE accounts SET name = '\u0430dmin', name_key = '\u0430dmin'")
    assert run("users", "set-role", "\u0430dmin", "editor").out == "\u0430dmin has role editor\n"
    assert "there is no account" in run("users", "disable", "admin").complaint


@pytest.mark.parametrize("name", ["[bold]Ada", "[/]", "[/x]", ":smile:", "Zoë", "张伟", "a" * 60])
def test_names_are_shown_as_they_are(run: Run, data: Path, name: str):
    """No name is taken for markup of a terminal, and none is cut."""
    assert run("users", "add", name, "--password-stdin", stdin=PASSWORD).code == 0
    assert name in run("users", "list").out
    assert json.loads(run("users", "list", "--json").out)["name"] == name


def test_list_is_whole_on_a_narrow_terminal(run: Run, ada: Path, monkeypatch: pytest.MonkeyPatch):
    """Ids can be copied from the list, however wide the window is."""
    monkeypatch.setenv("COLUMNS", "60")
    assert account(ada)["id"] in run("users", "list").out


def test_nobody_is_listed_as_nothing(run: Run, data: Path):
    """A fresh installation has no account."""
    assert run("users", "list", "--json").out == ""
    assert run("users", "list").code == 0


def test_account_is_disabled_and_enabled(run: Run, ada: Path):
    """Both say what is so now, also when it was so before."""
    for _ in range(2):
        outcome = run("users", "disable", "ada")
        assert (outcome.code, outcome.out) == (0, "Ada is disabled\n")
    assert account(ada)["disabled_at"] is not None
    for _ in range(2):
        outcome = run("users", "enable", "ADA")
        assert (outcome.code, outcome.out) == (0, "Ada is enabled\n")
    assert account(ada)["disabled_at"] is None


def test_role_is_set(run: Run, ada: Path):
    """The new role is told and stored."""
    outcome = run("users", "set-role", "Ada", "editor")
    assert (outcome.code, outcome.out) == (0, "Ada has role editor\n")
    assert (account(ada)["role"], account(ada)["token_version"]) == ("editor", 2)
    refused = run("users", "set-role", "Ada", "No Role")
    assert refused.code == 1
    assert "lower-case" in refused.complaint


def test_password_is_set(run: Run, ada: Path):
    """The new password opens the account and the old one does not."""
    outcome = run("users", "set-password", "Ada", "--password-stdin", stdin="another-good-password\n")
    assert (outcome.code, outcome.out) == (0, "Ada has a new password\n")
    assert opens(ada, "another-good-password")
    assert not opens(ada, PASSWORD)
    for weak in ("short", "password1234567"):
        refused = run("users", "set-password", "Ada", "--password-stdin", stdin=weak)
        assert refused.code == 1
        assert weak not in refused.complaint
    assert opens(ada, "another-good-password")


@pytest.mark.parametrize("command", ["add", "set-password"])
def test_temporary_password_is_told_with_its_end(run: Run, data: Path, command: str):
    """It says until when the password must be replaced, the list tells programs; one that lasts takes its place."""
    if command == "set-password":
        assert run("users", "add", "Ada", "--password-stdin", stdin=PASSWORD).code == 0
    before = time.time_ns() // 1_000_000
    outcome = run("users", command, "Ada", "--temporary", "--password-stdin", stdin="for-one-thing-only-7\n")
    assert outcome.code == 0
    end = account(data)["password_expires_at"]
    assert before + TEMPORARY_FOR <= end <= time.time_ns() // 1_000_000 + TEMPORARY_FOR
    assert outcome.out.endswith(f"; it is temporary and must be replaced by {instant_text(end)} UTC\n")
    [listed] = [json.loads(line) for line in run("users", "list", "--json").out.splitlines()]
    assert listed["passwordExpiresAt"] == end
    assert opens(data, "for-one-thing-only-7")
    assert run("users", "set-password", "Ada", "--password-stdin", stdin=PASSWORD).out == "Ada has a new password\n"
    assert account(data)["password_expires_at"] is None
    assert opens(data, PASSWORD)


@pytest.mark.parametrize("command", ["add", "set-password"])
def test_temporary_password_obeys_the_rules(run: Run, data: Path, command: str):
    """What may not be a password may not be one for a day either."""
    run("users", "add", "Eve", "--password-stdin", stdin=PASSWORD)
    refused = run("users", command, "Eve" if command == "set-password" else "Ada", "--temporary", "--password-stdin")
    assert refused.code == 1
    assert "at least 15 characters" in refused.complaint


@pytest.mark.parametrize("command", ["add", "set-password"])
def test_help_says_how_long_a_temporary_password_lasts(run: Run, folder: Path, command: str):
    """The number of hours is in the help of both commands."""
    assert "The first login must replace the password, within 24 hours." in " ".join(
        run("users", command, "--help").out.split()
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["disable", "Nobody"],
        ["enable", "Nobody"],
        ["set-role", "Nobody", "admin"],
        ["set-password", "Nobody", "--password-stdin"],
        ["delete", "Nobody", "--yes"],
    ],
)
def test_account_that_does_not_exist_is_named(run: Run, data: Path, arguments: list[str]):
    """A change of nobody says whom it did not find, and exits with 1."""
    outcome = run("users", *arguments, stdin=PASSWORD)
    assert outcome.code == 1
    assert "there is no account named 'Nobody'" in outcome.complaint


def test_deleting_asks_first(run: Run, ada: Path):
    """Without `--yes` and without a yes the account stays."""
    outcome = run("users", "delete", "Ada", stdin="n\n")
    assert outcome.code == 1
    assert account(ada)
    assert run("users", "delete", "Ada", stdin="y\n").code == 0
    assert run("users", "list", "--json").out == ""


def test_other_data_directory_may_be_named(run: Run, data: Path, folder: Path):
    """`--data-dir` and the variable choose where to look, and the place is told in full."""
    moved = folder / "elsewhere"
    data.rename(moved)
    outcome = run("users", "add", "Ada", "--password-stdin", "--data-dir", "elsewhere", stdin=PASSWORD)
    assert outcome.code == 0
    assert f"data directory: {moved}" in outcome.err
    assert account(moved)
    assert not data.exists()


def test_events_name_the_operator(run: Run, ada: Path):
    """What is done by command is in the audit log as done by an operator."""
    run("users", "disable", "Ada")
    with closing(sqlite3.connect(ada / "tokenkeep.db")) as connection:
        events = connection.execute("SELECT kind, actor FROM audit_events WHERE kind LIKE 'account%'").fetchall()
    assert sorted(events) == [("account_created", "operator"), ("account_disabled", "operator")]
