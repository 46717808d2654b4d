"""What the host gives a server: its secret, its clock, its port."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Final

import pytest

from tests.api.caller import PASSWORD, Caller
from tests.settable_clock import SettableClock
from tests.system.conftest import SQLITE
from tests.system.server_process import ServerProcess
from tests.system.surroundings.spoken import say, serve
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

pytestmark = SQLITE

HOUR: Final = 3_600_000


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "changeme",
        "a-secret-of-31-bytes-0123456789",
        "x" * 64,
        "your-256-bit-secret",
        "secretsecretsecretsecretsecretsecret",
        "changeme-changeme-changeme-changeme",
        "CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME_",
        "replace-me-with-at-least-32-bytes-of-text",
        "<generate with tokenkeep secret generate>",
    ],
    ids=str,
)
def test_a_server_secret_that_is_none_is_refused(tmp_path: Path, secret: str):
    """An empty, short, monotonous or placeholder secret is refused before anything is made; how to get one is said."""
    site = ServerProcess(tmp_path, environ={"TOKENKEEP_SECRET": secret})
    said = serve(site)
    said.check_refusal(r"^tokenkeep: secret is", r"tokenkeep secret generate")
    assert secret == "" or secret not in said.lines[0]
    assert not site.data.exists()
    say(site, "doctor").check_finding(r"server-secret: secret is", r"tokenkeep secret generate")


@pytest.mark.parametrize("content", [None, "", "too short"], ids=["missing", "empty", "short"])
def test_a_secret_file_that_holds_none_is_refused(tmp_path: Path, content: str | None):
    """A file of the secret that is missing, empty or too short is refused, not replaced by a generated secret."""
    file = tmp_path / "server-secret"
    if content is not None:
        file.write_text(content)
    site = ServerProcess(tmp_path, environ={"TOKENKEEP_SECRET_FILE": str(file)})
    serve(site).check_refusal(r"secret", r"cannot be read|tokenkeep secret generate")
    assert not site.data.exists()


def test_a_secret_that_is_not_the_one_of_the_data_is_refused(site: ServerProcess):
    """A right one in the environment that does not open the stored keys is refused; as a previous one it serves."""
    right = (site.data / "secret").read_text().strip()
    site._environ["TOKENKEEP_SECRET"] = secrets.token_urlsafe(32)
    serve(site).check_refusal(r"signing key", r"another server secret|secret", r"previous_secrets|put .*back")
    site._environ["TOKENKEEP_PREVIOUS_SECRETS"] = right
    site.start()
    assert site.stop() == 0


@pytest.mark.parametrize(
    "words", [["serve"], ["users", "disable", "Ada"], ["recover", "--yes"], ["doctor"]], ids=" ".join
)
def test_a_clock_before_the_release_is_refused(site: ServerProcess, words: list[str]):
    """Nothing is stamped by a clock that cannot be right: what it revokes would be forgotten when it is set right."""
    before = (site.data / "tokenkeep.db").read_bytes()
    at_the_epoch = 1_000
    if words == ["doctor"]:
        say(site, *words, now=at_the_epoch).check_finding(r"clock", r"set it")
    else:
        flags = site.arguments if words == ["serve"] else []
        say(site, *words, *flags, now=at_the_epoch).check_refusal(r"clock", r"set it")
    assert (site.data / "tokenkeep.db").read_bytes() == before


async def test_a_clock_that_is_set_forward_and_back_revives_nothing(settings: Settings, clock: SettableClock):
    """What was revoked stays revoked when the clock was wrong for a while, although it had seemed to be expired."""
    async with AuthServer(settings, clock=clock) as server:
        call = Caller(server)
        await server.accounts.create("Ada", PASSWORD, role="user", actor="operator")
        ada = await call.login()
        assert (await call("POST", "/logout", cookie=ada.refresh)).status_code == 200
        await server.graph.follow_revocations.poll()
        for hours in (24, -24):
            clock.advance(hours * HOUR)
            clock.elapse(0.25)
            await server.graph.follow_revocations.poll()
        assert (await call("GET", "/me", bearer=ada.access)).status_code == 401


def test_a_port_that_is_taken_is_refused_and_nothing_is_lost(site: ServerProcess):
    """The refusal names the address and the flag; once the port is free, the server starts on the same data."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.port))
        taken.listen()
        serve(site).check_refusal(rf"cannot listen on 127\.0\.0\.1:{site.port}", r"in use", r"--port")
    site.start()
    assert site.stop() == 0
