"""An example as a child process, served as its first lines say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Final, Self

import httpx2

from tests.ports import free_port
from tests.system.server_process import LONGEST_WAIT, clean_environment, wait_until

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"


class Served:
    """The application of an example on a free port, in an environment of its own."""

    def __init__(self, directory: Path, port: int, command: list[str], environ: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._directory = directory
        self._environ = clean_environment() | {"PYTHONPATH": str(EXAMPLES), **environ}
        self._log = directory / f"example-{port}.log"
        self._output: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def by_granian(cls, directory: Path, module: str, **environ: str) -> Self:
        """Return an example that granian serves, with WebSockets."""
        port = free_port()
        return cls(directory, port, ["granian", "--interface", "asgi", "--port", str(port), f"{module}:app"], environ)

    @classmethod
    def by_uvicorn(cls, directory: Path, port: int, module: str, **environ: str) -> Self:
        """Return an example that uvicorn serves."""
        return cls(directory, port, ["uvicorn", "--port", str(port), f"{module}:app"], environ)

    @property
    def log(self) -> str:
        """What the example has written."""
        return self._log.read_text("utf-8", "replace")

    def __enter__(self) -> Self:
        self._output = self._log.open("ab")
        self._process = subprocess.Popen(
            [str(Path(sys.executable).with_name(self._command[0])), *self._command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd=self._directory,
            env=self._environ,
        )
        try:
            wait_until(self._listens, "the example listens")
        except BaseException:
            self.__exit__()
            print(self.log)
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        assert self._process is not None
        assert self._output is not None
        self._process.terminate()
        try:
            self._process.wait(LONGEST_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(LONGEST_WAIT)
        self._output.close()

    def request(self, method: str, path: str, *, token: str | None = None, **options: Any) -> httpx2.Response:
        """Send one request, with a token if one is given."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=self.url, timeout=LONGEST_WAIT, trust_env=False, verify=False) as client:
            return client.request(method, path, headers={**headers, **options.pop("headers", {})}, **options)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the example ended:\n{self.log}"
        try:
            self.request("GET", "/openapi.json")
        except httpx2.TransportError:
            return False
        return True
