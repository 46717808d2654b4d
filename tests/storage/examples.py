"""Accounts, sessions and revocations to store, each different from all others made here."""

from __future__ import annotations

import secrets
from typing import Any, Final

from tokenkeep.contract.revocation import RevocationKind
from tokenkeep.domain.accounts import Account, parse_name
from tokenkeep.domain.identifiers import ID_SIZE, account_id, session_id
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import Delivery, Session
from tokenkeep.storage.sql.stores import SqlStorage

NOW: Final = 1_767_225_600_000
"""The instant at which the examples were made."""


def an_account(name: str = "Ada", **changes: Any) -> Account:
    """Return an account that can log in."""
    parsed = parse_name(name)
    values: dict[str, Any] = {
        "id": account_id(secrets.token_bytes(ID_SIZE)),
        "name": parsed.display,
        "name_key": parsed.key,
        "role": "user",
        "token_version": 1,
        "created_at": NOW,
        "password_hash": "$argon2id$the-first",
    }
    return Account(**values | changes)


def a_session(account: Account, **changes: Any) -> Session:
    """Return a live session of the account."""
    values: dict[str, Any] = {
        "id": session_id(secrets.token_bytes(ID_SIZE)),
        "account_id": account.id,
        "secret": secrets.token_bytes(32),
        "secret_version": "version-of-12",
        "generation": 3,
        "rotated_at": NOW + 30,
        "previous_rotated_at": NOW + 20,
        "created_at": NOW,
        "last_used_at": NOW + 40,
        "idle_expires_at": NOW + 1_000,
        "expires_at": NOW + 2_000,
        "delivery": Delivery.COOKIE,
        "methods": ("pwd", "otp"),
        "user_agent": "Browser/1.0 (ünï; \N{SNOWMAN})",
        "fingerprint": "a-fingerprint",
        "address": "2001:db8::1",
        "login_address": "192.0.2.7",
    }
    return Session(**values | changes)


def a_revocation(**changes: Any) -> Revocation:
    """Return the revocation of a session nobody else has."""
    values: dict[str, Any] = {
        "kind": RevocationKind.SESSION,
        "value": session_id(secrets.token_bytes(ID_SIZE)),
        "version": None,
        "revoked_at": NOW,
        "reason": "logout",
        "actor": "operator",
    }
    return Revocation(**values | changes)


async def store_account(storage: SqlStorage, account: Account | None = None) -> Account:
    """Store an account and return it."""
    stored = account or an_account()
    assert await storage.transact(lambda tx: tx.accounts.add(stored))
    return stored


async def store_session(storage: SqlStorage, account: Account, **changes: Any) -> Session:
    """Store a session of a stored account and return it."""
    session = a_session(account, **changes)
    await storage.transact(lambda tx: tx.sessions.add(session))
    return session


async def load_account(storage: SqlStorage, account: Account) -> Account | None:
    """Return the account as it is stored now."""
    return await storage.read(lambda tx: tx.accounts.find(account.id))


async def load_session(storage: SqlStorage, session: Session) -> Session:
    """Return the session as it is stored now."""
    found = await storage.read(lambda tx: tx.sessions.find_with_account(session.id))
    assert found is not None
    return found[0]
