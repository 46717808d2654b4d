"""Log lines: structured, one for a request, escaped, with an id that comes in and goes out."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.attacks.http.attacker import JSON, Attacker, Header
from tests.attacks.http.conftest import Log
from tests.system.server_process import ServerProcess, wait_until
from tokenkeep.observability import LONGEST_TEXT, set_up_logging

ID = ("X-Request-ID", "a1b2c3d4e5f6")
REFUSED: dict[str, tuple[str, str, list[Header], bytes, str]] = {
    "login with a wrong password": ("POST", "/login", [JSON], b'{"name":"Ada","password":"x"}', "invalid_credentials"),
    "login of nobody": ("POST", "/login", [JSON], b'{"name":"Nobody","password":"x"}', "invalid_credentials"),
    "broken body": ("POST", "/login", [JSON], b"{", "malformed_request"),
    "wrong field": ("POST", "/login", [JSON], b'{"name":1}', "invalid_field"),
    "form": ("POST", "/login", [], b"name=Ada", "unsupported_media_type"),
    "large body": ("POST", "/login", [JSON], b" " * 20_000, "body_too_large"),
    "no token": ("GET", "/me", [], b"", "missing_token"),
    "bad token": ("GET", "/me", [("Authorization", "Bearer x")], b"", "invalid_token"),
    "forged refresh token": ("POST", "/refresh", [("Cookie", "refreshToken=x")], b"", "invalid_refresh_token"),
    "no refresh token": ("POST", "/refresh", [], b"", "no_valid_refresh_token"),
    "another site": ("POST", "/login", [("Origin", "https://evil.example")], b"", "cross_site"),
    "unknown path": ("GET", "/nothing", [], b"", "not_found"),
    "hostile path": ("GET", "/%1b[2J%0d%0a%e2%80%ae%07", [], b"", "not_found"),
    "wrong method": ("PUT", "/me", [], b"", "method_not_allowed"),
    "large headers": ("GET", "/me", [("X", "x" * 20_000)], b"", "headers_too_large"),
    "two hosts": ("GET", "/me", [("Host", "evil.example")], b"", "malformed_request"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_refused_request_is_one_line(attacker: Attacker, log: Log, what: str) -> None:
    """At the lowest level too, a request that is refused is one JSON object: who, what, why, when, under which id."""
    method, path, headers, body, code = REFUSED[what]

    reply = await attacker.ask(method, path, headers=[*headers, ID], body=body, declared=False)

    assert reply.json()["code"] == code
    assert reply.header("x-request-id") == ID[1]
    [line] = log()
    assert line.keys() == {
        *("timestamp", "level", "logger", "event", "request_id"),
        *("method", "path", "status", "ms", "address", "refused"),
    }
    assert (line["event"], line["level"], line["logger"]) == ("request", "info", "tokenkeep.requests")
    assert (line["method"], line["status"], line["address"]) == (method, reply.status, "127.0.0.1")
    assert line["refused"] == code or line["refused"].startswith(f"{code}: ")
    assert line["request_id"] == ID[1]
    assert line["timestamp"].endswith("Z")
    assert abs(datetime.fromisoformat(line["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert all(text.isprintable() and len(text) <= LONGEST_TEXT + 1 for text in line.values() if isinstance(text, str))


async def test_an_answered_request_is_one_line_without_a_reason(attacker: Attacker, log: Log) -> None:
    """A success is one line too, and has nothing to explain."""
    assert (await attacker.login(headers=[ID])).status == 200

    [line] = [each for each in log() if each.get("request_id") == ID[1]]
    assert "refused" not in line
    assert (line["path"], line["status"], line["request_id"]) == ("/login", 200, ID[1])


@pytest.mark.parametrize("for_people", [False, True])
def test_an_error_is_told_with_its_trace(for_people: bool) -> None:
    """Machines get the trace as a member of the one line, people below theirs; nothing else is told."""
    stream = io.StringIO()
    stream.isatty = lambda: for_people  # type: ignore[method-assign]
    set_up_logging(stream=stream)
    try:
        raise RuntimeError("broken\x1b[2J")
    except RuntimeError:
        logging.getLogger("tokenkeep.x").exception("%s\nfailed", "GET /me", extra={"path": "/me", "secret": "tkr_x"})

    told = stream.getvalue()
    assert "tkr_x" not in told
    if for_people:
        assert "Traceback (most recent call last)" in told
        assert r"GET /me\nfailed" in told
        return
    line = json.loads(told)
    assert line.keys() == {"event", "level", "logger", "path", "timestamp", "exception"}
    assert (line["event"], line["level"], line["logger"]) == (r"GET /me\nfailed", "error", "tokenkeep.x")
    assert line["exception"].startswith("Traceback (most recent call last)")
    assert told.count("\n") == 1
    assert "\x1b" not in told


@pytest.fixture
def terminal() -> Callable[[], str]:
    """What the server inside the test writes on a terminal."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    set_up_logging(level="debug", stream=stream)
    return stream.getvalue


@pytest.mark.parametrize("what", REFUSED)
async def test_on_a_terminal_it_is_one_line_of_text(attacker: Attacker, terminal: Callable[[], str], what: str) -> None:
    """People get the same as text; nothing that was sent moves the cursor or turns the line around."""
    method, path, headers, body, code = REFUSED[what]

    await attacker.ask(method, path, headers=[*headers, ID], body=body, declared=False)

    # The colours are the log's own.
    [line] = re.sub(r"\x1b\[[0-9;]*m", "", terminal()).splitlines()
    assert line.isprintable()
    for part in (method, code, ID[1]):
        assert part in line


class OnTerminal(ServerProcess):
    """A server whose standard error is a terminal."""

    def launch(self) -> None:
        """Start the process; a thread writes down what the terminal shows."""
        import pty

        master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [*self.program, "serve", *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=slave,
            cwd=self.directory,
            env=self._environ,
            start_new_session=True,
        )
        os.close(slave)
        threading.Thread(target=self._write_down, args=(master,), daemon=True).start()

    def _write_down(self, master: int) -> None:
        with self._log.open("ab", buffering=0) as written:
            try:
                while data := os.read(master, 65_536):
                    written.write(data)
            except OSError:  # Linux says so when the last one has closed the terminal
                pass
            finally:
                os.close(master)


@pytest.mark.system
@pytest.mark.xdist_group("system")
@pytest.mark.parametrize(("kind", "as_json"), [(ServerProcess, True), (OnTerminal, False)])
def test_the_real_server_writes_text_for_people_and_json_for_machines(
    tmp_path_factory: pytest.TempPathFactory, kind: type[ServerProcess], as_json: bool
) -> None:
    """Where its standard error leads decides, for its worker too."""
    with kind(tmp_path_factory.mktemp("lines")) as process:
        process.start()
        process.request("GET", "/nothing-here", headers=dict([ID]))
        wait_until(lambda: ID[1] in process.log, "the request is in the log")
        [line] = [line for line in process.log.splitlines() if ID[1] in line]
        assert line.startswith("{") is as_json
        assert "/nothing-here" in line
        assert not as_json or json.loads(line)["refused"] == "not_found"
        assert process.stop() == 0
