"""Many requests at once, against the real server."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx2
import pytest

from tests.system.conftest import Start, on_postgres
from tests.system.server_process import LONGEST_WAIT, ServerProcess, wait_until
from tests.system.visitor import COOKIE, Visitor, cookie_in
from tests.system.workers import SPREAD, workers_of

PASSWORD = "correct-horse-battery"
pytestmark = pytest.mark.slow
CROWD = 200


async def refresh_at_once(servers: list[ServerProcess], cookie: str) -> list[httpx2.Response]:
    """Send the same refresh token in many requests, each over a connection of its own, all under way together."""
    # A transport, not a client: a client would put the cookie of the first answer into the requests after it.
    async with (
        asyncio.timeout(LONGEST_WAIT),
        httpx2.AsyncHTTPTransport(verify=False, limits=httpx2.Limits(max_connections=CROWD)) as transport,
    ):

        async def refresh(server: ServerProcess) -> httpx2.Response:
            request = httpx2.Request("POST", f"{server.url}/refresh", headers={"Cookie": f"{COOKIE}={cookie}"})
            response = await transport.handle_async_request(request)
            await response.aread()
            return response

        return await asyncio.gather(*(refresh(servers[turn % len(servers)]) for turn in range(CROWD)))


def check_one_successor(answers: list[httpx2.Response], before: str) -> str:
    """Return the one refresh token that all answers hand out."""
    assert Counter(answer.status_code for answer in answers) == {200: CROWD}
    successors = {cookie_in(answer) for answer in answers}
    assert len(successors) == 1
    successor = successors.pop()
    assert successor is not None
    assert successor != before
    return successor


@pytest.mark.engines("sqlite", "fleet")
async def test_parallel_refreshes_of_one_token_have_one_successor(server: ServerProcess):
    """Two hundred tabs that refresh with the same cookie all get an access token and the same next cookie."""
    server.add_user("Ada", PASSWORD)
    ada = Visitor(server, "Ada", PASSWORD)
    ada.login()
    for _ in range(2):
        assert ada.cookie is not None
        answers = await refresh_at_once([server], ada.cookie)
        ada.cookie = check_one_successor(answers, ada.cookie)
    tokens = {answer.json()["accessToken"] for answer in answers}
    assert len(tokens) == CROWD
    assert all(ada.get("/me", token=token).status_code == 200 for token in sorted(tokens)[:5])
    assert ada.refresh().status_code == 200
    # Each of several processes has had its share: they agree on what others of them did.
    with workers_of(server) as workers:
        shares = [worker.answered("/refresh") for worker in workers]
    assert sum(shares) == 2 * CROWD + 1
    assert min(shares) > 0


@on_postgres
async def test_servers_on_one_database_are_one_server(shared_start: Start):
    """Two processes on one database agree: on the successor of a token, and within a second on who has logged out."""
    first = shared_start()
    second = shared_start(issuer=first.url)
    first.add_user("Ada", PASSWORD)
    here, elsewhere = Visitor(first, "Ada", PASSWORD), Visitor(second, "Ada", PASSWORD)
    here.login()
    assert here.cookie is not None
    here.cookie = check_one_successor(await refresh_at_once([first, second], here.cookie), here.cookie)
    elsewhere.access_token, elsewhere.cookie = here.access_token, here.cookie
    assert elsewhere.signed_in()
    assert elsewhere.refresh().status_code == 200
    assert here.signed_in()
    assert elsewhere.logout().status_code == 200
    assert not elsewhere.signed_in()
    wait_until(lambda: not here.signed_in(), "the other process knows of the logout", within=SPREAD)
    assert here.get("/me").json()["error"] == "Invalid token"
    assert here.refresh().status_code == 401
