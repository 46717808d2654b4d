"""Open a session inside the transaction of whoever has just proved who they are: by login or by a new password."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import Event, EventKind
from tokenkeep.domain.identifiers import ID_SIZE, session_id
from tokenkeep.domain.secrets import SecretRing
from tokenkeep.domain.sessions import SECRET_SIZE, Client, Delivery, Session, SessionPolicy
from tokenkeep.flows.ports import Transaction


@dataclass(frozen=True, slots=True)
class SessionDraft:
    """What a session is made of that must be drawn before its transaction."""

    client: Client
    delivery: Delivery
    raw_id: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def draw(cls, client: Client, delivery: Delivery) -> SessionDraft:
        """Return a draft with an id and a secret nobody has."""
        return cls(client, delivery, secrets.token_bytes(ID_SIZE), secrets.token_bytes(SECRET_SIZE))


class OpenSession:
    """Stores new sessions."""

    def __init__(self, secret_ring: SecretRing, policy: SessionPolicy) -> None:
        self.secret_ring = secret_ring
        self._policy = policy

    async def open(self, tx: Transaction, account: Account, draft: SessionDraft) -> Session:
        """Store the session of an account whose row this transaction has taken, and return it."""
        now = tx.now
        session = Session(
            id=session_id(draft.raw_id),
            account_id=account.id,
            secret=draft.secret,
            secret_version=self.secret_ring.current,
            generation=0,
            rotated_at=now,
            previous_rotated_at=now,
            created_at=now,
            last_used_at=now,
            idle_expires_at=now + self._policy.idle,
            expires_at=now + self._policy.absolute,
            delivery=draft.delivery,
            methods=("pwd",),
            user_agent=draft.client.user_agent,
            fingerprint=draft.client.fingerprint(),
            address=draft.client.address,
        )
        await tx.sessions.add(session)
        await tx.audit.record(
            Event(
                EventKind.SESSION_STARTED,
                now,
                account.id,
                account_id=account.id,
                session_id=session.id,
                address=session.address,
                user_agent=session.user_agent,
                detail=" ".join(session.methods),
            )
        )
        return session
