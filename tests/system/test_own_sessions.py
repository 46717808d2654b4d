"""One's own sessions, on the real server: listed, ended one by one and all at once, and a new password ends them."""

from __future__ import annotations

import pytest

from tests.system.server_process import ServerProcess
from tests.system.visitor import Visitor

PASSWORD = "correct-horse-battery"
NEW_PASSWORD = "wrong-donkey-fuel-cell"
pytestmark = [pytest.mark.slow, pytest.mark.engines("sqlite", "fleet")]


def listed(visitor: Visitor) -> dict[bool, list[str]]:
    """Return the ids of somebody's sessions, by whether it is the one that asks."""
    sessions = visitor.get("/sessions").json()["sessions"]
    return {current: [each["id"] for each in sessions if each["current"] is current] for current in (True, False)}


def devices(server: ServerProcess, name: str, password: str = PASSWORD) -> list[Visitor]:
    """Return three devices on which somebody has logged in."""
    made = [Visitor(server, name, password) for _ in range(3)]
    for device in made:
        assert device.login().status_code == 200
    return made


def test_sessions_are_listed_and_ended(server: ServerProcess):
    """The list has every live session, the asking one marked; what is ended there is dead at once and off the list."""
    server.add_user("Ada", PASSWORD)
    server.add_user("Bob", PASSWORD)
    desk, phone, tablet = devices(server, "Ada")
    [stranger, *_] = devices(server, "Bob")
    [mine], others = listed(desk)[True], listed(desk)[False]
    assert len(others) == 2
    assert listed(phone)[True] != [mine]
    assert stranger.delete(f"/sessions/{mine}").json()["code"] == "not_found"
    assert desk.signed_in()
    [phones] = listed(phone)[True]
    assert desk.delete(f"/sessions/{phones}").status_code == 200
    assert phone.shut_out()
    assert phone.refresh().json()["code"] == "no_valid_refresh_token"
    assert listed(desk) == {True: [mine], False: [other for other in others if other != phones]}
    assert desk.delete("/sessions").status_code == 200
    for ended in (desk, tablet):
        assert ended.shut_out()
        assert ended.refresh().json()["code"] == "no_valid_refresh_token"
    assert stranger.signed_in()
    server.restart()
    for ended in (desk, phone, tablet):
        assert ended.shut_out()
    assert stranger.refresh().status_code == 200


def test_a_new_password_ends_every_other_session(server: ServerProcess):
    """Who changes the password goes on with a new session; every other device must know the new one."""
    server.add_user("Ada", PASSWORD)
    desk, phone, tablet = devices(server, "Ada")
    assert desk.change_password("a wrong password", NEW_PASSWORD).json()["code"] == "invalid_credentials"
    assert phone.signed_in()
    before = Visitor(server, "Ada", PASSWORD)
    before.access_token, before.cookie = desk.access_token, desk.cookie
    assert desk.change_password(PASSWORD, NEW_PASSWORD).status_code == 200
    assert desk.signed_in()
    for ended in (before, phone, tablet):
        assert ended.shut_out()
        assert ended.refresh().json()["code"] == "no_valid_refresh_token"
        assert ended.login().json()["code"] == "invalid_credentials"
    assert len(listed(desk)[True]) == 1
    assert listed(desk)[False] == []
    server.restart()
    assert phone.shut_out()
    assert desk.refresh().status_code == 200
    assert desk.signed_in()
