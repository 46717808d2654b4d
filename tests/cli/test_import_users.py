"""`tokenkeep users import`: a file is checked whole, told about by line, and imported with the hashes in it."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.cli.conftest import Run
from tokenkeep.cli import import_users as command
from tokenkeep.flows import import_accounts

PASSWORD = "correct-horse-battery"
BCRYPT = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$cqEcKKNc1Z4nkKzqjTtfw6V8xNXvSGUQ9Ggw7Wb0I0k"


def write(folder: Path, *lines: dict[str, Any] | str | bytes) -> str:
    """Write a file of lines, objects as JSON, and return its name."""
    raw = [
        line if isinstance(line, bytes) else line.encode() if isinstance(line, str) else json.dumps(line).encode()
        for line in lines
    ]
    (folder / "accounts.jsonl").write_bytes(b"\n".join(raw) + b"\n")
    return "accounts.jsonl"


def stored(data: Path, columns: str = "name") -> list[Any]:
    """Return columns of the stored accounts in the order of their names."""
    with closing(sqlite3.connect(data / "tokenkeep.db")) as connection:
        rows = connection.execute(f"SELECT {columns} FROM accounts ORDER BY name").fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


@pytest.fixture
def three(folder: Path, data: Path) -> str:
    """A good file."""
    return write(
        folder,
        {"name": "Ada", "role": "admin", "password_hash": BCRYPT},
        "",
        {"name": "Grace", "password_hash": ARGON2, "disabled": True},
        '  {"name": "Alan", "password_hash": null}  \r',
    )


def test_accounts_are_imported(run: Run, data: Path, three: str):
    """What was imported is told by kinds, no hash is printed, and each account has an event that names the operator."""
    outcome = run("users", "import", three)
    assert outcome.code == 0
    told = "imported 3 accounts: 1 argon2id m=65536,t=3,p=4; 1 bcrypt 04; 1 without a password; 1 disabled\n"
    assert outcome.out == told
    assert "$2b$" not in outcome.out + outcome.err
    assert stored(data, "name, role, password_hash, disabled_at IS NULL") == [
        ("Ada", "admin", BCRYPT, 1),
        ("Alan", "user", None, 1),
        ("Grace", "user", ARGON2, 0),
    ]
    with closing(sqlite3.connect(data / "tokenkeep.db")) as connection:
        events = connection.execute("SELECT kind, actor FROM audit_events WHERE kind LIKE 'account%'").fetchall()
    assert events == [("account_imported", "operator")] * 3
    assert run("users", "list").code == 0


def test_dry_run_writes_nothing(run: Run, data: Path, three: str):
    """`--dry-run` tells the same and leaves the database alone."""
    outcome = run("users", "import", three, "--dry-run")
    assert (outcome.code, outcome.out[:23]) == (0, "would import 3 accounts")
    assert stored(data) == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("not JSON", "malformed JSON"),
        ('["Ada"]', "malformed JSON"),
        ('{"name": "Ada", "name": "Grace"}', "a name occurs twice"),
        (b'{"name": "\xff"}', "malformed JSON"),
        (b'\xef\xbb\xbf{"name": "Ada"}', "malformed JSON"),
        ('{"name": "A\\ud800"}', "malformed JSON"),
        ({}, "missing required field `name`"),
        ({"name": 7}, "`$.name`"),
        ({"name": "Ada", "role": None}, "`$.role`"),
        ({"name": "Ada", "disabled": 1}, "`$.disabled`"),
        ({"name": "Ada", "password": "correct-horse-battery"}, "unknown field `password`"),
        ({"name": "Ada", "password_hash": "correct-horse-battery"}, "password_hash: The hash must be"),
        ({"name": "Ada", "password_hash": BCRYPT.replace("$04$", "$31$")}, "password_hash: The hash costs too much"),
        ({"name": "Ada\u200b"}, "name: The name must not contain control or invisible"),
        ({"name": "Ada", "role": "Admin"}, "role: The role must be"),
        ({"name": "grace"}, "name: The name reads the same as that of line 1"),
        ({"name": "Ada", "role": "x" * 20_000}, "longer than 16384 bytes"),
    ],
)
def test_one_wrong_line_and_nothing_is_imported(
    run: Run, data: Path, folder: Path, line: dict[str, Any] | str | bytes, complaint: str
):
    """Whatever is wrong with a line is told with its number and rule, quotes no secret, and nothing is written."""
    name = write(folder, {"name": "Grace"}, line, {"name": "Alan"})
    outcome = run("users", "import", name)
    assert outcome.code == 1
    assert "nothing was imported" in outcome.complaint
    [told] = [each for each in outcome.err.splitlines() if each.startswith("line ")]
    assert told.startswith("line 2: ")
    assert complaint in told
    assert "correct-horse" not in outcome.err
    assert stored(data) == []


def test_every_wrong_line_is_told_up_to_twenty(run: Run, data: Path, folder: Path):
    """A file of another form is refused in a page of output."""
    outcome = run("users", "import", write(folder, *["name,role"] * 1_000))
    assert outcome.code == 1
    assert outcome.err.count("line ") == 20
    assert "and 980 more" in outcome.err


def test_existing_names_are_refused_or_passed_over(run: Run, data: Path, three: str):
    """Importing twice changes nothing: the second time each line is a complaint, or passed over on request."""
    assert run("users", "import", three).code == 0
    before = stored(data, "id, name, password_hash")
    again = run("users", "import", three)
    assert again.code == 1
    assert again.err.count("Name already taken") == 3
    skipped = run("users", "import", three, "--skip-existing")
    assert (skipped.code, skipped.out) == (0, "imported 0 accounts: 3 others existed already\n")
    assert stored(data, "id, name, password_hash") == before


def test_interrupted_import_says_how_far_it_came(run: Run, data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """When somebody takes a name in the middle, it is said what is stored and how to go on, and that works."""
    monkeypatch.setattr(import_accounts, "BATCH", 2)
    name = write(folder, *({"name": each} for each in ("One", "Two", "Three", "Four", "Five")))
    survey = import_accounts.ImportAccounts.survey

    async def then_taken(importer: Any, *arguments: Any, **options: Any) -> Any:
        found = await survey(importer, *arguments, **options)
        with closing(sqlite3.connect(data / "tokenkeep.db")) as connection:
            connection.execute(
                "INSERT INTO accounts (id, name, name_key, role, token_version, created_at)"
                " VALUES ('x', 'Four', 'four', 'user', 1, 0)"
            )
            connection.commit()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(import_accounts.ImportAccounts, "survey", then_taken)
        outcome = run("users", "import", name)
    assert outcome.code == 1
    assert "line 4: the name was taken" in outcome.complaint
    assert "everything up to line 2 is stored and nothing after it: run again with --skip-existing" in outcome.err
    assert stored(data) == ["Four", "One", "Two"]
    assert run("users", "import", name, "--skip-existing").code == 0
    assert stored(data) == ["Five", "Four", "One", "Three", "Two"]


def test_progress_is_told_on_long_files(run: Run, data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Now and then both passes say how far they have come, on standard error."""
    monkeypatch.setattr(import_accounts, "BATCH", 10)
    monkeypatch.setattr(command, "REPORT_EVERY", 20)
    outcome = run("users", "import", write(folder, *({"name": f"name-{number}"} for number in range(50))))
    assert outcome.out == "imported 50 accounts: 50 without a password\n"
    told = [line for line in outcome.err.splitlines() if " up to line " in line]
    assert told == [f"{verb} up to line {line}" for verb in ("checked", "stored") for line in (20, 40)]


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_file_must_be_one(run: Run, data: Path, name: str):
    """A file that is not there, or is no file, is wrong usage."""
    assert run("users", "import", name).code == 2


def test_pipe_is_refused(run: Run, data: Path, folder: Path):
    """What cannot be read twice is refused before it is read."""
    os.mkfifo(folder / "pipe")
    outcome = run("users", "import", "pipe")
    assert outcome.code == 2
    assert "regular file" in outcome.complaint


def test_empty_file_is_no_trouble(run: Run, data: Path, folder: Path):
    """Nothing to import is imported."""
    (folder / "empty").write_bytes(b"")
    assert run("users", "import", "empty").out == "imported 0 accounts\n"


def test_example_of_the_page_is_imported(run: Run, data: Path, folder: Path):
    """The lines that docs/migrating.md shows are taken as they stand there."""
    page = Path(__file__).resolve().parents[2] / "docs" / "migrating.md"
    lines = [line for line in page.read_text("utf-8").splitlines() if line.startswith("{")]
    assert run("users", "import", write(folder, *lines)).code == 0
    assert stored(data) == ["Charles", "Grace", "ada@example.com"]
