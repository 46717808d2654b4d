"""docs/deployment.md names every line that the server can write, and no others; its settings may start."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import granian.server
import pytest
from prometheus_client import generate_latest

import tokenkeep
from tokenkeep.cli.main import _EXPECTED
from tokenkeep.flows.publish_revocations import LONGEST_WAIT
from tokenkeep.observability import Metrics
from tokenkeep.settings import load
from tokenkeep.settings.safety import judge_safety

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs/deployment.md").read_text("utf-8")
PACKAGE: Final = Path(tokenkeep.__file__).parent
ENDINGS: Final = {error.__name__ for error in _EXPECTED} - {"Refusal", "TokenError"}
"""Errors that end `tokenkeep serve` before it listens, besides `StorageUnavailable`."""
ON_THE_SETTINGS_PAGE: Final = ("settings/options.py", "settings/safety.py", "settings/kinds.py")

WRITES: Final = {f"_log.{level}" for level in ("info", "warning", "error", "exception", "critical")}

Text = list[str]
"""A text as the parts of it that are always the same."""


def section(heading: str) -> str:
    """Return what stands under a heading of the page."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {heading}"
    return found[1]


def first_cells(heading: str) -> list[str]:
    """Return the quoted texts in the first column of the section's tables."""
    rows = [line.split(" | ")[0] for line in section(heading).splitlines() if line.startswith("| `")]
    return [quoted for row in rows for quoted in re.findall(r"`([^`]+)`", row)]


def parse_package() -> Iterator[tuple[str, ast.Module]]:
    """Yield path and syntax tree of each module of the package."""
    for file in sorted(PACKAGE.rglob("*.py")):
        yield file.relative_to(PACKAGE).as_posix(), ast.parse(file.read_text("utf-8"))


def fixed_parts(node: ast.expr) -> Text:
    """Return the fixed parts of a literal, an f-string or a `%s` format."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.split("%s")
    if isinstance(node, ast.JoinedStr):
        return [str(part.value) for part in node.values if isinstance(part, ast.Constant)]
    return []


def log_lines() -> Iterator[Text]:
    """Yield what the server logs; the chores of the background fill in the line of their failure.

    What the verifier logs in services elsewhere is on a page of its own.
    """
    for path, tree in parse_package():
        if path.startswith("verifier/"):
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = ast.unparse(node.func)
            if called == "Chore":
                yield [f"{ast.literal_eval(node.args[0])} failed: "]
            elif called in WRITES and path != "flows/background.py":
                yield fixed_parts(node.args[0])
    yield [" works again"]


def endings() -> Iterator[Text]:
    """Yield the lines with which `tokenkeep serve` ends before it listens."""
    for path, tree in parse_package():
        for node in ast.walk(tree):
            if path in ON_THE_SETTINGS_PAGE or not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                continue
            if ast.unparse(node.exc.func) in ENDINGS and node.exc.args:
                yield fixed_parts(node.exc.args[0])


def words(text: str) -> str:
    """Return a text without what stands at its ends for punctuation's sake."""
    return text.strip(" :;,.()")


@pytest.mark.parametrize("line", [line for line in log_lines() if any(map(words, line))], ids="…".join)
def test_every_log_line_is_told(line: Text):
    """Each line that the package logs is in the section Logs."""
    longest = words(max(line, key=lambda part: len(words(part))))
    assert any(longest in cell for cell in first_cells("Logs"))


@pytest.mark.parametrize("line", [line for line in endings() if any(map(words, line))], ids="…".join)
def test_every_refusal_to_start_is_told(line: Text):
    """Each line with which a start is refused is recognisable in the section about it."""
    recognisable = [words(part)[:25] for part in line if len(words(part)) >= 5]
    assert recognisable
    assert any(part in cell for cell in first_cells("When it does not start") for part in recognisable)


@pytest.mark.parametrize("heading", ["Logs", "When it does not start"])
def test_no_line_is_made_up(heading: str):
    """Whatever the page quotes as a line of the server stands in its code, or in that of the HTTP server under it."""
    files = [*PACKAGE.rglob("*.py"), *Path(granian.server.__file__).parent.glob("*.py")]
    texts = [
        text
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.expr)
        for text in fixed_parts(node)
    ]
    for cell in first_cells(heading):
        for part in filter(None, map(words, re.split(r"…|CODE|SETTING|(?<=worker-)1", cell))):
            spoken = words(part.removesuffix(" failed"))
            assert any(spoken in text for text in texts), f"nothing says “{part}”"


def test_every_metric_is_told():
    """Each metric of Tokenkeep is in the section Metrics with its labels, under the name that is scraped."""
    exposition = generate_latest(Metrics()._registry).decode()
    names = re.findall(r"^# TYPE (tokenkeep_\w+) (\w+)$", exposition, re.MULTILINE)
    scraped = {name for name, kind in names if not name.endswith("_created") or kind != "gauge"}
    assert set(re.findall(r"^\| `(tokenkeep_\w+)`", section("Metrics"), re.MULTILINE)) == scraped


@pytest.mark.parametrize("heading", ["Behind a proxy", "https without a proxy"])
def test_the_settings_of_the_page_may_start(heading: str, tmp_path: Path):
    """Each settings file on the page is known and safe as it stands."""
    (text,) = re.findall(r"^```toml\n(.*?)^```$", section(heading), re.MULTILINE | re.DOTALL)
    (tmp_path / "tokenkeep.toml").write_text(text)
    assert tomllib.loads(text)["issuer"].startswith("https://auth.example.com")
    findings = judge_safety(load(config=tmp_path / "tokenkeep.toml").settings)
    assert [finding for finding in findings if not finding.ok or finding.overridden] == []


def test_the_settings_that_the_page_installs_are_those_for_a_proxy():
    """The file that the systemd section writes says the same as the one for a proxy on this machine."""
    (installed,) = re.findall(r"tokenkeep\.toml <<'END'\n(.*?)^END$", section("With systemd"), re.MULTILINE | re.DOTALL)
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", section("Behind a proxy"), re.MULTILINE | re.DOTALL)
    assert tomllib.loads(installed) == tomllib.loads(shown)


def test_what_the_page_installs_is_there():
    """Each file that the page installs or starts with is in the repository."""
    named = set(
        re.findall(
            r"(?:^install .*?|-f |-r |--requirement )((?:deploy|requirements)/[\w.-]+|compose\.yaml)", PAGE, re.M
        )
    )
    assert named >= {"deploy/tokenkeep.service", "deploy/as-tokenkeep", "requirements/server.txt"}
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_proxies_wait_longer_than_readers_of_the_feed():
    """No proxy of ours gives up an answer that the server may keep back for news."""
    limits = {
        name: [int(seconds) for seconds in re.findall(pattern, (ROOT / "deploy" / name).read_text("utf-8"))]
        for name, pattern in {
            "nginx.conf": r"proxy_read_timeout (\d+)s",
            "haproxy.cfg": r"timeout server (\d+)s",
        }.items()
    }
    for name, found in limits.items():
        assert found, name
        assert min(found) >= LONGEST_WAIT + 10, name
