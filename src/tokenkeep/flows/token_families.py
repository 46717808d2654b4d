"""Token families: a session as the line of refresh tokens that descends from one login. Begun, found, judged, moved on.

Not here: what a verdict is (`domain.sessions`), and the order of steps in a refresh (`flows.refresh`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.identifiers import ID_SIZE, session_id
from tokenkeep.domain.secrets import Purpose, SecretRing, UnknownSecretVersion
from tokenkeep.domain.sessions import (
    SECRET_SIZE,
    Client,
    Delivery,
    Presented,
    RefreshToken,
    Session,
    SessionPolicy,
    Verdict,
    advanced,
    judge_refresh,
    refresh_token_text,
)
from tokenkeep.flows.authority import Authority
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


class TokenFamilies:
    """Knows the secrets and the windows by which refresh tokens are written, recognised and judged."""

    def __init__(self, secret_ring: SecretRing, policy: SessionPolicy) -> None:
        self._secrets = secret_ring
        self._policy = policy

    async def begin(self, tx: Transaction, account: Account, draft: SessionDraft) -> Session:
        """Store the session of an account whose row this transaction has taken, and return it."""
        now = tx.now
        session = Session(
            id=session_id(draft.raw_id),
            account_id=account.id,
            secret=draft.secret,
            secret_version=self._secrets.current,
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
            login_address=draft.client.address,
        )
        await tx.sessions.add(session)
        by, methods = Authority(account.id, draft.client), " ".join(session.methods)
        await tx.audit.record(
            by.event(EventKind.SESSION_STARTED, now, account_id=account.id, session_id=session.id, detail=methods)
        )
        return session

    async def find(self, tx: Transaction, token: RefreshToken) -> tuple[Session, Account] | None:
        """Return the session that a token names, and its account, if the token's tag is the session's own."""
        found = await tx.sessions.find_with_account(token.session_id)
        if found is None:
            return None
        try:
            refresh_secret = self._secrets.key(found[0].secret_version, Purpose.REFRESH)
        except UnknownSecretVersion:
            return None
        return found if token.authentic(found[0], refresh_secret) else None

    def judge(self, session: Session, presented: Presented, now: int, *, account: Account) -> Verdict:
        """Tell what an authentic refresh token of the session is at `now` (milliseconds)."""
        return judge_refresh(session, presented, now, self._policy, account_disabled=account.disabled)

    def successor(self, session: Session, client: Client, now: int) -> Session:
        """Return the session one generation on, as it stands after a rotation at `now` (milliseconds)."""
        return advanced(session, client, now, self._policy)

    def text(self, session: Session) -> str:
        """Return the refresh token of the session's current generation."""
        return refresh_token_text(session, self._secrets.key(session.secret_version, Purpose.REFRESH))
