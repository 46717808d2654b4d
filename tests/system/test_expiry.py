"""Time passes for real: an access token that has expired is refused by its name."""

from __future__ import annotations

import httpx2
import pytest

from tests.system.conftest import Start
from tests.system.server_process import wait_until
from tests.system.visitor import Visitor

PASSWORD = "correct-horse-battery"


@pytest.mark.engines("sqlite")
def test_an_expired_access_token_is_refused_as_such(start: Start):
    """An access token of one second is accepted, then refused with the reason that clients act on; a refresh helps."""
    server = start(access_ttl="1s", leeway="0s")
    server.add_user("Ada", PASSWORD)
    ada = Visitor(server, "Ada", PASSWORD)
    assert ada.login().json()["expiresIn"] == 1
    answers: list[httpx2.Response] = []

    def refused() -> bool:
        answers.append(ada.get("/me"))
        return answers[-1].status_code == 401

    wait_until(refused, "the token has expired")
    assert {answer.status_code for answer in answers[:-1]} <= {200}
    assert answers[-1].json()["error"] == "Invalid token"
    assert answers[-1].json()["reason"] == "TokenExpiredError"
    assert ada.refresh().status_code == 200
    wait_until(ada.signed_in, "a new token is accepted")
