"""What a command says: its exit code and its lines."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.forked_process import ForkedProcess, Surroundings
from tests.system.server_process import LONGEST_WAIT, ServerProcess


@dataclass(frozen=True)
class Said:
    """The exit code of a command and the lines it wrote, without the one that names the data directory."""

    code: int
    lines: list[str]

    def check_refusal(self, *patterns: str) -> None:
        """Hold it to a refusal: exit code 1, one or two lines, no traceback, and each pattern somewhere in them."""
        assert self.code == 1, self
        assert 1 <= len(self.lines) <= 2, self
        assert self.lines[0].startswith("tokenkeep: "), self
        self._check_words(*patterns)

    def check_finding(self, *patterns: str) -> None:
        """Hold the output of `doctor` to a broken rule with its fix, in whose lines each pattern is somewhere."""
        assert self.code == 1, self
        broken = [at for at, line in enumerate(self.lines) if line.startswith("BROKEN")]
        assert broken, self
        findings = Said(self.code, [line for at in broken for line in self.lines[at : at + 2]])
        assert all(line.strip().startswith("fix: ") for line in findings.lines[1::2]), self
        findings._check_words(*patterns)

    def _check_words(self, *patterns: str) -> None:
        text = "\n".join(self.lines)
        assert "Traceback" not in text, text
        for pattern in patterns:
            assert re.search(pattern, text, re.IGNORECASE), f"{pattern!r} is not in: {text}"


@dataclass(frozen=True)
class Command:
    """A command under way."""

    process: ForkedProcess
    output: Path

    def kill(self) -> None:
        """Kill it with all that it has started; nothing happens when it has ended, since its id may be another's."""
        with suppress(ProcessLookupError):  # it ends just now, or has only just been started
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self) -> Said:
        """Return what it said, once it has ended; the exit code is negative when it was killed."""
        code = self.process.wait(LONGEST_WAIT)
        lines = [line for line in self.output.read_text().splitlines() if line.strip()]
        return Said(code, [line for line in lines if not line.startswith("data directory: ")])


@contextmanager
def started(site: ServerProcess, *words: str, typed: str = "", **around: Any) -> Iterator[Command]:
    """Start a command on the data of a server; it is dead in the end.

    Args:
        typed: its standard input.
        around: `powerless` and `now`, as in `Surroundings`.
    """
    with tempfile.NamedTemporaryFile("w+") as keyboard, tempfile.NamedTemporaryFile("w+") as output:
        keyboard.write(typed)
        keyboard.flush()
        where = Surroundings(site.directory, dict(site._environ), output.name, keyboard.name, **around)
        command = Command(ForkedProcess([*words, "--data-dir", str(site.data)], where), Path(output.name))
        try:
            yield command
        finally:
            command.kill()
            command.process.wait()


def say(site: ServerProcess, *words: str, **around: Any) -> Said:
    """Run a command to its end, and return what it said; `around` is as for `started`."""
    with started(site, *words, **around) as command:
        return command.wait()


def serve(site: ServerProcess, **around: Any) -> Said:
    """Start a server that must not start, and return what it said; `around` is as for `started`."""
    return say(site, "serve", *site.arguments, **around)


def add_account(site: ServerProcess, name: str, password: str) -> None:
    """Add an account with the command that people use."""
    said = say(site, "users", "add", name, "--password-stdin", typed=password)
    assert said.code == 0, said
