"""A server that is a copy of a process which has loaded its libraries."""

from __future__ import annotations

from tests.system.forked_process import ForkedProcess, Surroundings
from tests.system.server_process import ServerProcess


class ForkedServer(ServerProcess):
    """A server process that starts quickly, and may be `impatient`."""

    impatient = False

    def launch(self) -> None:
        """Start the process and return at once."""
        assert self._process is None
        around = Surroundings(self.directory, dict(self._environ), str(self._log), impatient=self.impatient)
        self._process = ForkedProcess(["serve", *self.arguments], around)  # type: ignore[assignment]
