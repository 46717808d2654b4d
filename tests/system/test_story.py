"""The story that the first page tells, line by line, over HTTP, with the server restarted between every two lines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.server_process import ServerProcess
from tests.system.visitor import Visitor

PASSWORD = "canary-correct-horse-battery"
WRONG = "canary-wrong-horse-battery"


def tell(server: ServerProcess, ada: Visitor, bob: Visitor) -> Iterator[str]:
    """Live through the story; yields what has just happened."""
    server.add_user("Ada", PASSWORD, role="admin")
    server.add_user("Bob", PASSWORD)
    yield "an administrator and a user were added beside the running server"

    answer = ada.login()
    assert answer.status_code == 200
    assert answer.json() == {"accessToken": ada.access_token, "tokenType": "Bearer", "expiresIn": 900}
    assert ada.access_token.startswith("eyJ")
    attributes = {part.strip() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert attributes == {"Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=604800"}
    assert bob.login().status_code == 200
    yield "both logged in"

    answer = ada.get("/me")
    assert answer.status_code == 200
    assert answer.json() == {"id": answer.json()["id"], "name": "Ada", "role": "admin"}
    yield "Ada was told who she is"

    answer = ada.get("/me", token=f"{ada.access_token}x")
    assert answer.status_code == 401
    assert (answer.json()["error"], answer.json()["reason"]) == ("Invalid token", "JsonWebTokenError")
    yield "a token that was changed was refused"

    answer = server.request("GET", "/me")
    assert (answer.status_code, answer.json()["error"]) == (401, "Missing token")
    yield "nobody was told who they are"

    answer = bob.get("/admin")
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
    assert ada.get("/admin").json()["accounts"] == 2
    yield "administration was shown to the administrator only"

    first_token, first_cookie = ada.access_token, ada.cookie
    assert first_cookie is not None
    assert ada.refresh().status_code == 200
    assert first_token != ada.access_token
    assert ada.cookie not in {first_cookie, None}
    second_cookie = ada.cookie
    assert ada.get("/me").json()["name"] == "Ada"
    yield "Ada's tokens were refreshed"

    answer = ada.logout()
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert ada.cookie is None
    yield "Ada logged out"

    for cookie in (None, first_cookie, second_cookie):
        answer = ada.refresh(cookie=cookie)
        assert (answer.status_code, answer.json()["error"]) == (401, "No valid refresh token")
    yield "the refresh tokens of the ended session were refused, the first one too"

    for token in (first_token, ada.access_token):
        answer = ada.get("/me", token=token)
        assert (answer.status_code, answer.json()["error"]) == (401, "Invalid token")
    assert bob.get("/me").json()["name"] == "Bob"
    yield "the access tokens of the ended session were refused, and no others"

    answers = [
        server.request("POST", "/login", json={"name": name, "password": password})
        for name, password in (("Ada", WRONG), ("Nobody", PASSWORD))
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["error"] == "Invalid credentials"
    yield "a wrong password and an unknown name were refused alike"


@pytest.mark.slow
def test_a_restart_between_any_two_lines_changes_nothing(server: ServerProcess):
    """Sessions, keys, accounts and revocations are in the database, not in the process; and no secret is in its log."""
    ada, bob = Visitor(server, "Ada", PASSWORD), Visitor(server, "Bob", PASSWORD)
    for _ in tell(server, ada, bob):
        server.restart()
    assert '"path": "/login"' in server.log
    for secret in (*ada.handed_out, *bob.handed_out, WRONG):
        assert secret not in server.log
