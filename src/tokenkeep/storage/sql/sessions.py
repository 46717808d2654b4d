"""Sessions in SQL. The statement that rotates a refresh token lives here."""

from __future__ import annotations

from typing import Final

from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import Event
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.sessions import Delivery, EndReason, Session
from tokenkeep.storage.sql.accounts import account_from
from tokenkeep.storage.sql.audit import SqlAuditLog
from tokenkeep.storage.sql.database import Row, SqlTransaction

MOST_LISTED: Final = 200
"""Sessions of one account that are looked at; the last used come first."""

_WITH_ACCOUNT: Final = """
SELECT sessions.*,
    accounts.name AS account_name, accounts.name_key AS account_name_key,
    accounts.role AS account_role, accounts.password_hash AS account_password_hash,
    accounts.token_version AS account_token_version, accounts.created_at AS account_created_at,
    accounts.last_login_at AS account_last_login_at, accounts.disabled_at AS account_disabled_at,
    accounts.password_expires_at AS account_password_expires_at
FROM sessions JOIN accounts ON accounts.id = sessions.account_id
"""


class SqlSessions:
    """The session statements of one transaction (port `SessionStore`)."""

    __slots__ = ("_audit", "_tx")

    def __init__(self, tx: SqlTransaction, audit: SqlAuditLog) -> None:
        self._tx = tx
        self._audit = audit

    async def add(self, session: Session) -> None:
        """Store a new session, in the transaction that claimed its account."""
        await self._tx.execute(
            """
            INSERT INTO sessions (
                id, account_id, secret, secret_version, generation, rotated_at, previous_rotated_at, created_at,
                last_used_at, idle_expires_at, expires_at, delivery, methods, user_agent, fingerprint, address,
                login_address
            )
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
            """,
            session.id,
            session.account_id,
            session.secret,
            session.secret_version,
            session.generation,
            session.rotated_at,
            session.previous_rotated_at,
            session.created_at,
            session.last_used_at,
            session.idle_expires_at,
            session.expires_at,
            session.delivery.value,
            " ".join(session.methods),
            session.user_agent,
            session.fingerprint,
            session.address,
            session.login_address,
        )

    async def find_with_account(self, session_id: SessionId) -> tuple[Session, Account] | None:
        """Return the session and the account it belongs to."""
        row = await self._tx.fetch_dated(f"{_WITH_ACCOUNT} WHERE sessions.id = $1", session_id)
        return None if row is None else _session_and_account(row)

    async def latest(self, *, now: int, limit: int) -> list[tuple[Session, Account]]:
        """Return up to `limit` live sessions of anybody, the last used first, and whose they are."""
        rows = await self._tx.fetch(
            f"""
            {_WITH_ACCOUNT}
            WHERE revoked_at IS NULL AND idle_expires_at > $1 AND expires_at > $1
            ORDER BY last_used_at DESC, sessions.id LIMIT $2
            """,
            now,
            limit,
        )
        return [_session_and_account(row) for row in rows]

    async def unended(self, after: str, *, begun_by: int, limit: int) -> list[Session]:
        """Return sessions begun by an instant that nobody has ended, ordered by id, from the one after `after`."""
        rows = await self._tx.fetch(
            """
            SELECT * FROM sessions
            WHERE id > $1 AND revoked_at IS NULL AND created_at <= $2
            ORDER BY id LIMIT $3
            """,
            after,
            begun_by,
            limit,
        )
        return [_session(row) for row in rows]

    async def live_of(self, account_id: AccountId, *, now: int) -> list[Session]:
        """Return an account's live sessions, the last used first."""
        rows = await self._tx.fetch(
            """
            SELECT * FROM sessions
            WHERE account_id = $1 AND revoked_at IS NULL AND idle_expires_at > $2 AND expires_at > $2
            ORDER BY last_used_at DESC, id LIMIT $3
            """,
            account_id,
            now,
            MOST_LISTED,
        )
        return [_session(row) for row in rows]

    async def login_addresses(self, account_id: AccountId, *, since: int) -> list[str]:
        """Return the addresses from which an account has logged in since an instant."""
        rows = await self._tx.fetch(
            """
            SELECT DISTINCT login_address FROM (
                SELECT login_address, created_at FROM sessions
                WHERE account_id = $1 AND last_used_at > $2
                ORDER BY last_used_at DESC LIMIT $3
            ) AS late
            WHERE created_at > $2 AND login_address <> ''
            """,
            account_id,
            since,
            MOST_LISTED,
        )
        return [row["login_address"] for row in rows]

    async def advance(self, session: Session, successor: Session, *, event: Event) -> bool:
        """Replace a session by its successor, and store the event; False if it moved or ended since it was read."""
        return await self._audit.record_change(
            """
            UPDATE sessions
            SET generation = $3, rotated_at = $4, previous_rotated_at = $5, last_used_at = $6, idle_expires_at = $7,
                user_agent = $8, fingerprint = $9, address = $10
            WHERE id = $1 AND generation = $2 AND revoked_at IS NULL
            """,
            session.id,
            session.generation,
            successor.generation,
            successor.rotated_at,
            successor.previous_rotated_at,
            successor.last_used_at,
            successor.idle_expires_at,
            successor.user_agent,
            successor.fingerprint,
            successor.address,
            event=event,
        )

    async def touch(self, session: Session, *, event: Event) -> bool:
        """Take a session's row for its last use, and store the event; False if it moved or ended since it was read."""
        return await self._audit.record_change(
            "UPDATE sessions SET last_used_at = $3 WHERE id = $1 AND generation = $2 AND revoked_at IS NULL",
            session.id,
            session.generation,
            event.at,
            event=event,
        )

    async def end(self, session_id: SessionId, reason: EndReason, *, now: int) -> bool:
        """End a session; False if it had ended before."""
        ended = await self._tx.execute(
            "UPDATE sessions SET revoked_at = $2, revoked_reason = $3 WHERE id = $1 AND revoked_at IS NULL",
            session_id,
            now,
            reason.value,
        )
        return ended == 1

    async def end_all(self, account_id: AccountId, reason: EndReason, *, now: int) -> int:
        """End every session of an account; returns how many."""
        return await self._tx.execute(
            "UPDATE sessions SET revoked_at = $2, revoked_reason = $3 WHERE account_id = $1 AND revoked_at IS NULL",
            account_id,
            now,
            reason.value,
        )

    async def end_surplus(
        self, opened: Session, reason: EndReason, *, most: int, limit: int, now: int
    ) -> list[Session]:
        """End up to `limit` live sessions of an account that are not among the `most` last used, the others kept.

        The one just opened, whose account this transaction has taken, is kept and counted, whenever it was used.
        Returns those that ended, the least recently used first, which are also the first to end.
        """
        rows = await self._tx.fetch(
            """
            UPDATE sessions SET revoked_at = $3, revoked_reason = $4
            WHERE revoked_at IS NULL AND id IN (
                SELECT id FROM (
                    SELECT id, row_number() OVER (ORDER BY last_used_at DESC, id) AS place FROM sessions
                    WHERE account_id = $1 AND id <> $2
                        AND revoked_at IS NULL AND idle_expires_at > $3 AND expires_at > $3
                ) AS others
                WHERE place >= $5 ORDER BY place DESC LIMIT $6
            )
            RETURNING *
            """,
            opened.account_id,
            opened.id,
            now,
            reason.value,
            most,
            limit,
        )
        return sorted(map(_session, rows), key=lambda session: session.last_used_at)

    async def end_everyones(self, reason: EndReason, *, now: int) -> int:
        """End every session there is; returns how many."""
        return await self._tx.execute(
            "UPDATE sessions SET revoked_at = $1, revoked_reason = $2 WHERE revoked_at IS NULL", now, reason.value
        )

    async def count_live(self, *, now: int) -> int:
        """Return how many sessions are neither ended nor expired."""
        row = await self._tx.fetch_one(
            """
            SELECT count(*) AS live FROM sessions
            WHERE revoked_at IS NULL AND idle_expires_at > $1 AND expires_at > $1
            """,
            now,
        )
        return int(row["live"]) if row else 0

    async def purge(self, *, over_before: int, begun_before: int, limit: int) -> int:
        """Forget up to `limit` sessions that began and were over, for good, before these instants; returns how many."""
        return await self._tx.execute(
            """
            DELETE FROM sessions
            WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 AND created_at < $2 LIMIT $3)
            """,
            over_before,
            begun_before,
            limit,
        )


def _session_and_account(row: Row) -> tuple[Session, Account]:
    return _session(row), account_from(row, id_column="account_id", prefix="account_")


def _session(row: Row) -> Session:
    return Session(
        id=SessionId(row["id"]),
        account_id=AccountId(row["account_id"]),
        secret=row["secret"],
        secret_version=row["secret_version"],
        generation=row["generation"],
        rotated_at=row["rotated_at"],
        previous_rotated_at=row["previous_rotated_at"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        idle_expires_at=row["idle_expires_at"],
        expires_at=row["expires_at"],
        delivery=Delivery(row["delivery"]),
        methods=tuple(row["methods"].split()),
        user_agent=row["user_agent"],
        fingerprint=row["fingerprint"],
        address=row["address"],
        login_address=row["login_address"],
        revoked_at=row["revoked_at"],
        revoked_reason=row["revoked_reason"],
    )
