"""The server as an application of its own: opened and closed by its life span, wherever the settings come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.embedding.conftest import PASSWORD, Embedded
from tokenkeep.domain.accounts import Account
from tokenkeep.jose import jwt
from tokenkeep.server import AuthServer, create_app
from tokenkeep.settings import SettingsError
from tokenkeep.storage.data_directory import DataDirectoryError

HOST = "http://127.0.0.1:8000"


def add(client: TestClient, auth: AuthServer, name: str = "Ada") -> None:
    """Create an account in the loop of the running application."""
    assert client.portal is not None
    client.portal.call(lambda: auth.accounts.create(name, PASSWORD, role="user", actor="operator"))


def log_in(client: TestClient) -> dict[str, Any]:
    """Log in and return the claims of the access token."""
    answer = client.post("/login", json={"name": "Ada", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return dict(jwt.decode_unverified(answer.json()["accessToken"]).claims)


def test_life_span_opens_and_closes(embedded: Embedded):
    """Any ASGI server that knows life spans can serve it."""
    auth = embedded(issuer=HOST)
    with TestClient(auth.app, base_url=HOST) as client:
        assert client.get("/readyz").status_code == 200
        assert auth.accounts
    with pytest.raises(RuntimeError, match="not open"):
        _ = auth.accounts


def test_request_before_the_start_says_what_is_missing(embedded: Embedded):
    """Served without its life span it says how to open it."""
    client = TestClient(embedded(issuer=HOST).app, base_url=HOST)
    with pytest.raises(RuntimeError, match="life span"):
        client.get("/livez")


def test_failed_start_is_told_to_the_server(embedded: Embedded):
    """A start that fails is reported and raised, and leaves nothing locked."""
    auth = embedded(issuer=HOST)
    secret = auth.settings.data_dir / "secret"
    text = secret.read_text()
    secret.unlink()
    with pytest.raises(DataDirectoryError, match="secret"), TestClient(auth.app):
        pass
    secret.write_text(text)
    secret.chmod(0o600)
    with TestClient(auth.app, base_url=HOST) as client:
        assert client.get("/readyz").status_code == 200


def test_two_servers_do_not_share_a_data_directory(embedded: Embedded):
    """While one is open another one refuses to open, and says why."""
    auth = embedded(issuer=HOST)
    twin = AuthServer(auth.settings)
    with TestClient(auth.app, base_url=HOST) as client:
        with pytest.raises(DataDirectoryError, match="another server process"), TestClient(twin.app):
            pass
        assert client.get("/readyz").status_code == 200


def test_application_is_made_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`create_app` takes file and environment, as `tokenkeep serve` does, and makes what is missing at the start."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokenkeep.toml").write_text('client_id = "from the file"\n')
    monkeypatch.setenv("TOKENKEEP_DATA_DIR", "data")
    app = create_app()
    assert not (tmp_path / "data").exists()
    with TestClient(app, base_url=HOST) as client:
        assert client.get("/readyz").status_code == 200
        assert (tmp_path / "data" / "tokenkeep.db").exists()
    monkeypatch.setenv("TOKENKEEP_ISSUR", "x")
    with pytest.raises(SettingsError, match="did you mean issuer"):
        create_app()


def test_unsafe_settings_make_no_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """What would be a breach does not even become an application."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKENKEEP_HOST", "0.0.0.0")
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0"):
        create_app()


def test_claims_hook_adds_to_access_tokens(embedded: Embedded):
    """What the application knows of an account can be in its access tokens."""

    def tenant(account: Account) -> dict[str, Any]:
        return {"tenant": f"of {account.name}", "features": ["a", "b"]}

    auth = embedded(issuer=HOST, claims=tenant)
    with TestClient(auth.app, base_url=HOST) as client:
        add(client, auth)
        claims = log_in(client)
        assert (claims["tenant"], claims["features"]) == ("of Ada", ("a", "b"))
        assert claims["role"] == "user"


@pytest.mark.parametrize("name", ["role", "sub", "sid", "aud", "exp", "ver", "scope", "cnf"])
def test_claims_hook_cannot_decide(embedded: Embedded, name: str):
    """A hook that would set a reserved claim makes the login fail, and the client is not told why."""
    auth = embedded(issuer=HOST, claims=lambda _: {name: "admin"})
    with TestClient(auth.app, base_url=HOST) as client:
        add(client, auth)
        answer = client.post("/login", json={"name": "Ada", "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "set-cookie" not in answer.headers
        assert name not in answer.json()["error"]


def test_shared_secret_signs_for_the_server_alone(embedded: Embedded):
    """With HS256 nothing is published, and the server's own routes and verifier work."""
    auth = embedded(issuer=HOST, signing_algorithm="HS256")
    for file in auth.settings.data_dir.glob("tokenkeep.db*"):
        file.unlink()
    with TestClient(auth.app, base_url=HOST) as client:
        add(client, auth)
        answer = client.post("/login", json={"name": "Ada", "password": PASSWORD})
        access = answer.json()["accessToken"]
        assert jwt.decode_unverified(access).header["alg"] == "HS256"
        assert client.get("/.well-known/jwks.json").json() == {"keys": []}
        headers = {"Authorization": f"Bearer {access}"}
        assert client.get("/me", headers=headers).json()["name"] == "Ada"
        assert auth.verifier.authenticate([headers["Authorization"]]).name == "Ada"
