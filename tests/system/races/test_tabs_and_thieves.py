"""Refresh under fire, on real servers: lost answers, slow tabs, thieves before and after their victims."""

from __future__ import annotations

import asyncio

import pytest

from tests.system.races.arena import FIREFOX, Arena
from tests.system.visitor import cookie_in
from tokenkeep.domain.audit import EventFilter, EventKind

pytestmark = [pytest.mark.slow, pytest.mark.engines("sqlite", "fleet", "pgbouncer")]
THIEF = "thief/1.0"


async def test_a_lost_answer_is_given_again(arena: Arena):
    """Whoever did not get the answer, and asks again within the window, gets the same successor, which works."""
    ada = await arena.add()
    first = await arena.sign_in(ada)
    lost = await arena.refresh(ada, first)
    again = await arena.refresh(ada, first)
    assert lost is not None
    assert again is not None
    assert again.cookie == lost.cookie
    assert again.access != lost.access
    third = await arena.check_alive(ada, again)
    assert third.cookie != again.cookie


async def test_the_window_is_closed_by_use_of_the_successor(arena: Arena):
    """Once the successor was used, the token before it gets nothing, and nothing ends: a newer one is in the jar."""
    ada = await arena.add()
    first = await arena.sign_in(ada)
    second = await arena.refresh(ada, first)
    assert second is not None
    third = await arena.refresh(ada, second)
    assert third is not None
    answer = await arena.ask("POST", "/refresh", cookie=first.cookie)
    assert answer.status_code == 401
    assert answer.json()["error"] == "Invalid refresh token"
    assert "set-cookie" not in answer.headers
    again = await arena.refresh(ada, second)
    assert again is not None
    assert again.cookie == third.cookie
    await arena.check_alive(ada, third)


async def test_a_slow_third_tab_loses_nothing(arena: Arena):
    """A tab two generations behind is refused, keeps its cookie, and gets on with the newest one of the shared jar."""
    ada = await arena.add()
    first = await arena.sign_in(ada)
    jar = first
    for _ in range(2):
        renewed = await arena.refresh(ada, jar)
        assert renewed is not None
        jar = renewed
    slow = [await arena.ask("POST", "/refresh", cookie=first.cookie) for _ in range(3)]
    assert {(answer.status_code, answer.json()["code"]) for answer in slow} == {(401, "invalid_refresh_token")}
    assert not any("set-cookie" in answer.headers for answer in slow)
    await arena.check_alive(ada, jar)


async def test_three_generations_behind_is_theft(arena: Arena):
    """Nothing excuses a token from so long ago: the session ends for everybody, and with it all its access tokens."""
    ada = await arena.add()
    first, other = await arena.sign_in(ada), await arena.sign_in(ada)
    jar = first
    for _ in range(3):
        renewed = await arena.refresh(ada, jar)
        assert renewed is not None
        jar = renewed
    answer = await arena.ask("POST", "/refresh", cookie=first.cookie)
    assert answer.json()["error"] == "No valid refresh token"
    await arena.check_dead([hold for hold in ada.holds if hold.session == first.session])
    await arena.check_alive(ada, other)


@pytest.mark.parametrize(
    ("earlier", "later"), [(THIEF, FIREFOX), (FIREFOX, THIEF)], ids=["thief first", "victim first"]
)
async def test_thief_and_victim_do_not_both_go_on(arena: Arena, earlier: str, later: str):
    """Whoever of the two comes second, from another program, ends the session for both; other sessions go on."""
    ada = await arena.add()
    stolen, other = await arena.sign_in(ada), await arena.sign_in(ada)
    assert await arena.refresh(ada, stolen, agent=earlier) is not None
    assert await arena.refresh(ada, stolen, agent=later) is None
    await arena.check_dead([hold for hold in ada.holds if hold.session == stolen.session])
    await arena.check_alive(ada, other)


async def test_a_thief_who_goes_on_is_noticed_at_the_victims_next_refresh(arena: Arena):
    """However far a thief has come with a stolen token, the victim's own token ends what the thief has."""
    ada = await arena.add()
    stolen = await arena.sign_in(ada)
    theirs = stolen
    for _ in range(4):
        renewed = await arena.refresh(ada, theirs, agent=THIEF)
        assert renewed is not None
        theirs = renewed
    assert await arena.refresh(ada, stolen) is None
    await arena.check_dead(ada.holds)


async def test_thief_and_victim_at_once_share_one_line_or_none(arena: Arena):
    """When both come at the same moment, one is first and the other's program gives it away; never two lines."""
    for _ in range(5):
        ada = await arena.add()
        stolen = await arena.sign_in(ada)
        crowd = [arena.refresh(ada, stolen, agent=agent) for agent in (FIREFOX, THIEF) * 4]
        got = [hold for hold in await asyncio.gather(*crowd) if hold is not None]
        assert len({hold.cookie for hold in got}) == 1
        await arena.check_dead(ada.holds)


async def test_many_tabs_share_one_line(arena: Arena):
    """Tabs that refresh together, round after round, always agree on the successor, whichever server they ask."""
    ada = await arena.add()
    jar = await arena.sign_in(ada)
    for _ in range(4):
        got = await asyncio.gather(*(arena.refresh(ada, jar) for _ in range(10)))
        assert all(got)
        assert len({hold.cookie for hold in got if hold}) == 1
        assert got[0] is not None
        assert got[0].cookie != jar.cookie
        jar = got[0]
    rotated = EventFilter(kind=EventKind.REFRESH_ROTATED, session_id=jar.session)
    assert len(await arena.operator.graph.audit.search(rotated)) == 4
    await arena.check_alive(ada, jar)


async def test_a_cookie_planted_before_a_login_is_dead_after_it(arena: Arena):
    """A login takes over no session: the one whose cookie came along ends, and the new one has another name."""
    ada, mallory = await arena.add(), await arena.add()
    planted = await arena.sign_in(mallory)
    mine = await arena.login(ada, over=planted)
    assert mine is not None
    assert mine.session != planted.session
    await arena.check_dead(mallory.holds)
    answer = await arena.ask("POST", "/logout", cookie=mine.cookie)
    assert cookie_in(answer) is None
    await arena.check_dead(ada.holds)
