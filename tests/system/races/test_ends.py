"""Refresh and login race every way to end a session, in both orders and at once; nothing of what has ended is alive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from tests.system.races.arena import Arena, Hold, Person, gather
from tests.system.races.conftest import Site

pytestmark = [pytest.mark.slow, pytest.mark.engines("sqlite", "fleet")]

NEW_PASSWORD = "another-good-password"
ROUNDS = 3
CROWD = 6
"""Requests that race the end in a round."""

Act = Callable[[Arena, Person, Hold], Awaitable[Hold | None]]
End = Callable[[Arena, "Devices"], Awaitable[object]]


@dataclass
class Devices:
    """Somebody who is logged in at a desk, and on the telephone that the race is about."""

    person: Person
    desk: Hold
    phone: Hold

    @classmethod
    async def of_somebody(cls, arena: Arena) -> Devices:
        """Return somebody new."""
        person = await arena.add()
        return cls(person, await arena.sign_in(person), await arena.sign_in(person))


async def refresh(arena: Arena, person: Person, phone: Hold) -> Hold | None:
    """The telephone refreshes."""
    return await arena.refresh(person, phone)


async def login(arena: Arena, person: Person, phone: Hold) -> Hold | None:
    """Somebody logs in on the telephone, over the session that is there."""
    return await arena.login(person, over=phone)


async def log_out(arena: Arena, devices: Devices) -> None:
    """The telephone logs out."""
    assert (await arena.ask("POST", "/logout", cookie=devices.phone.cookie)).status_code == 200


async def end_from_the_list(arena: Arena, devices: Devices) -> None:
    """The desk ends the telephone's session, which a login may have replaced just before."""
    answer = await arena.ask("DELETE", f"/sessions/{devices.phone.session}", access=devices.desk.access)
    assert answer.status_code in {200, 404}


async def log_out_everywhere(arena: Arena, devices: Devices) -> None:
    """The desk ends all sessions."""
    assert (await arena.ask("DELETE", "/sessions", access=devices.desk.access)).status_code == 200


async def change_password(arena: Arena, devices: Devices) -> None:
    """The desk changes the password, and goes on with a new session; the telephone knows the old one."""
    passwords = {"currentPassword": devices.person.password, "newPassword": NEW_PASSWORD}
    answer = await arena.ask(
        "POST", "/password", access=devices.desk.access, cookie=devices.desk.cookie, json=passwords
    )
    assert answer.status_code == 200
    devices.person.holds.append(Hold.of(answer))


async def set_password(arena: Arena, devices: Devices) -> None:
    """An operator sets another password."""
    await arena.operator.accounts.set_password(devices.person.name, NEW_PASSWORD, actor="operator")


async def disable(arena: Arena, devices: Devices) -> None:
    """An operator disables the account."""
    await arena.operator.accounts.disable(devices.person.name, actor="operator")


async def delete(arena: Arena, devices: Devices) -> None:
    """An operator deletes the account."""
    await arena.operator.accounts.delete(devices.person.name, actor="operator")


ENDS_OF_ONE = (log_out, end_from_the_list)
ENDS_OF_ALL = (log_out_everywhere, change_password, set_password, disable, delete)
LOGINS_AFTER = (log_out, end_from_the_list, log_out_everywhere)
"""Ends after which somebody may log in again with the same password."""

every_end = pytest.mark.parametrize("end", ENDS_OF_ONE + ENDS_OF_ALL, ids=lambda end: end.__name__)
every_act = pytest.mark.parametrize("act", [refresh, login], ids=lambda act: act.__name__)


async def check(arena: Arena, devices: Devices, end: End) -> list[Hold]:
    """Hold everything that was ever handed out against what has ended; returns what must be dead from here on.

    An end of one session has ended the telephone's. An end of all has ended what was issued under the account's version
    of before; what bears a later one began after the end, and must be whole.
    """
    person, desk, phone = devices.person, devices.desk, devices.phone
    handed = list(person.holds)
    if end in ENDS_OF_ONE:
        dead = [hold for hold in handed if hold.session == phone.session]
        later = {hold.session: hold for hold in handed if hold not in dead}
        assert desk.session in later
    else:
        dead = [hold for hold in handed if hold.version <= desk.version]
        later = {hold.session: hold for hold in handed if hold not in dead}
        assert not later or end in {log_out_everywhere, change_password}
    assert not {hold.session for hold in dead} & later.keys()
    await arena.check_dead(dead)
    for hold in later.values():
        await arena.check_alive(person, hold)
    if end is disable:
        await arena.operator.accounts.enable(person.name, actor="operator")
        await arena.check_dead(dead)
    return dead


