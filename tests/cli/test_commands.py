"""All commands: their help, their exit codes, and that a mistake never ends in a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.cli.conftest import Run
from tokenkeep.cli.main import commands
from tokenkeep.domain.history import MarkUnavailable
from tokenkeep.policies import describe_api
from tokenkeep.settings import Settings
from tokenkeep.settings.options import OPTIONS, Option
from tokenkeep.storage.high_water_mark import FileMark


def every_command(
    command: click.Command = commands, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command and group with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from every_command(each, (*path, name))


COMMANDS = dict(every_command(commands))
LEAVES = [path for path, command in COMMANDS.items() if not isinstance(command, click.Group)]
NEEDS_DATA = [
    ("users", "add", "Ada", "--password-stdin"),
    ("users", "list"),
    ("users", "disable", "Ada"),
    ("users", "enable", "Ada"),
    ("users", "set-role", "Ada", "admin"),
    ("users", "set-password", "Ada", "--password-stdin"),
    ("users", "delete", "Ada", "--yes"),
    ("migrate",),
    ("recover", "--yes"),
    ("purge",),
    ("sessions", "list"),
    ("sessions", "list", "Ada"),
    ("sessions", "revoke", "Ada"),
    ("sessions", "revoke", "--session", "A" * 22),
    ("sessions", "revoke", "--all", "--yes"),
    ("token", "revoke"),
    ("audit", "tail"),
    ("audit", "search"),
]


def test_commands_of_the_design_are_there():
    """Each command that the documents name exists."""
    words = {" ".join(path) for path in LEAVES}
    assert words >= {
        "serve",
        "users add",
        "users list",
        "users disable",
        "users enable",
        "users set-role",
        "users set-password",
        "users delete",
        "sessions list",
        "sessions revoke",
        "token inspect",
        "token verify",
        "token revoke",
        "secret generate",
        "settings",
        "doctor",
        "migrate",
        "recover",
        "purge",
        "audit tail",
        "audit search",
        "openapi",
    }


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(run: Run, path: tuple[str, ...], flag: str):
    """Help says in a sentence what a command does, explains every option, and touches nothing."""
    outcome = run(*path, flag)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("Usage: tokenkeep")
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.opts[0] in outcome.out
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.name)
def test_serve_explains_every_setting(run: Run, option: Option):
    """The help of `serve` has each setting with its default; a secret, which is no flag, is left out."""
    told = " ".join(run("serve", "--help").out.split())
    default = f"[default: {option.show(option.default)}]"
    if option.kind.secret:
        assert f"{option.flag} " not in told
    else:
        assert f"{option.flag} {option.kind.word.upper()} {option.help} {default}" in told


def test_version_is_told(run: Run):
    """`--version` prints it."""
    outcome = run("--version")
    assert outcome.code == 0
    assert "tokenkeep" in outcome.out
    assert any(character.isdigit() for character in outcome.out)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Usage"),
        (["users"], "Usage"),
        (["user"], "No such command"),
        (["users", "remove", "Ada"], "No such command"),
        (["users", "add"], "Missing argument"),
        (["users", "set-role", "Ada"], "Missing argument"),
        (["users", "add", "Ada", "--password", "correct-horse-battery"], "No such option"),
        (["serve", "--prot", "9000"], "No such option"),
        (["serve", "--secret", "x"], "No such option"),
        (["serve", "--database-url", "x"], "No such option"),
        (["migrate", "extra"], "unexpected extra argument"),
        (["settings", "--config"], "requires an argument"),
        (["sessions", "revoke"], "give exactly one of"),
        (["sessions", "revoke", "Ada", "--all"], "give exactly one of"),
        (["sessions", "revoke", "Ada", "--session", "A" * 22], "give exactly one of"),
        (["sessions", "revoke", "--session", "A" * 22, "--all"], "give exactly one of"),
        (["sessions", "list", "--limit", "0"], "--limit"),
        (["users", "list", "--limit", "0"], "--limit"),
        (["token", "revoke", "eyJ.x.y"], "unexpected extra argument"),
    ],
)
def test_wrong_call_exits_with_2(run: Run, arguments: list[str], complaint: str):
    """A command that is called wrongly says how to call it."""
    outcome = run(*arguments)
    assert outcome.code == 2
    assert complaint in outcome.complaint


SECRETS = {"password", "secret", "previous_secrets", "database_url", "redis_url", "ops_token", "feed_token"}


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_no_command_takes_a_secret_as_an_argument(path: tuple[str, ...]):
    """Arguments are seen by others on the machine: no option or argument holds a password or a secret."""
    for parameter in COMMANDS[path].params:
        assert parameter.name not in {
            "password",
            "secret",
            "previous_secrets",
            "database_url",
            "ops_token",
            "feed_token",
        }


@pytest.mark.parametrize("arguments", NEEDS_DATA, ids=" ".join)
def test_without_a_data_directory_commands_say_what_to_do(run: Run, folder: Path, arguments: tuple[str, ...]):
    """Beside no server a command names the directory it looked for and the way to get one, and makes nothing."""
    outcome = run(*arguments, stdin="correct-horse-battery\n")
    assert outcome.code == 1
    assert str(folder / ".tokenkeep") in outcome.complaint
    assert "tokenkeep serve" in outcome.complaint
    assert "--data-dir" in outcome.complaint
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("arguments", NEEDS_DATA, ids=" ".join)
def test_commands_name_the_data_directory(run: Run, data: Path, arguments: tuple[str, ...]):
    """Every command that uses the data directory prints where it is."""
    outcome = run(*arguments, stdin="correct-horse-battery\n")
    assert str(data) in outcome.out + outcome.err


def test_a_data_directory_beside_another_database_is_named_too(
    run: Run, data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """With PostgreSQL the directory still holds the high-water mark; where there is none, none is named."""
    monkeypatch.setenv("TOKENKEEP_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("TOKENKEEP_SECRET", "ZkT9xq3vR7mL0pWc8sYb2NdHf5JgUe1A")
    outcome = run("users", "list")
    assert outcome.code == 1
    assert f"data directory: {data}" in outcome.err
    outcome = run("users", "list", "--data-dir", "nowhere")
    assert outcome.code == 1
    assert "data directory" not in outcome.err
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("TOKENKEEP_ISSUR", "x", "unknown setting issur (TOKENKEEP_ISSUR); did you mean issuer?"),
        ("TOKENKEEP_PORT", "http", "port (TOKENKEEP_PORT): expected a whole number"),
        ("TOKENKEEP_CONFIG", "missing.toml", "missing.toml"),
        ("TOKENKEEP_ISSUER", "http://auth.example.com", "clear text"),
        ("TOKENKEEP_SECRET", "hunter2", "secret is shorter than 32 bytes"),
    ],
)
def test_bad_settings_end_in_one_line(  # noqa: PLR0917  (the columns of a table)
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
):
    """A setting that is wrong is named, the exit code is 1, and no secret is shown."""
    monkeypatch.setenv(variable, value)
    outcome = run("users", "list")
    assert outcome.code == 1
    assert complaint in outcome.complaint
    assert outcome.err.splitlines()[-1].startswith("tokenkeep: ")
    assert "hunter2" not in outcome.err


def test_wrong_server_secret_is_told(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch):
    """A secret that does not open the stored keys is said to be the wrong one, where keys are needed."""
    monkeypatch.setenv("TOKENKEEP_SECRET", "ZkT9xq3vR7mL0pWc8sYb2NdHf5JgUe1A")
    outcome = run("doctor")
    assert outcome.code == 1
    assert "no configured server secret" in outcome.out + outcome.err


def test_lost_server_secret_is_told(run: Run, data: Path):
    """A data directory without its secret is not given a new one."""
    (data / "secret").unlink()
    outcome = run("users", "list")
    assert outcome.code == 1
    assert "TOKENKEEP_SECRET" in outcome.complaint
    assert not (data / "secret").exists()


def test_broken_database_is_told(run: Run, data: Path):
    """A file that is no database ends in one line."""
    for file in data.glob("tokenkeep.db*"):
        file.unlink()
    (data / "tokenkeep.db").write_bytes(b"this is not a database" * 100)
    outcome = run("users", "list")
    assert outcome.code == 1
    assert "database" in outcome.complaint
    assert len(outcome.err.splitlines()) <= 2


def test_database_without_a_schema_is_told(run: Run, data: Path):
    """A database that this version has not made ready yet names the command that does."""
    for file in data.glob("tokenkeep.db*"):
        file.unlink()
    (data / "tokenkeep.db").touch(0o600)
    outcome = run("users", "list")
    assert outcome.code == 1
    assert "tokenkeep migrate" in outcome.complaint
    assert run("migrate").code == 0
    assert run("users", "list").code == 0


def test_what_is_done_is_not_called_undone(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch):
    """When only the high-water mark cannot be moved, the command is done: it says so, and ends with 0."""

    def refuse(*_: object) -> None:
        raise MarkUnavailable("there is no room")

    assert run("users", "add", "Ada", "--password-stdin", stdin="correct-horse-battery").code == 0
    monkeypatch.setattr(FileMark, "write", refuse)
    outcome = run("users", "disable", "Ada")
    assert outcome.code == 0
    assert "done, but the high-water mark was not moved: there is no room" in outcome.err
    assert "disabled" in run("users", "list").out


def test_migrating_twice_changes_nothing(run: Run, data: Path):
    """A database that is up to date is said to be."""
    outcome = run("migrate")
    assert (outcome.code, outcome.out) == (0, "the database is up to date\n")


def test_openapi_prints_the_description(run: Run, monkeypatch: pytest.MonkeyPatch):
    """The document is JSON on standard output, made with the settings in force, and needs no server."""
    outcome = run("openapi")
    assert outcome.code == 0
    assert json.loads(outcome.out) == describe_api(Settings())
    monkeypatch.setenv("TOKENKEEP_ISSUER", "https://auth.example.com")
    assert json.loads(run("openapi").out)["servers"] == [{"url": "https://auth.example.com"}]
    assert list(Path.cwd().iterdir()) == []


def test_secrets_are_long_and_never_the_same(run: Run):
    """Each secret is one line of 43 characters from 32 random bytes."""
    made = [run("secret", "generate").out for _ in range(20)]
    assert all(len(text.strip()) == 43 and text.endswith("\n") and text.strip().isascii() for text in made)
    assert len(set(made)) == 20


def test_recovering_asks_first(run: Run, data: Path):
    """Without `--yes` and without a yes nothing is ended."""
    outcome = run("recover", stdin="n\n")
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    assert run("recover", stdin="y\n").code == 0
    assert "replaced" in run("recover", "--yes").out


def installed(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command as a process of its own."""
    command = Path(sys.executable).with_name("tokenkeep")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOKENKEEP_")}
    return subprocess.run(
        [command, *arguments],
        env={**kept, **environ},
        capture_output=True,
        text=True,
        input="",
        timeout=60,
        check=False,
    )


def test_installed_command_ends_in_one_line(folder: Path):
    """As an installed command too: an exit code, one line, no traceback."""
    ended = installed("users", "list")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Traceback" not in ended.stderr
    assert "tokenkeep: no data directory at" in ended.stderr


def test_serving_refuses_unsafe_settings(folder: Path):
    """`serve` with settings that would be a breach does not start, and makes nothing."""
    ended = installed("serve", "--host", "0.0.0.0")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "0.0.0.0" in ended.stderr
    assert list(folder.iterdir()) == []
