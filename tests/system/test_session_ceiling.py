"""The ceiling on sessions, on the real server: logins race, in one process and in several, and so many are left."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from tests.system.conftest import Start
from tests.system.server_process import LONGEST_WAIT, ServerProcess
from tests.system.stored import stored_by
from tests.system.visitor import Visitor, cookie_in
from tests.system.workers import workers_of

PASSWORD = "correct-horse-battery"
MOST = 4
pytestmark = [pytest.mark.slow, pytest.mark.engines("sqlite", "fleet")]


def live_sessions(server: ServerProcess) -> set[str]:
    """Return the ids of the sessions that nobody has ended."""
    return {row["id"] for row in stored_by(server)("SELECT id FROM sessions WHERE revoked_at IS NULL")}


async def log_in_at_once(server: ServerProcess, times: int) -> list[httpx2.Response]:
    """Log Ada in so often, each time over a connection of its own, all under way together."""
    limits = httpx2.Limits(max_connections=times, max_keepalive_connections=0)
    async with asyncio.timeout(LONGEST_WAIT), httpx2.AsyncClient(verify=False, limits=limits, timeout=None) as client:
        body = {"name": "Ada", "password": PASSWORD}
        return await asyncio.gather(*(client.post(f"{server.url}/login", json=body) for _ in range(times)))


@pytest.mark.parametrize("logins", [MOST + 1, 3 * MOST])
def test_of_logins_at_once_so_many_live(start: Start, logins: int):
    """All are answered alike; exactly as many as allowed are good everywhere, and of the others nothing is."""
    server = start(max_sessions=str(MOST))
    server.add_user("Ada", PASSWORD)
    answers = asyncio.run(log_in_at_once(server, logins))
    assert [answer.status_code for answer in answers] == [200] * logins
    assert len({frozenset(answer.json()) for answer in answers}) == 1
    good = []
    for answer in answers:
        ada = Visitor(server, "Ada", PASSWORD)
        ada.access_token, ada.cookie = answer.json()["accessToken"], cookie_in(answer)
        if ada.refresh().status_code == 200:
            good.append(ada)
        else:
            assert ada.shut_out()
            assert ada.refresh().json()["code"] == "no_valid_refresh_token"
    assert len(good) == len(live_sessions(server)) == MOST
    with workers_of(server) as workers:
        for ada in good:
            bearer = {"Authorization": f"Bearer {ada.access_token}"}
            assert {worker.request("GET", "/me", headers=bearer).status_code for worker in workers} == {200}


def test_the_oldest_is_dead_everywhere(start: Start):
    """One login too many: within a second every process refuses the oldest's access token, and its refresh gets 401.

    The answer to that login tells nothing of it, and a restart changes nothing.
    """
    server = start(max_sessions=str(MOST))
    server.add_user("Ada", PASSWORD)
    devices = [Visitor(server, "Ada", PASSWORD) for _ in range(MOST + 1)]
    told = [device.login() for device in devices]
    oldest, *others = devices
    assert oldest.shut_out()
    answer = oldest.refresh()
    assert (answer.status_code, answer.json()["code"]) == (401, "no_valid_refresh_token")
    assert told[-1].json().keys() == told[0].json().keys()
    assert sorted(told[-1].headers) == sorted(told[0].headers)
    server.restart()
    assert oldest.shut_out()
    for device in others:
        assert device.signed_in()
        assert device.refresh().status_code == 200
