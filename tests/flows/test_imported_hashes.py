"""Hashes of other systems: they let their owners in once, and are Argon2id from then on; which are stored is known."""

from __future__ import annotations

import asyncio

import bcrypt
import pytest

from tests.flows.stage import PASSWORD, Stage
from tests.settable_clock import SettableClock
from tokenkeep.domain.errors import HashingBusy, InvalidCredentials
from tokenkeep.domain.password_hashes import BcryptCost, HashCost, read_hash
from tokenkeep.flows.follow_password_kinds import FollowPasswordKinds
from tokenkeep.flows.import_accounts import ImportRow
from tokenkeep.passwords import Argon2Parameters
from tokenkeep.passwords.argon2id import Argon2id
from tokenkeep.server import AuthServer
from tokenkeep.settings import Settings

OWN = "argon2id m=19456,t=2,p=1"


def bcrypt_hash(password: str = PASSWORD, prefix: str = "2b") -> str:
    """Return a hash as another system stores it."""
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode().replace("$2b$", f"${prefix}$")


async def import_hash(stage: Stage, stored: str | None, name: str = "Ada") -> None:
    """Import one account."""
    importer = stage.parts.import_accounts
    async for _ in importer.store(lambda: [ImportRow(1, name, password_hash=stored)], actor="operator"):
        pass


@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
async def test_bcrypt_hash_is_upgraded_by_the_login_it_lets_in(stage: Stage, prefix: str):
    """A wrong password leaves an imported hash, the right one replaces it; from then on there is nothing to replace."""
    imported = bcrypt_hash(prefix=prefix)
    await import_hash(stage, imported)
    with pytest.raises(InvalidCredentials):
        await stage.login(password="wrong-horse-battery")
    assert (await stage.account())["password_hash"] == imported
    assert stage.accepts(await stage.login())
    upgraded = await stage.account()
    assert str(read_hash(upgraded["password_hash"])) == OWN
    assert (upgraded["password_kind"], upgraded["token_version"]) == (OWN, 1)
    assert stage.accepts(await stage.login())
    assert (await stage.account())["password_hash"] == upgraded["password_hash"]
    with pytest.raises(InvalidCredentials):
        await stage.login(password=PASSWORD + "x")


@pytest.mark.parametrize(
    ("password", "presented"),
    [
        ("x" * 80, "x" * 80),
        ("x" * 72, "x" * 73),
        ("x" * 72 + "a", "x" * 72 + "b"),
        ("before", "before\0after"),
    ],
)
async def test_what_bcrypt_does_not_see_is_refused(stage: Stage, password: str, presented: str):
    """Beyond 72 bytes and after NUL nothing is compared by bcrypt, so that nothing of the kind logs in or upgrades."""
    imported = bcrypt_hash(password)
    await import_hash(stage, imported)
    with pytest.raises(InvalidCredentials):
        await stage.login(password=presented)
    assert (await stage.account())["password_hash"] == imported


async def test_short_imported_password_logs_in(stage: Stage):
    """Rules for new passwords are not asked of those that exist."""
    await import_hash(stage, bcrypt_hash("secret"))
    assert stage.accepts(await stage.login(password="secret"))


async def test_account_without_a_hash_waits_for_a_password(stage: Stage):
    """An account that was imported without a hash can be given a password, and then logs in."""
    await import_hash(stage, None)
    with pytest.raises(InvalidCredentials):
        await stage.login(password="")
    await stage.server.accounts.set_password("Ada", PASSWORD, actor="operator")
    assert stage.accepts(await stage.login())


async def test_login_does_not_fail_for_want_of_an_upgrade(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """When too much is going on to make a new hash, the login succeeds and the old one stays for the next time."""
    imported = bcrypt_hash()
    await import_hash(stage, imported)

    async def busy(_password: str) -> str:
        raise HashingBusy

    with monkeypatch.context() as patch:
        patch.setattr(stage.parts.hasher, "hash", busy)
        assert stage.accepts(await stage.login())
    assert (await stage.account())["password_hash"] == imported
    await stage.login()
    assert (await stage.account())["password_hash"] != imported


class Told:
    """Stands for the hasher, and remembers what it is told."""

    def __init__(self) -> None:
        self.kinds: list[set[HashCost]] = []

    async def expect(self, stored: list[HashCost]) -> None:
        """Remember."""
        self.kinds.append(set(stored))


async def test_hasher_is_told_what_is_stored(stage: Stage):
    """The kinds are those of the accounts that are there now: imported ones count, upgraded and deleted ones do not."""
    follow = FollowPasswordKinds(stage.parts.storage, told := Told())  # type: ignore[arg-type]
    await follow.poll()
    await stage.add("Grace")
    await import_hash(stage, bcrypt_hash())
    await import_hash(stage, None, "Passwordless")
    await import_hash(stage, Argon2id(Argon2Parameters(7_168, 5)).hash(PASSWORD), "Alan")
    await follow.poll()
    await stage.login()
    await stage.server.accounts.delete("Alan", actor="operator")
    await follow.poll()
    named = [{str(kind) for kind in kinds} for kinds in told.kinds]
    assert named == [set(), {OWN, "bcrypt 04", "argon2id m=7168,t=5,p=1"}, {OWN}]


async def test_server_knows_from_its_start_what_is_stored(settings: Settings, clock: SettableClock):
    """A server that opens on a database with old hashes has measured them before it answers anyone."""
    async with AuthServer(settings, clock=clock) as server:
        await import_hash(Stage(server, clock), bcrypt_hash())
    async with AuthServer(settings, clock=clock) as server:
        assert server.graph.hasher._others == {BcryptCost(4)}
        assert BcryptCost(4) in server.graph.hasher._durations


async def test_open_server_notices_an_import(settings: Settings, clock: SettableClock):
    """Hashes that a command imports beside the server are known within seconds."""
    async with AuthServer(settings, clock=clock) as server:
        assert server.graph.hasher._others == set()
        await import_hash(Stage(server, clock), bcrypt_hash())
        async with asyncio.timeout(10):
            while server.graph.hasher._others != {BcryptCost(4)}:
                await asyncio.sleep(0.01)
