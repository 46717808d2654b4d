"""/register: people make their own accounts where that is allowed, one a name, as users and nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.api.caller import ISSUER, PASSWORD, Caller, assert_problem
from tests.settable_clock import SettableClock
from tokenkeep.server import AuthServer
from tokenkeep.settings import Secret, Settings
from tokenkeep.settings.kinds import Rate, parse_duration

GRACE = {"name": "Grace", "password": PASSWORD}
SECRET = Secret("a server secret of thirty-two bytes or more")


@pytest.fixture
async def call(settings: Settings, clock: SettableClock) -> AsyncIterator[Caller]:
    """A caller of a server that lets anyone register."""
    async with AuthServer(replace(settings, registration=True), clock=clock) as server:
        yield Caller(server)


async def names(call: Caller) -> list[str]:
    """Return the names of all accounts."""
    return [account.name for account in await call.server.accounts.list()]


async def test_registered_account_can_log_in(call: Caller):
    """The answer tells who it is; no cookie is set, nobody is logged in, and the password works."""
    answer = await call("POST", "/register", json=GRACE)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    body = answer.json()
    assert (body["name"], body["role"]) == ("Grace", "user")
    assert body.keys() == {"id", "name", "role"}
    session = await call.login("Grace")
    assert (await call("GET", "/me", bearer=session.access)).json() == body


@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
async def test_by_default_there_is_no_registration(settings: Settings, clock: SettableClock, method: str):
    """Unless it is allowed, the path does not exist, whatever is asked of it."""
    async with AuthServer(settings, clock=clock) as server:
        answer = await Caller(server)(method, "/register", json=GRACE if method == "POST" else None)
        assert_problem(answer, "not_found")
        assert await names(Caller(server)) == ["Ada", "Root"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({**GRACE, "name": "Ada"}, "name_taken", None),
        ({**GRACE, "name": "ＡＤＡ"}, "name_taken", None),
        ({**GRACE, "name": ""}, "invalid_field", "name"),
        ({**GRACE, "name": "\u0430dmin"}, "invalid_field", "name"),
        ({**GRACE, "name": "Gr\u200bace"}, "invalid_field", "name"),
        ({**GRACE, "name": "x" * 129}, "invalid_field", "name"),
        ({**GRACE, "password": "too-short-one!"}, "invalid_field", "password"),
        ({**GRACE, "password": "x" * 1025}, "invalid_field", "password"),
        ({**GRACE, "password": "GraceGraceGrace"}, "invalid_field", "password"),
        ({"name": "Grace"}, "invalid_field", "password"),
        ({"password": PASSWORD}, "invalid_field", "name"),
        ({**GRACE, "role": "admin"}, "invalid_field", "role"),
        ({**GRACE, "password": None}, "invalid_field", "password"),
    ],
)
async def test_impossible_account_is_refused(call: Caller, body: dict[str, Any], code: str, field: str | None):
    """A name that is taken or deceives, a password that breaks a rule, and a role of one's own choice are refused."""
    answer = await call("POST", "/register", json=body)
    assert (answer.json()["code"], answer.json().get("field")) == (code, field)
    assert PASSWORD not in answer.text
    assert await names(call) == ["Ada", "Root"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": ISSUER}, 201),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ISSUER, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
    ],
    ids=str,
)
async def test_other_pages_register_nobody(call: Caller, headers: dict[str, str], status: int):
    """Only the issuer's pages, and what is no browser, may make accounts."""
    answer = await call("POST", "/register", json=GRACE, headers=headers)
    assert answer.status_code == status
    assert answer.status_code == 201 or answer.json()["code"] == "cross_site"
    assert ("Grace" in await names(call)) is (status == 201)


async def test_forms_are_refused(call: Caller):
    """What a form of any page can send without asking registers nobody."""
    answer = await call("POST", "/register", content=b'{"name":"Grace"}', headers={"Content-Type": "text/plain"})
    assert_problem(answer, "unsupported_media_type")


async def test_registration_is_logged(call: Caller):
    """The event names the new account as the one who did it, with its address and role."""
    made = (await call("POST", "/register", json=GRACE)).json()
    root = await call.login("Root")
    query = f"?event=account_created&accountId={made['id']}"
    [event] = (await call("GET", f"/admin/audit{query}", bearer=root.access)).json()["events"]
    assert (event["actor"], event["address"], event["detail"]) == (made["id"], "192.0.2.1", "user")


async def test_registrations_count_as_logins(settings: Settings, clock: SettableClock):
    """An address has one quota for logins and registrations together, and a refused one looks at nothing."""
    limited = replace(settings, registration=True, login_limit_address=Rate(3, parse_duration("1m")))
    async with AuthServer(limited, clock=clock) as server:
        call = Caller(server)
        await call.login("Ada")
        assert (await call("POST", "/register", json=GRACE)).status_code == 201
        assert (await call("POST", "/register", json={**GRACE, "name": "Ada"})).status_code == 409
        answer = await call("POST", "/register", json={**GRACE, "name": "Hedy"})
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
        assert int(answer.headers["retry-after"]) > 0
        assert "Hedy" not in await names(call)
        assert (await Caller(server, "198.51.100.7")("POST", "/register", json={**GRACE, "name": "Hedy"})).is_success


async def test_registrations_are_limited_in_all(settings: Settings, clock: SettableClock):
    """What hashes a password spends everyone's quota, and what is refused before spends nothing of it."""
    limited = replace(settings, registration=True, login_limit_everyone=Rate(2, parse_duration("1m")))
    async with AuthServer(limited, clock=clock) as server:
        call = Caller(server)
        for _ in range(3):
            assert (await call("POST", "/register", json={**GRACE, "name": "Ada"})).status_code == 409
        for name in ("Grace", "Hedy"):
            assert (await call("POST", "/register", json={**GRACE, "name": name})).status_code == 201
        answer = await call("POST", "/register", json={**GRACE, "name": "Mary"})
        assert answer.json()["code"] == "too_many_requests"


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.xdist_group("postgres")])]
)
def anywhere(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings of a server that lets anyone register, on each engine in turn."""
    open_to_all = replace(settings, registration=True, rate_limits=False)
    if request.param == "sqlite":
        return open_to_all
    url = request.getfixturevalue("postgres_schema").url
    return replace(open_to_all, database_url=Secret(url), secret=SECRET)


async def test_of_many_who_take_a_name_at_once_one_has_it(anywhere: Settings, clock: SettableClock):
    """Twenty registrations of one name make one account, whose password is the one of who was told so."""
    async with AuthServer(anywhere, clock=clock) as server:
        call = Caller(server)
        spellings = ("Grace", "GRACE", "grace", "Ｇrace")
        bodies = [{"name": spellings[turn % 4], "password": f"{PASSWORD}-{turn}"} for turn in range(20)]
        answers = await asyncio.gather(*(call("POST", "/register", json=body) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
        accounts = [account for account in await server.accounts.list() if account.name_key == "grace"]
        [winner] = [body for body, answer in zip(bodies, answers, strict=True) if answer.status_code == 201]
        assert [account.name for account in accounts] == [winner["name"]]
        assert await call.login("Grace", winner["password"])
