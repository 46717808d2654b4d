"""The OpenAPI document and the server say the same: schemathesis finds nothing, and each refusal is declared.

`Attacker.ask` makes sure in all tests of this folder that a status, media type and code is declared for its route.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.attacks.http.attacker import JSON, NAME, PASSWORD, Attacker, filled
from tests.attacks.http.conftest import OpenServer
from tests.system.server_process import ServerProcess
from tests.system.visitor import Visitor
from tokenkeep.settings import Secret

OPS_TOKEN: Final = "operations-token-for-the-description-test"
FEED_TOKEN: Final = "feed-token-for-the-description-test-7a3f"

# 422 is what a name with invisible characters gets: no schema can tell those.
CONFIGURATION: Final = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]
"""


@pytest.mark.system
@pytest.mark.xdist_group("system")
@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Generated requests to the real server, good and bad, token and none: every answer is as the document says.

    What ends the token comes last, so that the rest is asked with a good one.
    """
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    with ServerProcess(tmp_path) as process:
        process.start()
        process.add_user(NAME, PASSWORD, role="admin")
        visitor = Visitor(process, NAME, PASSWORD)
        visitor.login()
        for choice in ("--exclude-operation-id", "--include-operation-id"):
            done = subprocess.run(
                [
                    str(Path(sys.executable).with_name("schemathesis")),
                    *("--config-file", "schemathesis.toml", "run", f"{process.url}/openapi.json"),
                    *("--max-examples", "10", "--generation-deterministic", "--no-color"),
                    *("--header", f"Authorization: Bearer {visitor.access_token}", choice, "end_all_sessions"),
                ],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        assert '"level": "error"' not in process.log
        assert process.request("GET", "/readyz").status_code == 200


async def test_what_any_route_may_refuse_is_declared_for_each(attacker: Attacker, attack: OpenServer) -> None:
    """Wrong host, two hosts, too many headers, plain http: each route refuses it, and each declares it."""
    elsewhere = await attack(issuer="https://auth.example.test", data_dir=attacker.server.settings.data_dir / "other")
    for method, path in _operations(await attacker.document()):
        where = filled(path)
        (await attacker.ask(method, where, host="evil.example")) if path not in _BY_ADDRESS else None
        (await attacker.ask(method, where, headers=[("Host", "evil.example")])).refused(400, "malformed_request")
        (await attacker.ask(method, where, headers=[("X", "x" * 20_000)])).refused(431, "headers_too_large")
        if path not in _BY_ADDRESS:
            reply = await elsewhere.ask(method, where, client="203.0.113.9", host="auth.example.test")
            reply.refused(403, "https_required")


async def test_a_route_wants_what_it_is_declared_to_want(attack: OpenServer) -> None:
    """Routes that declare a scheme are closed without it; those that declare none, or leave a choice, are open."""
    tokens = {"operationsToken": OPS_TOKEN, "feedToken": FEED_TOKEN}
    attacker = await attack(
        issuer="https://auth.example.test", ops_token=Secret(OPS_TOKEN), feed_token=Secret(FEED_TOKEN)
    )
    document = await attacker.document()
    stranger = {"client": "203.0.113.9", "scheme": "https", "host": "auth.example.test"}
    schemes = document["components"]["securitySchemes"]
    for method, path in _operations(document):
        security = document["paths"][path][method.lower()].get("security", [])
        assert {name for choice in security for name in choice} <= set(schemes)
        where = filled(path)
        reply = await attacker.ask(method, where, headers=[JSON], body=b"{}", **stranger)
        wanted = [name for choice in security for name in choice]
        missing = {"missing_token", "invalid_feed_token"}
        closed = reply.status == 404 or (reply.status == 401 and reply.json()["code"] in missing)
        assert closed is (wanted in (["accessToken"], *([name] for name in tokens))), f"{method} {path} {reply.status}"
        for name in set(wanted) & set(tokens):
            good = ("Authorization", f"Bearer {tokens[name]}")
            assert (await attacker.ask(method, where, headers=[good], **stranger)).status == 200


async def test_an_answer_that_is_still_right_is_declared(attacker: Attacker) -> None:
    """A client that has the key set already is told so, and the document knows that answer."""
    first = await attacker.ask("GET", "/.well-known/jwks.json")

    again = await attacker.ask("GET", "/.well-known/jwks.json", headers=[("If-None-Match", first.header("etag"))])

    assert (again.status, again.body) == (304, b"")


async def test_the_document_describes_every_route_and_no_other(attacker: Attacker) -> None:
    """Each operation of the document exists; paths beside them are not found."""
    document = await attacker.document()
    for method, path in _operations(document):
        reply = await attacker.ask(method, filled(path))
        assert reply.status not in {405, 500}, f"{method} {path}"
    for path in ("/docs", "/redoc", "/swagger", "/openapi.yaml", "/debug", "/status", "/health", "/", "/favicon.ico"):
        (await attacker.ask("GET", path)).refused(404, "not_found")


_BY_ADDRESS: Final = {"/livez", "/readyz", "/metrics"}
"""Routes that are called by address, and health over plain http too."""


def _operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
