"""/admin/audit: administrators search what happened, page by page, and see no secret."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.caller import PASSWORD, Caller, Login, assert_problem
from tests.settable_clock import START, SettableClock


@pytest.fixture
async def root(call: Caller, clock: SettableClock) -> Login:
    """An administrator, in whose log are two logins of Ada and a refused one, a second apart."""
    clock.advance(1_000)
    await call.login("Ada")
    clock.advance(1_000)
    await call("POST", "/login", json={"name": "Ada", "password": "wrong-horse-battery"})
    await call.server.graph.refusals.flush()
    clock.advance(1_000)
    await Caller(call.server, "198.51.100.7").login("Ada")
    clock.advance(1_000)
    return await call.login("Root")


async def found(call: Caller, root: Login, query: str = "") -> dict[str, Any]:
    """Return a page of events."""
    answer = await call("GET", f"/admin/audit{query}", bearer=root.access)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def subject(call: Caller, name: str) -> str:
    """Return the id of an account."""
    return next(each.id for each in await call.server.accounts.list() if each.name == name)


async def test_events_tell_the_whole_story(call: Caller, root: Login):
    """Each event has its time, kind, outcome and actor, whom it concerns, and where it came from; the newest first."""
    ada = await subject(call, "Ada")
    roots, third, refused, *_ = (await found(call, root))["events"]
    assert roots["event"] == "session_started"
    assert third == {
        "id": third["id"],
        "at": START // 1000 + 3,
        "event": "session_started",
        "outcome": "done",
        "actor": ada,
        "accountId": ada,
        "sessionId": third["sessionId"],
        "address": "198.51.100.7",
        "userAgent": third["userAgent"],
        "detail": "pwd",
    }
    assert len(third["sessionId"]) == 22
    assert third["userAgent"].startswith("python-httpx")
    assert (refused["event"], refused["outcome"], refused["actor"]) == ("login_refused", "refused", "anyone")
    assert (refused["accountId"], refused["detail"]) == (ada, "wrong password")


async def test_events_are_found(call: Caller, root: Login):
    """By kind, actor, account, session, address and time, and by several at once."""
    ada = await subject(call, "Ada")
    everything = (await found(call, root))["events"]
    session = everything[1]["sessionId"]
    start = START // 1000
    for query, count in (
        ("?event=login_refused", 1),
        ("?actor=anyone", 1),
        (f"?actor={ada}", 2),
        (f"?accountId={ada}", 4),
        (f"?sessionId={session}", 1),
        ("?address=198.51.100.7", 1),
        (f"?since={start + 3}", 2),
        (f"?before={start + 2}&event=session_started", 1),
        (f"?since={start + 1}&before={start + 3}&accountId={ada}", 2),
        (f"?accountId={ada}&event=session_started&address=192.0.2.1", 1),
        ("?accountId=" + "A" * 22, 0),
        ("?since=9999999999", 0),
    ):
        assert len((await found(call, root, query))["events"]) == count, query


async def test_pages_hold_every_event_once(call: Caller, root: Login):
    """Pages follow each other without a gap or a repetition, also among events of one instant."""
    for _ in range(3):
        await call.login("Root")
    everything = (await found(call, root, "?limit=200"))["events"]
    for limit in (1, 2, 5):
        seen: list[dict[str, Any]] = []
        query = f"?limit={limit}"
        while True:
            page = await found(call, root, query)
            seen += page["events"]
            if "next" not in page:
                break
            assert len(page["events"]) == limit
            query = f"?limit={limit}&olderThan={page['next']}"
        assert seen == everything


async def test_what_an_administrator_did_is_found_by_who_did_it(call: Caller, root: Login):
    """Changes carry the administrator as the actor, with the address that the request came from."""
    ada, admin = await subject(call, "Ada"), await subject(call, "Root")
    await call("POST", f"/admin/users/{ada}/disable", bearer=root.access)
    [disabled] = (await found(call, root, f"?actor={admin}&event=account_disabled"))["events"]
    assert (disabled["accountId"], disabled["address"], disabled["outcome"]) == (ada, "192.0.2.1", "done")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?event=nonsense", "event"),
        ("?event=null", "event"),
        ("?accountId=x", "accountId"),
        ("?accountId=" + "A" * 22 + "%0A", "accountId"),
        ("?sessionId=" + "%00" * 22, "sessionId"),
        ("?address=a%20b", "address"),
        ("?address=" + "1" * 65, "address"),
        ("?actor=' OR 1=1", "actor"),
        ("?since=-1", "since"),
        ("?since=yesterday", "since"),
        ("?before=" + "9" * 20, "before"),
        ("?olderThan=x", "olderThan"),
        ("?olderThan=" + "g" * 12 + "-00000000-00000000", "olderThan"),
        ("?limit=0", "limit"),
        ("?limit=201", "limit"),
    ],
)
async def test_what_cannot_be_searched_for_is_named(call: Caller, root: Login, query: str, field: str):
    """A value that no event can have is refused by its name."""
    answer = await call("GET", f"/admin/audit{query.replace(' ', '%20')}", bearer=root.access)
    assert (answer.status_code, answer.json()["code"], answer.json().get("field")) == (422, "invalid_field", field)


async def test_the_log_holds_no_secret(call: Caller, root: Login):
    """Neither tokens nor passwords, nor a name that nobody has, are in the log."""
    await call("POST", "/login", json={"name": "my-own-password", "password": PASSWORD})
    await call("POST", "/refresh", cookie=root.refresh[:-4] + "AAAA")
    await call("GET", "/me", bearer=root.access[:-4] + "AAAA")
    created = await call("POST", "/admin/users", json={"name": "Grace"}, bearer=root.access)
    await call.server.graph.refusals.flush()
    text = str(await found(call, root, "?limit=200"))
    for secret in (PASSWORD, "my-own-password", root.refresh[:40], root.access[:60], created.json()["firstPassword"]):
        assert secret not in text


async def test_the_log_is_for_administrators(call: Caller):
    """Users see nothing of it."""
    ada = await call.login("Ada")
    answer = await call("GET", "/admin/audit", bearer=ada.access)
    assert_problem(answer, "forbidden", challenge='Bearer error="insufficient_scope"')
