"""A storm of logins: token checks go on, no more is hashed at once than allowed, and the rest is told to come back."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest

from tests.api.caller import PASSWORD, Caller, assert_problem
from tests.flows import prepared
from tokenkeep.passwords.argon2id import Argon2id
from tokenkeep.settings import Settings

STORM = 64


class Held:
    """Holds the checking of passwords in its threads until told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go_on = threading.Event()
        self.checked = 0
        self.under_way = 0
        self.most_at_once = 0
        self._counting = threading.Lock()
        self._verify: Callable[[Argon2id, str, str], bool] = Argon2id.verify

        def verify(argon2id: Argon2id, stored: str, password: str) -> bool:
            return self._hold(argon2id, stored, password)

        monkeypatch.setattr(Argon2id, "verify", verify)

    def _hold(self, argon2id: Argon2id, stored: str, password: str) -> bool:
        assert threading.current_thread() is not threading.main_thread()
        with self._counting:
            self.checked += 1
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
        self.go_on.wait(30)
        try:
            return self._verify(argon2id, stored, password)
        finally:
            with self._counting:
                self.under_way -= 1


@pytest.fixture
def settings(prepared_directory: Path, tmp_path: Path) -> Settings:
    """Settings of a server that checks two passwords at once and limits nobody."""
    directory = prepared.copy(prepared_directory, tmp_path / "data")
    return Settings(data_dir=directory, hash_concurrency=2, rate_limits=False)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """All checks of passwords are held."""
    return Held(monkeypatch)


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_token_checks_go_on_during_a_storm(call: Caller, held: Held):
    """With 64 logins in flight, none of which comes on, /me answers at once, and two passwords are being checked."""
    held.go_on.set()
    bearer = (await call.login()).access
    held.go_on.clear()
    held.checked = 0
    pool = call.server.graph.hasher
    pool._longest_wait = 60.0
    storm = [
        asyncio.create_task(call("POST", "/login", json={"name": f"nobody-{number}", "password": PASSWORD}))
        for number in range(STORM)
    ]
    await until(lambda: pool._pending == STORM and held.under_way == 2)
    for _ in range(20):
        assert (await call("GET", "/me", bearer=bearer)).status_code == 200
    refreshed = await call("GET", "/.well-known/jwks.json")
    assert refreshed.status_code == 200
    assert not any(task.done() for task in storm)
    assert (held.checked, held.most_at_once) == (2, 2)
    assert len(pool._threads._threads) == 2
    held.go_on.set()
    answers = await asyncio.gather(*storm)
    assert Counter(answer.status_code for answer in answers) == {401: STORM}
    assert (held.checked, held.most_at_once) == (STORM, 2)


async def test_what_would_wait_too_long_is_told_to_come_back(call: Caller, held: Held):
    """A login that could not be served within five seconds gets 503 with `Retry-After` at once, and is not hashed."""
    pool = call.server.graph.hasher
    for _ in range(60):
        pool._durations.note(pool._cost, 0.5)
    storm = [
        asyncio.create_task(call("POST", "/login", json={"name": "Ada", "password": PASSWORD})) for _ in range(STORM)
    ]
    await until(lambda: sum(task.done() for task in storm) + pool._pending == STORM)
    refused = [task.result() for task in storm if task.done()]
    # 20 half-second hashes on two threads are five seconds.
    assert 18 <= pool._pending <= 22
    for answer in refused:
        assert_problem(answer, "busy")
        assert int(answer.headers["retry-after"]) >= 1
    held.go_on.set()
    answers = await asyncio.gather(*storm)
    statuses = Counter(answer.status_code for answer in answers)
    # On a busy machine, the turn of some of those let in may come after their five seconds all the same.
    assert statuses.keys() == {200, 503}
    assert statuses[503] >= len(refused)
    assert statuses[200] == held.checked


async def test_every_sort_of_account_is_refused_with_the_same_bytes(call: Caller):
    """Unknown, wrong, disabled, passwordless, unusable and imported: status, body and headers are equal."""
    server = call.server
    for name in ("Disabled", "Passwordless", "Unusable", "Imported"):
        await server.accounts.create(name, PASSWORD, role="user", actor="operator")
    await server.accounts.disable("Disabled", actor="operator")
    imported = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    for name, stored in (
        ("Passwordless", None),
        ("Unusable", imported.replace("$04$", "$31$")),
        ("Imported", imported),
    ):
        await replace_hash(call, name, stored)
    seen = set()
    for name in ("Nobody", "Ada", "Disabled", "Passwordless", "Unusable", "Imported"):
        answer = await call("POST", "/login", json={"name": name, "password": "wrong-horse-battery"})
        assert_problem(answer, "invalid_credentials")
        headers = [(header, value) for header, value in answer.headers.multi_items() if header != "x-request-id"]
        seen.add((answer.status_code, answer.content, tuple(headers)))
    assert len(seen) == 1


async def replace_hash(call: Caller, name: str, stored: str | None) -> None:
    """Replace a stored hash behind the server's back."""
    storage = call.server.graph.storage

    async def steps(tx) -> None:
        account = await tx.accounts.find_by_name(name.casefold())
        await tx.accounts.set_password(account.id, password_hash=stored)

    await storage.transact(steps)


async def test_weak_password_is_refused_with_its_reason(call: Caller):
    """A new password that is easily guessed is 422 with the field and an explanation, and nothing changes."""
    session = await call.login()
    body = {"currentPassword": PASSWORD, "newPassword": "password1234567"}
    answer = await call("POST", "/password", json=body, bearer=session.access)
    assert_problem(
        answer,
        "invalid_field",
        "The password is easy to guess. This is similar to a commonly used password. "
        "Add another word or two. Uncommon words are better.",
        field="newPassword",
    )
    assert (await call("GET", "/me", bearer=session.access)).status_code == 200
    assert await call.login()
