"""Accounts in SQL."""

from __future__ import annotations

from tokenkeep.domain.accounts import Account
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.password_hashes import HashCost, cost_of, parse_kind
from tokenkeep.storage.sql.database import Row, SqlTransaction

_COLUMNS = """
    id, name, name_key, role, password_hash, token_version, created_at, last_login_at, disabled_at, password_expires_at
"""


class SqlAccounts:
    """The account statements of one transaction (port `AccountStore`)."""

    __slots__ = ("_tx",)

    def __init__(self, tx: SqlTransaction) -> None:
        self._tx = tx

    async def find(self, account_id: AccountId) -> Account | None:
        """Return the account with that id."""
        return _account(await self._tx.fetch_one(f"SELECT {_COLUMNS} FROM accounts WHERE id = $1", account_id))

    async def find_by_name(self, name_key: str) -> Account | None:
        """Return the account whose name has that key."""
        return _account(await self._tx.fetch_one(f"SELECT {_COLUMNS} FROM accounts WHERE name_key = $1", name_key))

    async def page(self, after: str, limit: int) -> list[Account]:
        """Return accounts in the order of their name keys, from the first one after `after`."""
        rows = await self._tx.fetch(
            f"SELECT {_COLUMNS} FROM accounts WHERE name_key > $1 ORDER BY name_key LIMIT $2", after, limit
        )
        return [account_from(row) for row in rows]

    async def count(self) -> int:
        """Return how many accounts there are."""
        row = await self._tx.fetch_one("SELECT count(*) AS accounts FROM accounts")
        return int(row["accounts"]) if row else 0

    async def password_kinds(self) -> list[HashCost]:
        """Return the kinds of usable password hashes that are stored, each once.

        Each step looks up the next kind in the index, so that the cost is that of the kinds and not of the accounts.
        """
        rows = await self._tx.fetch(
            """
            WITH RECURSIVE kinds (kind) AS (
                SELECT min(password_kind) FROM accounts
                UNION ALL
                SELECT (SELECT min(password_kind) FROM accounts WHERE password_kind > kinds.kind)
                FROM kinds WHERE kinds.kind IS NOT NULL
            )
            SELECT kind FROM kinds WHERE kind IS NOT NULL
            """
        )
        costs = [parse_kind(row["kind"]) for row in rows]
        return [cost for cost in costs if cost is not None]

    async def add(self, account: Account) -> bool:
        """Store a new account; False if its name is taken."""
        added = await self._tx.execute(
            """
            INSERT INTO accounts
                (id, name, name_key, role, password_hash, password_kind, token_version, created_at, disabled_at,
                password_expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            ON CONFLICT (name_key) DO NOTHING
            """,
            account.id,
            account.name,
            account.name_key,
            account.role,
            account.password_hash,
            _kind(account.password_hash),
            account.token_version,
            account.created_at,
            account.disabled_at,
            account.password_expires_at,
        )
        return added == 1

    async def claim_for_login(self, account: Account, *, password_hash: str, now: int) -> bool:
        """Take the account's row for a login, storing `password_hash`; False if it changed since it was read.

        A temporary password opens nothing: such an account is not taken either.
        """
        claimed = await self._tx.execute(
            """
            UPDATE accounts SET last_login_at = $1, password_hash = $2, password_kind = $6
            WHERE id = $3 AND token_version = $4 AND password_hash = $5 AND disabled_at IS NULL
                AND password_expires_at IS NULL
            """,
            now,
            password_hash,
            account.id,
            account.token_version,
            account.password_hash,
            _kind(password_hash),
        )
        return claimed == 1

    async def set_password(
        self, account_id: AccountId, *, password_hash: str, expires_at: int | None = None
    ) -> Account | None:
        """Replace the password and raise the token version; returns the account as it now is.

        With `expires_at` the password is a temporary one until then; otherwise it lasts.
        """
        row = await self._tx.fetch_one(
            f"""
            UPDATE accounts
            SET password_hash = $2, password_kind = $3, password_expires_at = $4, token_version = token_version + 1
            WHERE id = $1
            RETURNING {_COLUMNS}
            """,
            account_id,
            password_hash,
            _kind(password_hash),
            expires_at,
        )
        return _account(row)

    async def change_password(
        self, account: Account, *, password_hash: str, login_at: int | None = None
    ) -> Account | None:
        """Set a lasting password as `set_password` does; None if the account was disabled or changed since it was read.

        `login_at` is when somebody logged in with it, if that is how it came.
        """
        row = await self._tx.fetch_one(
            f"""
            UPDATE accounts
            SET password_hash = $4, password_kind = $5, password_expires_at = NULL, token_version = token_version + 1,
                last_login_at = COALESCE($6, last_login_at)
            WHERE id = $1 AND token_version = $2 AND password_hash = $3 AND disabled_at IS NULL
            RETURNING {_COLUMNS}
            """,
            account.id,
            account.token_version,
            account.password_hash,
            password_hash,
            _kind(password_hash),
            login_at,
        )
        return _account(row)

    async def end_tokens(self, account_id: AccountId) -> Account | None:
        """Raise the token version of an enabled account; returns the account as it now is."""
        row = await self._tx.fetch_one(
            f"""
            UPDATE accounts SET token_version = token_version + 1
            WHERE id = $1 AND disabled_at IS NULL
            RETURNING {_COLUMNS}
            """,
            account_id,
        )
        return _account(row)

    async def delete(self, account_id: AccountId) -> Account | None:
        """Delete an account and its sessions; returns it as it last was."""
        return _account(
            await self._tx.fetch_one(f"DELETE FROM accounts WHERE id = $1 RETURNING {_COLUMNS}", account_id)
        )

    async def set_role(self, account_id: AccountId, *, role: str) -> Account | None:
        """Replace the role and raise the token version; returns the account as it now is."""
        row = await self._tx.fetch_one(
            f"""
            UPDATE accounts SET role = $2, token_version = token_version + 1
            WHERE id = $1 AND role <> $2
            RETURNING {_COLUMNS}
            """,
            account_id,
            role,
        )
        return _account(row)

    async def disable(self, account_id: AccountId, *, now: int) -> Account | None:
        """Disable an enabled account and raise its token version; None if there is no such enabled account."""
        row = await self._tx.fetch_one(
            f"""
            UPDATE accounts SET disabled_at = $2, token_version = token_version + 1
            WHERE id = $1 AND disabled_at IS NULL
            RETURNING {_COLUMNS}
            """,
            account_id,
            now,
        )
        return _account(row)

    async def enable(self, account_id: AccountId) -> Account | None:
        """Enable a disabled account; None if there is no such disabled account."""
        row = await self._tx.fetch_one(
            f"UPDATE accounts SET disabled_at = NULL WHERE id = $1 AND disabled_at IS NOT NULL RETURNING {_COLUMNS}",
            account_id,
        )
        return _account(row)

    async def raise_token_versions(self) -> int:
        """Raise the token version of every account; returns how many there are."""
        return await self._tx.execute("UPDATE accounts SET token_version = token_version + 1")


def account_from(row: Row, *, id_column: str = "id", prefix: str = "") -> Account:
    """Return the account that a row describes, whose columns but the id may be prefixed."""
    return Account(
        id=AccountId(row[id_column]),
        name=row[prefix + "name"],
        name_key=row[prefix + "name_key"],
        role=row[prefix + "role"],
        token_version=row[prefix + "token_version"],
        created_at=row[prefix + "created_at"],
        password_hash=row[prefix + "password_hash"],
        disabled_at=row[prefix + "disabled_at"],
        last_login_at=row[prefix + "last_login_at"],
        password_expires_at=row[prefix + "password_expires_at"],
    )


def _kind(password_hash: str | None) -> str | None:
    cost = cost_of(password_hash)
    return None if cost is None else str(cost)


def _account(row: Row | None) -> Account | None:
    return None if row is None else account_from(row)
