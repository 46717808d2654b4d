"""The command line, run in this process: arguments and standard input in, output and exit code out."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows import prepared
from tests.quick_hashes import quick_hashes
from tokenkeep.cli import main


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What a command that did not succeed says, after showing that it is no traceback."""
        assert self.code != 0, self
        assert "Traceback" not in self.err
        assert self.err.strip()
        return self.err


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def passwords_in_no_time() -> Iterator[None]:
    """Servers in the process of the tests hash passwords in no time; what that costs is tested elsewhere."""
    with quick_hashes():
        yield


@pytest.fixture(scope="session")
def prepared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory after the first start, to be copied."""
    return prepared.prepare(tmp_path_factory.mktemp("prepared") / "data")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def data(folder: Path, prepared_directory: Path) -> Path:
    """A data directory in the current folder, where commands look for it."""
    return prepared.copy(prepared_directory, folder / ".tokenkeep")


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `tokenkeep` with arguments and standard input, as the installed command does."""

    def run_command(*arguments: str, stdin: str | bytes = b"") -> Outcome:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "argv", ["tokenkeep", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        written = capsys.readouterr()
        code = end.value.code
        return Outcome(code if isinstance(code, int) else 0 if code is None else 1, written.out, written.err)

    return run_command
