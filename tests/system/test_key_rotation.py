"""A real server whose keys live for seconds, and verifiers elsewhere that fetch them: nobody is refused meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

import httpx2
import pytest

from tests.system.conftest import WORKERS, Start, sharing
from tests.system.server_process import ServerProcess, wait_until
from tests.system.workers import refused_everywhere
from tokenkeep.jose import jwt
from tokenkeep.verifier import CannotTell, InvalidToken, KeyFetching, TokenVerifier, key_cache

pytestmark = pytest.mark.engines("sqlite")

PASSWORD: Final = "correct-horse-battery"
LIFE: Final = 2.0
"""Seconds of an access token's life."""
LEEWAY: Final = 1.0
ROTATIONS: Final = 3
LONGEST_WAIT: Final = 90.0
PROGRAM: Final = """
import multiprocessing
multiprocessing.set_start_method("fork")
from tokenkeep import assembly
from tokenkeep.domain.key_rotation import RotationPolicy
short = RotationPolicy(4_000, key_set_age=1_000, fetch_cooldown=1_000, propagation=2_000, leeway=1_000)
assembly.rotation_policy = lambda settings: short
from tokenkeep.cli import main
main()
"""
"""The server with a policy of seconds, which no setting allows."""


@pytest.fixture
def server(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """A running server with short lives, in which Ada can log in."""
    environ, flags = {}, {"access_ttl": "2s"}
    if engine == "fleet":
        schema, redis = request.getfixturevalue("postgres_schema"), request.getfixturevalue("redis_server")
        environ, flags = sharing(schema, redis), flags | {"workers": str(WORKERS)}
    with ServerProcess(tmp_path, environ=environ, **flags) as server:
        server.program = [sys.executable, "-c", PROGRAM]
        server.start()
        server.add_user("Ada", PASSWORD)
        yield server


class Session:
    """Ada's session: a new access token whenever one is asked for."""

    def __init__(self, server: ServerProcess) -> None:
        # Nothing is encrypted here; reading the certificates of this machine would take most of the time.
        # A connection for each request: of several workers, another one may answer each time.
        alone = httpx2.Limits(max_keepalive_connections=0)
        self._client = httpx2.Client(base_url=server.url, trust_env=False, verify=False, timeout=10.0, limits=alone)
        self._refresh = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._client.close()

    def token(self) -> str | None:
        """Return a new access token; None if the server could not tell just now."""
        if self._refresh:
            answer = self._client.post("/refresh", json={"refreshToken": self._refresh})
        else:
            answer = self._client.post("/login", json={"name": "Ada", "password": PASSWORD, "delivery": "body"})
        if answer.status_code == 503:
            return None
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        self._refresh = body["refreshToken"]
        return str(body["accessToken"])

    def me(self, token: str) -> int:
        """Return the status with which the server answers a token."""
        return self._client.get("/me", headers={"Authorization": f"Bearer {token}"}).status_code

    def key_set(self) -> set[str]:
        """Return the ids of the published keys."""
        answer = self._client.get("/.well-known/jwks.json")
        return {key["kid"] for key in answer.json()["keys"]} if answer.status_code == 200 else set()


def verifier_of(server: ServerProcess) -> TokenVerifier:
    """Return a verifier that fetches the keys from the server."""
    return TokenVerifier(
        issuer=server.url,
        audience=server.url,
        algorithms=["ES256"],
        fetching=KeyFetching(cooldown=timedelta(seconds=1)),
        leeway=timedelta(seconds=LEEWAY),
    )


def test_nobody_is_refused_while_keys_rotate(server: ServerProcess, monkeypatch: pytest.MonkeyPatch):
    """Over three rotations every token is accepted by its server and elsewhere until its end, and old keys leave."""
    monkeypatch.setattr(key_cache, "SHORTEST_AGE", 1.0)
    kept: dict[str, float] = {}
    kids: list[str] = []
    refused: list[str] = []
    deadline = time.monotonic() + LONGEST_WAIT
    with Session(server) as session, verifier_of(server) as busy, verifier_of(server) as rarely:
        asked_rarely = time.monotonic()
        while len(kids) <= ROTATIONS:
            assert time.monotonic() < deadline, f"{kids}\n{server.log}"
            token = session.token()
            if token is not None:
                kid = str(jwt.decode_unverified(token).header["kid"])
                if kid not in kids:
                    kids.append(kid)
                kept[token] = float(jwt.decode_unverified(token).claims["exp"])
            kept = {each: ends for each, ends in kept.items() if time.time() < ends + LEEWAY / 2}
            chosen = list(kept)[:3] + list(kept)[-1:]
            verifiers = [busy]
            if time.monotonic() - asked_rarely > 1.5:
                asked_rarely = time.monotonic()
                verifiers.append(rarely)
            for each in chosen:
                for verifier in verifiers:
                    try:
                        verifier.verify(each)
                    except CannotTell:
                        continue  # neither accepted nor refused
                    except InvalidToken as error:
                        if time.time() < kept[each] + LEEWAY:  # otherwise this machine has been slow
                            refused.append(f"{error} {jwt.decode_unverified(each).header}")
                if time.time() < kept[each] and session.me(each) == 401 and time.time() < kept[each]:
                    refused.append("by its server")
            time.sleep(0.02)
        assert refused == []
        wait_until(lambda: kids[0] not in session.key_set() and bool(session.key_set()), "the first key has left")


def test_a_revoked_key_is_worth_nothing_at_once(start: Start):
    """After the command a running server refuses the key's tokens, signs with another, and publishes it no more."""
    server = start()
    server.add_user("Ada", PASSWORD)
    with Session(server) as session:
        old = session.token()
        assert old is not None
        assert session.me(old) == 200
        kid = str(jwt.decode_unverified(old).header["kid"])
        server.command("keys", "revoke", kid, "--yes")
        assert refused_everywhere(server, old, within=LONGEST_WAIT)
        wait_until(lambda: kid not in session.key_set() and len(session.key_set()) == 2, "the key has left")
        new = session.token()
        assert new is not None, "the server signs again"
        assert str(jwt.decode_unverified(new).header["kid"]) in session.key_set()
        assert session.me(new) == 200
        assert session.me(old) == 401
