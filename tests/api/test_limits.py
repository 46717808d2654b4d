"""Limits over HTTP: what a 429 says, whose address counts, and that no header or crowd gets more in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import httpx2
import pytest

from tests.api.caller import PASSWORD, SECURITY_HEADERS, Caller
from tests.flows.stage import count_checks
from tests.settable_clock import SettableClock
from tokenkeep.domain.audit import EventFilter, EventKind
from tokenkeep.passwords.argon2id import Argon2id
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings
from tokenkeep.settings.kinds import Rate

MINUTE = timedelta(minutes=1)
PROXY = "192.0.2.99"
ITEM = re.compile(r'"([a-z-]+)"((?:;[a-z]=\d+)+)')


@pytest.fixture(autouse=True)
def no_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check of a password costs nothing, and is right only for the right one."""
    monkeypatch.setattr(Argon2id, "verify", lambda _, stored, password: password == PASSWORD)
    monkeypatch.setattr(Argon2id, "outdated", lambda _, stored: False)


@pytest.fixture
async def limited(settings: Settings, clock: SettableClock) -> AsyncIterator[AuthServer]:
    """A server with low limits, behind one trusted proxy."""
    low = replace(
        settings,
        login_limit_address=Rate(12, MINUTE),
        refresh_limit_address=Rate(3, MINUTE),
        login_limit_everyone=Rate(30, MINUTE),
        trusted_proxies=(PROXY,),
    )
    async with AuthServer(low, clock=clock) as server:
        yield server


def fields(answer: httpx2.Response) -> dict[str, tuple[str, dict[str, int]]]:
    """Return the RateLimit fields of an answer as name and parameters; each must be one item of structured fields."""
    read = {}
    for field in ("RateLimit", "RateLimit-Policy"):
        [value] = answer.headers.get_list(field)
        match = ITEM.fullmatch(value)
        assert match is not None, value
        read[field] = match[1], {name: int(text) for name, text in re.findall(r";([a-z])=(\d+)", match[2])}
    return read


async def guess(server: AuthServer, address: str, name: str = "Ada", **sent: dict[str, str]) -> httpx2.Response:
    """Return the answer to a wrong password from an address."""
    return await Caller(server, address)(
        "POST", "/login", json={"name": name, "password": "wrong-horse-battery"}, **sent
    )


async def test_a_name_that_must_rest_is_answered_429(limited: AuthServer, clock: SettableClock):
    """The answer is a whole problem document that says when to come again, in both ways, and then it is true."""
    for _ in range(8):
        assert (await guess(limited, "203.0.113.1")).status_code == 401
    answer = await guess(limited, "203.0.113.1")
    assert answer.json() == {
        "type": "about:blank",
        "title": "Too Many Requests",
        "status": 429,
        "code": "too_many_requests",
        "error": "Too many attempts, try again later",
    }
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert fields(answer) == {
        "RateLimit": ("login-name", {"r": 0, "t": 1}),
        "RateLimit-Policy": ("login-name", {"q": 1, "w": 300}),
    }
    clock.elapse(int(answer.headers["Retry-After"]))
    assert (await guess(limited, "203.0.113.1")).status_code == 401


async def test_each_quota_says_its_name_and_size(limited: AuthServer, clock: SettableClock):
    """Address, all together, and refreshes: each 429 carries its own policy, and its wait is long enough."""
    for number in range(12):
        await guess(limited, "203.0.113.1", f"Name {number}")
    answer = await guess(limited, "203.0.113.1", "Another")
    assert fields(answer)["RateLimit-Policy"] == ("login-address", {"q": 12, "w": 60})
    wait = int(answer.headers["Retry-After"])
    assert fields(answer)["RateLimit"] == ("login-address", {"r": 0, "t": wait})
    clock.elapse(wait)
    assert (await guess(limited, "203.0.113.1", "Another")).status_code == 401
    for number in range(40):
        answer = await guess(limited, f"203.0.113.{number + 2}", f"Name {number}")
    assert fields(answer)["RateLimit-Policy"] == ("login-everyone", {"q": 30, "w": 60})
    for _ in range(4):
        answer = await Caller(limited, "203.0.113.1")("POST", "/refresh", cookie="tkr_nonsense")
    assert answer.status_code == 429
    assert fields(answer)["RateLimit-Policy"] == ("refresh-address", {"q": 3, "w": 60})


async def test_a_429_is_the_same_whether_or_not_the_name_exists(limited: AuthServer):
    """Status, body and headers tell a stranger nothing about which names there are."""
    answers = []
    for name in ("Ada", "Nobody"):
        for number in range(9):
            answer = await guess(limited, f"203.0.113.{number}", name, headers={"X-Request-ID": "the-same-id"})
        answers.append(answer)
    assert [answer.status_code for answer in answers] == [429, 429]
    assert answers[0].content == answers[1].content
    assert answers[0].headers.multi_items() == answers[1].headers.multi_items()


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP"])
async def test_no_header_of_a_stranger_names_the_address(limited: AuthServer, header: str):
    """Whoever is no proxy of ours counts by the address of the connection, whatever the headers claim."""
    statuses = []
    for number in range(13):
        claimed = f"for=10.0.0.{number}" if header == "Forwarded" else f"10.0.0.{number}"
        answer = await guess(limited, "203.0.113.1", f"Name {number}", headers={header: claimed})
        statuses.append(answer.status_code)
    assert statuses == [401] * 12 + [429]


async def test_the_proxy_vouches_for_one_hop_only(limited: AuthServer):
    """Behind the proxy the client is the hop that it saw; what the client wrote before it is nobody's word."""
    statuses = []
    for number in range(13):
        hops = f"10.0.0.{number}, 198.51.100.7"
        answer = await guess(limited, PROXY, f"Name {number}", headers={"X-Forwarded-For": hops})
        statuses.append(answer.status_code)
    assert statuses == [401] * 12 + [429]
    other = {"X-Forwarded-For": "198.51.100.7, 198.51.100.8"}
    assert (await guess(limited, PROXY, "Another", headers=other)).status_code == 401


async def test_one_network_of_ipv6_is_one_client(limited: AuthServer):
    """Whoever has a whole /64 to send from has the room of one address; the next /64 is somebody else."""
    statuses = [(await guess(limited, f"2001:db8::{number:x}", f"Name {number}")).status_code for number in range(13)]
    assert statuses == [401] * 12 + [429]
    assert (await guess(limited, "2001:db8:0:1::1", "Another")).status_code == 401


async def test_a_crowd_of_guesses_costs_no_more_hashes_than_there_is_room(
    limited: AuthServer, monkeypatch: pytest.MonkeyPatch
):
    """Of two hundred guesses at one name at once, from everywhere, as many are checked as there is room for."""
    checked = count_checks(monkeypatch)
    crowd = (guess(limited, f"203.{number}.113.1") for number in range(200))
    statuses = [answer.status_code for answer in await asyncio.gather(*crowd)]
    assert len(checked) == statuses.count(401) == 6 + 12
    assert statuses.count(429) == 200 - 18


async def test_refused_attempts_are_counted_and_not_written(limited: AuthServer):
    """A 429 leaves no event: the audit log is not for strangers to fill. The metric of answers has it."""
    for _ in range(11):
        await guess(limited, "203.0.113.1")
    await limited.graph.refusals.flush()
    assert len(await limited.graph.audit.search(EventFilter(kind=EventKind.LOGIN_REFUSED))) == 8
    metrics = limited.graph.services.metrics().decode()
    assert 'tokenkeep_requests_total{method="POST",route="/login",status="429"} 3.0' in metrics
