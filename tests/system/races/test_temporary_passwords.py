"""Logins that replace a temporary password race each other: one sets its own, and the others were wrong."""

from __future__ import annotations

import asyncio

import pytest

from tests.system.races.arena import Arena, Hold, Person

pytestmark = [pytest.mark.slow, pytest.mark.engines("sqlite", "fleet")]

TEMPORARY = "for-one-thing-only-7"
ROUNDS = 5
CROWD = 4
"""Logins that come at once; so many that no limit is reached."""


async def test_of_logins_at_once_one_replaces_the_password(arena: Arena):
    """Through all servers at once: one 200 and else 401, one session, and the winner's password is the password."""
    for _ in range(ROUNDS):
        person = await arena.add()
        await arena.operator.accounts.set_password(person.name, TEMPORARY, actor="operator", temporary=True)
        news = [f"another-good-password-{number}" for number in range(CROWD)]
        bodies = [{"name": person.name, "password": TEMPORARY, "newPassword": new} for new in news]
        answers = await asyncio.gather(*(arena.ask("POST", "/login", json=body) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * (CROWD - 1)
        [(new, won)] = [pair for pair in zip(news, answers, strict=True) if pair[1].status_code == 200]
        winner = Person(person.name, new)
        hold = await arena.check_alive(winner, Hold.of(won))
        listed = (await arena.ask("GET", "/sessions", access=hold.access)).json()["sessions"]
        assert [each["id"] for each in listed] == [hold.session]
        await arena.sign_in(winner)
        assert await arena.login(person) is None
