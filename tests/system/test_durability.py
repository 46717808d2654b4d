"""What was answered has happened: a server that is killed at once after an answer comes back knowing it."""

from __future__ import annotations

import threading

import httpx2
import pytest

from tests.system.server_process import ServerProcess
from tests.system.visitor import Visitor

PASSWORD = "correct-horse-battery"
pytestmark = pytest.mark.slow


def signed_in(server: ServerProcess) -> Visitor:
    """Return somebody who has just logged in."""
    server.add_user("Ada", PASSWORD)
    visitor = Visitor(server, "Ada", PASSWORD)
    assert visitor.login().status_code == 200
    return visitor


def crash(server: ServerProcess) -> None:
    """Kill every process of the server without warning, and start it again."""
    server.kill()
    server.start()


@pytest.mark.engines("sqlite")
def test_what_was_answered_survives_a_crash(server: ServerProcess):
    """A login, a refresh, a logout and a command, each followed by a crash at once after the answer, have happened.

    A server that had forgotten the refresh would take the newer token for one from the future and end the session.
    """
    ada = signed_in(server)
    crash(server)
    assert ada.signed_in()
    cookies = [ada.cookie]
    assert ada.refresh().status_code == 200
    crash(server)
    assert ada.signed_in()
    assert ada.refresh().status_code == 200
    cookies.append(ada.cookie)
    assert ada.logout().status_code == 200
    crash(server)
    assert ada.get("/me").json()["code"] == "invalid_token"
    for cookie in cookies:
        assert ada.refresh(cookie=cookie).json()["code"] == "no_valid_refresh_token"
    assert ada.login().status_code == 200
    server.command("users", "disable", "Ada")
    crash(server)
    assert ada.get("/me").json()["code"] == "invalid_token"
    assert ada.refresh().json()["code"] == "no_valid_refresh_token"
    assert ada.login().json()["code"] == "invalid_credentials"


def test_a_crash_under_load_loses_no_answered_refresh(server: ServerProcess):
    """Whoever got an answer goes on with it after a crash in the middle of many refreshes; nobody is logged out."""
    server.add_user("Ada", PASSWORD)
    crowd = [Visitor(server, "Ada", PASSWORD) for _ in range(6)]
    counts = [0] * len(crowd)
    answered = threading.Semaphore(0)

    def keep_refreshing(number: int) -> None:
        try:
            while crowd[number].refresh().status_code == 200:
                counts[number] += 1
                answered.release()
        except httpx2.TransportError:
            pass  # the crash

    for visitor in crowd:
        assert visitor.login().status_code == 200
    threads = [threading.Thread(target=keep_refreshing, args=(number,)) for number in range(len(crowd))]
    for thread in threads:
        thread.start()
    for _ in range(60):
        assert answered.acquire(timeout=10)
    server.kill()
    for thread in threads:
        thread.join()
    server.start()
    assert min(counts) > 0
    assert [visitor.refresh().status_code for visitor in crowd] == [200] * len(crowd)
