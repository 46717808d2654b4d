"""Refused logins: the same work whatever was wrong, and no time to tell them apart by.

The work is counted, which is exact. The time is measured too, since something else could give it away: what is
compared is the median of differences within a round, so that whatever else the machine does cancels out.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import argon2
import bcrypt
import pytest

from tests.flows import prepared
from tests.flows.stage import FIREFOX, PASSWORD, Stage, count_checks
from tokenkeep.domain.accounts import TEMPORARY_FOR
from tokenkeep.domain.errors import InvalidCredentials
from tokenkeep.domain.password_hashes import BcryptCost
from tokenkeep.flows.replace_password import Passwords
from tokenkeep.passwords.argon2id import Argon2id
from tokenkeep.settings import Settings

WRONG: Final = "wrong-horse-battery"
ROUNDS: Final = 100
BEYOND: Final = "$argon2id$v=19$m=262145,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$cqEcKKNc1Z4nkKzqjTtfw6V8xNXvSGUQ9Ggw7Wb0I0k"


@pytest.fixture
def settings(prepared_directory: Path, tmp_path: Path) -> Settings:
    """Settings of a server that lets anyone guess as often as they like."""
    directory = prepared.copy(prepared_directory, tmp_path / "data")
    return Settings(data_dir=directory, hash_concurrency=1, rate_limits=False)


@pytest.fixture
def cheap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the cost of new hashes by so many KiB, which no setting allows: hundreds are checked in seconds."""
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=request.param, parallelism=1)
    monkeypatch.setattr(Argon2id, "__init__", lambda argon2id, _parameters: setattr(argon2id, "_hasher", hasher))


async def people(stage: Stage) -> None:
    """Add one account of each sort that cannot log in with the wrong password."""
    await stage.server.accounts.create("Expired", PASSWORD, role="user", actor="operator", temporary=True)
    stage.clock.advance(TEMPORARY_FOR)
    for name in ("Ada", "Disabled", "Passwordless", "Unreadable", "Beyond"):
        await stage.add(name)
    await stage.server.accounts.disable("Disabled", actor="operator")
    for name, stored in (("Passwordless", None), ("Unreadable", "unreadable"), ("Beyond", BEYOND)):
        await stage.execute(
            "UPDATE accounts SET password_hash = $1, password_kind = NULL WHERE name = $2", stored, name
        )


async def with_bcrypt(stage: Stage, exponent: int) -> None:
    """Add an account with a bcrypt hash, and let the server notice."""
    await stage.add("Imported")
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(exponent)).decode()
    await stage.execute(
        "UPDATE accounts SET password_hash = $1, password_kind = $2 WHERE name = 'Imported'",
        stored,
        str(BcryptCost(exponent)),
    )
    await stage.parts.password_kinds.poll()


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("Ada", WRONG),
        ("Nobody", WRONG),
        ("Disabled", WRONG),
        ("Disabled", PASSWORD),
        ("Expired", WRONG),
        ("Expired", PASSWORD),
        ("Passwordless", WRONG),
        ("Unreadable", WRONG),
        ("Beyond", WRONG),
        ("Imported", WRONG),
        ("Imported", "x" * 73),
        ("Imported", PASSWORD + "\0"),
    ],
)
async def test_every_refusal_is_one_check(stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, password: str):
    """Exactly one hash is checked on every path: the account's own, or one of the current cost in its place."""
    await people(stage)
    await with_bcrypt(stage, 4)
    checked = count_checks(monkeypatch)
    with pytest.raises(InvalidCredentials) as refusal:
        await stage.login(name, password)
    assert (refusal.value.sentence, refusal.value.detail) == ("Invalid credentials", "")
    [stored] = checked
    assert stored.startswith("$2b$04$" if name == "Imported" else "$argon2id$v=19$m=19456,t=2,p=1$")
    if name not in {"Ada", "Imported"}:
        assert stored == await stage.parts.hasher.prepare()


async def test_wrong_current_password_is_one_check(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Whoever changes a password is checked once, too, also when the account was disabled meanwhile."""
    await people(stage)
    token = stage.read(await stage.login())
    checked = count_checks(monkeypatch)
    for disabled in (False, True):
        if disabled:
            await stage.server.accounts.disable("Ada", actor="operator")
        with pytest.raises(InvalidCredentials):
            await stage.parts.services.change_password.change(token, Passwords(WRONG, PASSWORD), FIREFOX)
    assert len(checked) == 2


async def refused_in(stage: Stage, name: str) -> float:
    """Return how many seconds a refused login takes; a password that has ended is the one that was right."""
    password = PASSWORD if name == "Expired" else WRONG
    began = time.perf_counter()
    with pytest.raises(InvalidCredentials):
        await stage.login(name, password)
    return time.perf_counter() - began


async def differences(names: list[str], measure: Callable[[str], Awaitable[float]]) -> dict[str, float]:
    """Return by how much each name takes longer than the first one, in the median over many mixed rounds."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    chance = random.Random(6)
    for _ in range(ROUNDS):
        for name in chance.sample(names, len(names)):
            taken[name].append(await measure(name))
    reference = taken[names[0]]
    return {
        name: statistics.median(one - other for one, other in zip(taken[name], reference, strict=True))
        for name in names[1:]
    }


def least(work: Callable[[], Any]) -> float:
    """Return how many seconds something takes when nothing disturbs it."""
    taken = []
    for _ in range(15):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


async def own_time(stage: Stage) -> float:
    """Return how many seconds the check of a hash of the current cost takes."""
    decoy = await stage.parts.hasher.prepare()
    return least(lambda: stage.parts.hasher._argon2id.verify(decoy, WRONG))


@pytest.mark.slow
@pytest.mark.parametrize("cheap", [6_144], indirect=True)
async def test_no_time_tells_who_exists(cheap: None, stage: Stage):
    """Over a hundred mixed rounds, no sort of account differs from a wrong password by half the time of a hash."""
    await people(stage)
    bound = await own_time(stage) / 2
    names = ["Ada", "Nobody", "Disabled", "Expired", "Passwordless", "Unreadable", "Beyond"]
    found = await differences(names, lambda name: refused_in(stage, name))
    assert {name: off for name, off in found.items() if abs(off) > bound} == {}, (found, bound)


@pytest.mark.slow
@pytest.mark.parametrize(("cheap", "exponent"), [(1_024, 6), (8_192, 4)], indirect=["cheap"], ids=["slower", "quicker"])
async def test_no_time_tells_who_was_imported(cheap: None, stage: Stage, exponent: int):
    """The same with bcrypt hashes among them, whether these take longer than new ones or less time."""
    await people(stage)
    await with_bcrypt(stage, exponent)
    imported = bcrypt.hashpw(b"", bcrypt.gensalt(exponent))
    bound = abs(least(lambda: bcrypt.checkpw(b"x", imported)) - await own_time(stage)) / 2
    names = ["Ada", "Imported", "Nobody", "Disabled", "Expired", "Passwordless", "Beyond"]
    found = await differences(names, lambda name: refused_in(stage, name))
    assert {name: off for name, off in found.items() if abs(off) > bound} == {}, (found, bound)
