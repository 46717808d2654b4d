"""/login with a temporary password: what it answers without a new one, with one, and to those who only guess."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.api.caller import PASSWORD, Caller, Login, assert_problem
from tests.settable_clock import START, SettableClock
from tokenkeep.domain.accounts import TEMPORARY_FOR, Account

TEMPORARY = "for-one-thing-only-7"
NEW = "another-good-password"
WRONG = "wrong-horse-battery"
ANOTHER = "The password must be another one than the temporary one"
LASTING = "The password is not a temporary one; change it with POST /password"


@pytest.fixture
async def hedy(call: Caller) -> Account:
    """The account Hedy, who has been given a temporary password."""
    return await call.server.accounts.create("Hedy", TEMPORARY, role="user", actor="operator", temporary=True)


async def enter(
    call: Caller, new: Any = NEW, *, name: str = "Hedy", password: str = TEMPORARY, **sent: Any
) -> httpx2.Response:
    """Log in with a password and with what is to replace it."""
    return await call("POST", "/login", json={"name": name, "password": password, "newPassword": new}, **sent)


async def test_it_has_an_answer_of_its_own(call: Caller, hedy: Account):
    """403 with a code for programs; neither a token nor a cookie, and the cookie that came with it goes on."""
    ada = await call.login("Ada")
    for body in ({}, {"newPassword": None}, {"delivery": "body"}):
        answer = await call("POST", "/login", json={"name": "Hedy", "password": TEMPORARY, **body}, cookie=ada.refresh)
        assert_problem(answer, "password_change_required")
        assert "set-cookie" not in answer.headers
    assert (await call("GET", "/me", bearer=ada.access)).status_code == 200


@pytest.mark.parametrize("delivery", ["cookie", "body"])
async def test_a_new_one_beside_it_opens_a_session(call: Caller, hedy: Account, delivery: str):
    """The answer is that of any login, and from then on the new password is the password."""
    body = {"name": "Hedy", "password": TEMPORARY, "newPassword": NEW, "delivery": delivery}
    answer = await call("POST", "/login", json=body)
    assert answer.status_code == 200
    in_body = {"refreshToken"} if delivery == "body" else set()
    assert answer.json().keys() == {"accessToken", "tokenType", "expiresIn"} | in_body
    assert ("set-cookie" in answer.headers) is (delivery == "cookie")
    me = await call("GET", "/me", bearer=Login.of(answer).access)
    assert me.json() == {"id": hedy.id, "name": "Hedy", "role": "user"}
    assert_problem(await enter(call), "invalid_credentials")
    await call.login("Hedy", NEW)


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ("short", "The password must have at least 15 characters"),
        (TEMPORARY, ANOTHER),
        (7, None),
        ([NEW], None),
    ],
)
async def test_a_new_one_that_may_not_be_set_is_named(call: Caller, hedy: Account, new: object, sentence: str | None):
    """422 under the name of the field, and the temporary password can still be used."""
    answer = await enter(call, new)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (422, "invalid_field", "newPassword")
    assert sentence is None or problem["error"] == sentence
    assert (await enter(call)).status_code == 200


async def test_a_lasting_one_is_not_replaced(call: Caller):
    """Whoever knows a lasting password is shown the way to change it; whoever does not gets the usual refusal."""
    assert_problem(await enter(call, name="Ada", password=PASSWORD), "invalid_field", LASTING, field="newPassword")
    assert_problem(await enter(call, name="Ada", password=WRONG), "invalid_credentials")
    await call.login("Ada")


@pytest.mark.parametrize("new", [None, NEW, "short", WRONG])
async def test_who_only_guesses_is_always_told_the_same(
    call: Caller, hedy: Account, clock: SettableClock, new: str | None
):
    """Temporary, lasting, ended, disabled and unknown: status, headers and body are the same, byte for byte."""
    accounts = call.server.accounts
    await accounts.create("Late", TEMPORARY, role="user", actor="operator", temporary=True)
    clock.advance(TEMPORARY_FOR)
    await accounts.set_password("Hedy", TEMPORARY, actor="operator", temporary=True)
    await accounts.create("Eve", TEMPORARY, role="user", actor="operator", temporary=True)
    await accounts.disable("Eve", actor="operator")
    guesses = [
        ("Hedy", WRONG + "!"),
        ("Ada", WRONG + "!"),
        ("Nobody", TEMPORARY),
        ("Late", TEMPORARY),
        ("Eve", TEMPORARY),
    ]
    answers = [
        await enter(call, new, name=name, password=password, headers={"X-Request-ID": "the-same-id"})
        for name, password in guesses
    ]
    assert {answer.content for answer in answers} == {answers[0].content}
    assert all(answer.headers.multi_items() == answers[0].headers.multi_items() for answer in answers)
    assert_problem(answers[0], "invalid_credentials")


async def test_administrators_see_when_it_ends(call: Caller, hedy: Account):
    """An account shows the end of its temporary password in seconds, until it is replaced; others show nothing."""
    root = await call.login("Root")

    async def shown() -> dict[str, Any]:
        listed = (await call("GET", "/admin/users", bearer=root.access)).json()["users"]
        return {user["name"]: user.get("passwordExpiresAt") for user in listed}

    end = (START + TEMPORARY_FOR) // 1000
    assert await shown() == {"Ada": None, "Hedy": end, "Root": None}
    assert (await call("GET", f"/admin/users/{hedy.id}", bearer=root.access)).json()["passwordExpiresAt"] == end
    await enter(call)
    assert await shown() == {"Ada": None, "Hedy": None, "Root": None}
