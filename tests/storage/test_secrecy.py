"""What a thief of the database finds: no refresh token, no password, no private key, nothing that logs in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.settable_clock import SettableClock
from tests.storage.contracts import Engine, PostgresEngine, SqliteEngine
from tokenkeep.domain.audit import OPERATOR
from tokenkeep.domain.errors import NoValidRefreshToken
from tokenkeep.domain.sessions import PREFIX, Client, Delivery, RefreshToken
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.login import Credentials
from tokenkeep.jose import jwt
from tokenkeep.jose.encoding import decode_base64url
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings

SERVER_SECRET = "canary-of-the-server-secret-0a1b2c3d4e5f"
PASSWORDS = ("canary password of Ada", "canary password of Bob", "another canary of Ada")
BROWSER = Client("Browser/1.0", "192.0.2.7")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the data directory of the server is."""
    return tmp_path / "data"


@pytest.fixture
async def server(engine: Engine, directory: Path, clock: SettableClock) -> AsyncIterator[AuthServer]:
    """A server on the engine's database, whose secret is configured and so not in the data directory."""
    place: Mapping[str, Any] = {}
    match engine:
        case SqliteEngine():
            place = {"database_url": Secret(f"sqlite:///{engine.path}")}
        case PostgresEngine():
            place = {"database_url": Secret(engine.schema.url)}
    settings = Settings(data_dir=directory, secret=Secret(SERVER_SECRET), hash_concurrency=1, **place)
    async with AuthServer(settings, clock=clock) as opened:
        yield opened


async def live(server: AuthServer) -> list[TokenPair]:
    """Live some days: log in, refresh, repeat, be stolen from, change the password, log out; return all pairs."""
    services = server.graph.services
    ada, bob, new = PASSWORDS
    await server.accounts.create("Ada", ada, role="admin", actor=OPERATOR)
    await server.accounts.create("Bob", bob, role="user", actor=OPERATOR)
    pairs: list[TokenPair] = []

    async def login(name: str, password: str, delivery: Delivery) -> TokenPair:
        pair = await services.login.login(Credentials(name, password), BROWSER, delivery=delivery)
        pairs.append(pair)
        return pair

    async def refresh(pair: TokenPair, delivery: Delivery) -> TokenPair:
        following = await services.refresh.refresh(pair.refresh_token, BROWSER, delivery=delivery)
        pairs.append(following)
        return following

    first = await login("Ada", ada, Delivery.COOKIE)
    second = await refresh(first, Delivery.COOKIE)
    await refresh(first, Delivery.COOKIE)
    await refresh(await refresh(second, Delivery.COOKIE), Delivery.COOKIE)
    of_bob = await refresh(await login("Bob", bob, Delivery.BODY), Delivery.BODY)
    await services.logout.logout(of_bob.refresh_token, BROWSER)
    stolen = await login("Bob", bob, Delivery.BODY)
    await refresh(await refresh(await refresh(stolen, Delivery.BODY), Delivery.BODY), Delivery.BODY)
    with pytest.raises(NoValidRefreshToken):
        await refresh(stolen, Delivery.BODY)
    await server.accounts.set_password("Ada", new, actor=OPERATOR)
    await refresh(await login("Ada", new, Delivery.COOKIE), Delivery.COOKIE)
    return pairs


async def test_nothing_that_logs_in_is_in_the_database(server: AuthServer, engine: Engine, directory: Path):
    """After logins, refreshes, theft and logouts no token, tag, password or server secret is in the raw data.

    Names and session ids are: the search does look at what is stored.
    """
    pairs = await live(server)
    raw = await engine.dump() + b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
    tokens = {pair.refresh_token: RefreshToken.parse(pair.refresh_token) for pair in pairs}
    assert len(tokens) >= 11
    for text, token in tokens.items():
        assert token.session_id.encode() in raw
        assert text.encode() not in raw
        assert text.removeprefix(PREFIX)[-40:].encode() not in raw
        assert token.tag not in raw
        assert token.tag.hex().encode() not in raw
    for pair in pairs:
        signature = pair.access_token.rpartition(".")[2]
        assert jwt.decode_unverified(pair.access_token).claims["sid"].encode() in raw
        assert pair.access_token.encode() not in raw
        assert signature.encode() not in raw
        assert decode_base64url(signature) not in raw
    assert b"Ada" in raw
    assert b"Bob" in raw
    for secret in (*PASSWORDS, SERVER_SECRET):
        assert secret.encode() not in raw
        assert secret.encode().hex().encode() not in raw


async def test_the_signing_keys_of_a_server_are_sealed(server: AuthServer, engine: Engine):
    """The ids of the keys that a server made for itself are in the raw data, their private parts are not."""
    await live(server)
    raw = await engine.dump()
    keys = await server.graph.storage.read(lambda tx: tx.signing_keys.published())
    assert len(keys) == 2
    for key in keys:
        private = key.key.to_jwk(private=True)["d"]
        assert isinstance(private, str)
        assert key.id.encode() in raw
        assert private.encode() not in raw
        assert decode_base64url(private) not in raw
