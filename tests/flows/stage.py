"""An opened server seen from the inside: its flows, its clock, and what is in its database."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.settable_clock import SettableClock
from tokenkeep.assembly import ObjectGraph
from tokenkeep.contract.access_token import AccessToken
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.sessions import Client, Delivery, RefreshToken
from tokenkeep.flows.issue_tokens import TokenPair
from tokenkeep.flows.login import Credentials
from tokenkeep.passwords import bcrypt_hashes
from tokenkeep.passwords.argon2id import Argon2id
from tokenkeep.server import AuthServer
from tokenkeep.storage.sql.database import Database, SqlTransaction, Value
from tokenkeep.storage.sql.stores import SqlStorage
from tokenkeep.verifier import InvalidToken

PASSWORD: Final = "correct-horse-battery"
FIREFOX: Final = Client("Firefox", "192.0.2.1")
CURL: Final = Client("curl", "192.0.2.2")

Row = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A server with its clock, and one method for each thing that a test does."""

    server: AuthServer
    clock: SettableClock

    @property
    def parts(self) -> ObjectGraph:
        """What the server is made of."""
        return self.server.graph

    @property
    def database(self) -> Database:
        """The database below the stores."""
        storage = self.parts.storage
        assert isinstance(storage, SqlStorage)
        return storage._database

    async def add(self, name: str = "Ada", *, role: str = "user", password: str = PASSWORD) -> Account:
        """Create an account."""
        return await self.server.accounts.create(name, password, role=role, actor="operator")

    async def login(
        self,
        name: str = "Ada",
        password: str = PASSWORD,
        *,
        client: Client = FIREFOX,
        delivery: Delivery = Delivery.COOKIE,
        audience: str | None = None,
        replaces: str | None = None,
    ) -> TokenPair:
        """Log in; `replaces` is the text of the refresh token that came with the request."""
        return await self.parts.services.login.login(
            Credentials(name, password),
            client,
            delivery=delivery,
            audience=audience,
            replaces=RefreshToken.parse(replaces) if replaces else None,
        )

    async def refresh(
        self,
        presented: str,
        *,
        client: Client = FIREFOX,
        delivery: Delivery = Delivery.COOKIE,
        audience: str | None = None,
        waits: bool = True,
    ) -> TokenPair:
        """Present a refresh token; who does not wait has hung up before it is judged."""

        async def still_waits() -> bool:
            return waits

        return await self.parts.services.refresh.refresh(
            presented, client, delivery=delivery, audience=audience, still_waits=still_waits
        )

    async def logout(self, presented: str, client: Client = FIREFOX) -> bool:
        """Log out with a refresh token; tells whether a session ended."""
        return await self.parts.services.logout.logout(presented, client)

    def read(self, pair: TokenPair) -> AccessToken:
        """Return what a pair's access token says, if the server accepts it."""
        return self.server.verifier.verify(pair.access_token)

    def accepts(self, pair: TokenPair) -> bool:
        """Tell whether the server accepts a pair's access token now."""
        try:
            self.read(pair)
        except InvalidToken:
            return False
        return True

    async def rows(self, sql: str, *values: Value) -> list[Row]:
        """Return what a statement finds in the database."""

        async def steps(tx: SqlTransaction) -> list[Row]:
            return [dict(row) for row in await tx.fetch(sql, *values)]

        return await self.database.read(steps)

    async def execute(self, sql: str, *values: Value) -> None:
        """Change the database behind the server's back."""

        async def steps(tx: SqlTransaction) -> int:
            return await tx.execute(sql, *values)

        assert await self.database.transact(steps) == 1

    async def session(self, presented: str) -> Row:
        """Return the stored session of a refresh token."""
        [row] = await self.rows("SELECT * FROM sessions WHERE id = $1", RefreshToken.parse(presented).session_id)
        return row

    async def account(self, name: str = "Ada") -> Row:
        """Return a stored account."""
        [row] = await self.rows("SELECT * FROM accounts WHERE name = $1", name)
        return row

    async def events(self, *kinds: str) -> list[Row]:
        """Return the audit events of these kinds, all without any, in their order and without their ids."""
        rows = await self.rows("SELECT * FROM audit_events ORDER BY rowid")
        return [
            {name: value for name, value in row.items() if name != "id"}
            for row in rows
            if not kinds or row["kind"] in kinds
        ]

    async def revocations(self) -> list[Row]:
        """Return the list of revocations."""
        return await self.rows("SELECT * FROM revocations ORDER BY number")

    async def contents(self) -> dict[str, list[Row]]:
        """Return everything stored that a refused request must leave as it is; that it was refused may be noted."""
        tables = ("accounts", "sessions", "revocations", "revocation_head", "signing_keys")
        stored = {table: await self.rows(f"SELECT * FROM {table} ORDER BY rowid") for table in tables}
        events = [event for event in await self.events() if not event["kind"].endswith("_refused")]
        return {**stored, "audit_events": events}


def hash_for_nothing(monkeypatch: Any) -> None:
    """Have passwords cost nothing, for tests that make many attempts: what is stored looks like any other hash."""

    def stand_in(_: Argon2id, password: str) -> str:
        digest = base64.b64encode(hashlib.sha256(password.encode()).digest()).decode().rstrip("=")
        return f"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA${digest}"

    monkeypatch.setattr(Argon2id, "hash", stand_in)
    monkeypatch.setattr(Argon2id, "verify", lambda argon2id, stored, password: stored == stand_in(argon2id, password))


def count_checks(monkeypatch: Any) -> list[str]:
    """Return a list that grows by the stored hash with every password check from here on."""
    checked: list[str] = []
    original: Callable[[Argon2id, str, str], bool] = Argon2id.verify
    original_bcrypt = bcrypt_hashes.verify

    def verify_bcrypt(stored: str, password: str) -> bool:
        checked.append(stored)
        return original_bcrypt(stored, password)

    def verify(argon2id: Argon2id, stored: str, password: str) -> bool:
        checked.append(stored)
        return original(argon2id, stored, password)

    monkeypatch.setattr(Argon2id, "verify", verify)
    monkeypatch.setattr(bcrypt_hashes, "verify", verify_bcrypt)
    return checked
