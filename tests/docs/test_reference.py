"""The generated pages are in step with the code, complete, and would fall behind noticeably."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from tokenkeep.api.problems import CODES, status_of
from tokenkeep.domain.errors import Refusal
from tokenkeep.jose.errors import TokenError, UsageError
from tokenkeep.settings import Settings, safety
from tokenkeep.settings.finding import Finding
from tokenkeep.settings.kinds import Kind
from tokenkeep.settings.options import OPTIONS, Option
from tokenkeep.settings.safety import judge_safety
from tokenkeep.verifier.challenge import Refused
from tools import write_reference
from tools.write_reference import Incomplete, errors_page, main, settings_page

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"


@pytest.fixture(scope="module")
def settings_text() -> str:
    """docs/settings.md as it is."""
    return (DOCS / "settings.md").read_text("utf-8")


@pytest.fixture(scope="module")
def errors_text() -> str:
    """docs/errors.md as it is."""
    return (DOCS / "errors.md").read_text("utf-8")


def test_the_pages_are_in_step_with_the_code(capsys: pytest.CaptureFixture[str]):
    """Both pages are what the tool would write now."""
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_a_page_that_is_behind_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A changed or missing page fails the check and is named, and writing mends it."""
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "settings.md").write_text("# Settings\n")
    (tmp_path / "errors.md").unlink()
    assert main(["--check"], tmp_path) == 1
    assert "docs/settings.md is behind the code" in (told := capsys.readouterr().err)
    assert "docs/errors.md is behind the code" in told
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


def test_the_tool_runs_as_its_first_lines_say():
    """`python tools/write_reference.py --check` ends with 0 when all is well, and with 2 when called wrongly."""
    command = [sys.executable, "tools/write_reference.py"]
    assert subprocess.run([*command, "--check"], cwd=ROOT, timeout=60, check=False).returncode == 0
    wrong = subprocess.run([*command, "--chekc"], cwd=ROOT, timeout=60, check=False, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "python tools/write_reference.py --check" in wrong.stderr


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.name)
def test_every_setting_is_told(settings_text: str, option: Option):
    """The row of a setting has its kind, default, variable, help and flag; that of a secret says why it has none."""
    (row,) = [line for line in settings_text.splitlines() if line.startswith(f"| `{option.name}` |")]
    assert f"`{option.variable}`" in row
    assert f"`{option.show(option.default)}`" in row
    assert option.help in row
    assert option.kind.word in row.replace("\\|", "|")
    if option.kind.secret:
        assert "not as a flag: secret" in row
        assert f"`{option.variable}_FILE`" in row
        assert option.flag not in row
    else:
        assert f"`{option.flag}`" in row


def test_a_new_setting_would_be_noticed():
    """A setting that the page does not have makes it another page."""
    added = Option("shoe_size", Kind.INTEGER, 42, "Size of the shoes.")
    assert "`TOKENKEEP_SHOE_SIZE`" in settings_page([*OPTIONS.values(), added])
    assert settings_page([*OPTIONS.values(), added]) != settings_page()


def test_bounds_are_told(settings_text: str):
    """What a value must be stands in its row, in the words in which a wrong one is refused."""
    for name, bounds in (
        ("access_ttl", "It must be between 1s and 1d."),
        ("port", "It must be between 1 and 65535."),
        ("issuer", "must not end with a slash"),
    ):
        (row,) = [line for line in settings_text.splitlines() if line.startswith(f"| `{name}` |")]
        assert bounds in row


@pytest.mark.parametrize("rule", sorted({finding.rule for finding in judge_safety(Settings())}))
def test_every_safety_rule_is_told(settings_text: str, rule: str):
    """Each rule has a row with what is refused, its fix, and its override."""
    rows = [line.split(" | ") for line in settings_text.splitlines() if line.startswith(f"| {rule} | ")]
    assert rows
    for row in rows:
        assert len(row) == 4
        assert all(cell.strip("| ") for cell in row)


@pytest.mark.parametrize("rule", list(write_reference.UNSAFE))
def test_the_override_that_a_rule_names_lets_it_pass(settings_text: str, rule: str):
    """Where the page names an override, it works; where it names none, none does."""
    overrides = [name for name, option in OPTIONS.items() if option.help.startswith("UNSAFE")]
    for example in write_reference.UNSAFE[rule]:
        (refused,) = [f for f in judge_safety(Settings(**example)) if f.rule == rule and not f.ok]
        (row,) = [line for line in settings_text.splitlines() if line.startswith(f"| {rule} | {refused.found} |")]
        passed = {
            name
            for name in overrides
            if not [f for f in judge_safety(Settings(**example, **{name: True})) if f.rule == rule and not f.ok]
        }
        assert row.endswith(f"| `{passed.pop()}` |" if passed else "| none |")
        assert not passed


def test_a_new_safety_rule_would_be_noticed(monkeypatch: pytest.MonkeyPatch):
    """A rule without an example of what breaks it fails the tool."""

    def rule(settings: Settings) -> Iterator[Finding]:
        yield Finding("moon-phase", ok=True, found="the moon is full")

    monkeypatch.setattr(safety, "_RULES", (*safety._RULES, rule))
    with pytest.raises(Incomplete, match="safety rule moon-phase"):
        settings_page()


def test_an_example_that_breaks_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch):
    """A rule that has become laxer than its example fails the tool."""
    monkeypatch.setitem(write_reference.UNSAFE, "access-life", ({"access_ttl": timedelta(minutes=5)},))
    with pytest.raises(Incomplete, match="does not break the rule access-life"):
        settings_page()


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_is_told(errors_text: str, code: str):
    """The section of a code has its status, a cause and a fix."""
    section = errors_text.partition(f"\n## `{code}`\n")[2].partition("\n## ")[0]
    assert f"**{status_of(code)}** “" in section
    assert len(section.partition("- Cause: ")[2].partition("\n")[0]) > 10
    assert len(section.partition("- Fix: ")[2].partition("\n")[0]) > 10


def test_every_refusal_has_its_code_on_the_page(errors_text: str):
    """Whatever a flow or the verifier can refuse is on the page under its code."""
    codes = {error.code for root in (Refusal, Refused) for error in _leaves(root)}
    assert [code for code in sorted(codes) if f"\n## `{code}`\n" not in errors_text] == []


def test_a_new_error_code_would_be_noticed():
    """A code without cause and fix fails the tool, and so does a cause and fix without its code."""
    with pytest.raises(Incomplete, match="error code teapot"):
        errors_page([*CODES, "teapot"])
    with pytest.raises(Incomplete, match="for no error code: busy"):
        errors_page([code for code in CODES if code != "busy"])


def test_every_code_of_the_engine_is_told(errors_text: str):
    """Each error that the engine raises has a row; those that only stand for others have none."""
    for error in [*_below(TokenError), *_below(UsageError)]:
        assert (f"\n| `{error.code}` |" in errors_text) == (error.__name__ not in write_reference.NEVER_RAISED)


def test_an_unexplained_code_of_the_engine_would_be_noticed(monkeypatch: pytest.MonkeyPatch):
    """A code of the engine that the command line does not explain fails the tool."""
    monkeypatch.setattr(write_reference, "explain", lambda code: "" if code == "token_too_old" else "A cause.")
    with pytest.raises(Incomplete, match="does not explain token_too_old"):
        errors_page()


def _below(root: type) -> Iterator[type]:
    for error in root.__subclasses__():
        if error.__module__ == root.__module__:
            yield error
            yield from _below(error)


def _leaves(root: type) -> list[type]:
    return [error for error in _below(root) if not list(_below(error))]