@every_end
@every_act
async def test_what_was_before_the_end_is_dead(arena: Arena, act: Act, end: End):
    """A refresh or login that was answered, and then the end: what was handed out is dead, and nothing else."""
    devices = await Devices.of_somebody(arena)
    assert await act(arena, devices.person, devices.phone) is not None
    await end(arena, devices)
    await check(arena, devices, end)


@every_end
@every_act
async def test_what_comes_after_the_end_gets_nothing(arena: Arena, act: Act, end: End):
    """The end, and then a refresh or login: refused, but for a login with a password that is still right."""
    devices = await Devices.of_somebody(arena)
    await end(arena, devices)
    got = await act(arena, devices.person, devices.phone)
    assert (got is not None) == (act is login and end in LOGINS_AFTER)
    await check(arena, devices, end)


@every_end
@every_act
async def test_what_races_the_end_is_dead_or_came_after_it(arena: Arena, act: Act, end: End):
    """Refreshes or logins and the end at once, or the end as soon as the first is through: nothing ended is alive."""
    for turn in range(ROUNDS):
        devices = await Devices.of_somebody(arena)
        racers = [act(arena, devices.person, devices.phone) for _ in range(CROWD)]
        if turn % 2:
            await asyncio.gather(*racers[: CROWD // 2], end(arena, devices), *racers[CROWD // 2 :])
        else:
            await gather(racers, lambda devices=devices: end(arena, devices))
        await check(arena, devices, end)


async def test_a_refresh_that_races_a_new_role_shows_the_old_one_to_nobody(arena: Arena):
    """Access tokens with the role that was taken away are dead, whenever they were issued; the session goes on."""
    for turn in range(ROUNDS):
        person = await arena.add(role="admin")
        phone = await arena.sign_in(person)
        demote = lambda person=person: arena.operator.accounts.set_role(person.name, "user", actor="operator")  # noqa: E731
        racers = [arena.refresh(person, phone) for _ in range(CROWD)]
        if turn % 2:
            await asyncio.gather(*racers[: CROWD // 2], demote(), *racers[CROWD // 2 :])
        else:
            await gather(racers, demote)
        assert {hold.version for hold in person.holds if hold.role == "admin"} == {1}
        assert {hold.version for hold in person.holds if hold.role == "user"} <= {2}
        renewed = await arena.refresh(person, person.holds[-1])
        assert renewed is not None
        assert (renewed.role, renewed.version) == ("user", 2)
        for hold in person.holds:
            for worker in arena.workers():
                await arena.until(hold, worker, opens=hold.version == 2)


async def test_ends_race_each_other(arena: Arena):
    """All ways to end everything at once leave nothing alive, whoever of them wins."""
    for _ in range(ROUNDS):
        devices = await Devices.of_somebody(arena)
        await asyncio.gather(
            arena.refresh(devices.person, devices.phone),
            log_out(arena, devices),
            disable(arena, devices),
            arena.refresh(devices.person, devices.desk),
            set_password(arena, devices),
            arena.login(devices.person, over=devices.phone),
        )
        await arena.operator.accounts.enable(devices.person.name, actor="operator")
        await arena.check_dead(devices.person.holds)


async def test_nothing_that_has_ended_revives_with_a_restart(arena: Arena, site: Site):
    """Every kind of end is in the database: servers that have been started anew refuse what they refused before."""
    ended: list[Hold] = []
    for end in ENDS_OF_ONE + ENDS_OF_ALL:
        devices = await Devices.of_somebody(arena)
        await arena.refresh(devices.person, devices.phone)
        await end(arena, devices)
        ended += await check(arena, devices, end)
    alive = await Devices.of_somebody(arena)
    for server in site.servers:
        await asyncio.to_thread(server.restart)
    await arena.check_dead(ended)
    await arena.check_alive(alive.person, alive.phone)
