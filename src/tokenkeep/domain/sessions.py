"""Sessions: one login on one device, the family of refresh tokens that descends from it, and its judgement.

Not here: the statements that carry out a verdict (`storage.sql.sessions`) and the order of steps (`flows.refresh`).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Final

from tokenkeep.domain.errors import InvalidRefreshToken
from tokenkeep.domain.identifiers import ID_SIZE, AccountId, SessionId, raw_id, session_id
from tokenkeep.jose.encoding import decode_base64url, encode_base64url
from tokenkeep.jose.errors import TokenError

PREFIX: Final = "tkr_"
"""First characters of every refresh token, so that scanners of leaked text can tell it."""
SECRET_SIZE: Final = 32
"""Bytes of a session's own secret."""
LONGEST_GRACE: Final = 60_000
"""Milliseconds of the longest window in which a lost answer may be asked for again."""

_VERSION: Final = 1
_BODY: Final = struct.Struct(f">B{ID_SIZE}sI")
_TAG_SIZE: Final = hashlib.sha256().digest_size
_TEXT_SIZE: Final = len(PREFIX) + -(-(_BODY.size + _TAG_SIZE) * 4 // 3)


class Delivery(StrEnum):
    """How a session's refresh tokens travel; one that came by the other way is not accepted."""

    COOKIE = "cookie"
    BODY = "body"


class EndReason(StrEnum):
    """Why a session ended."""

    LOGOUT = "logout"
    REPLACED = "replaced"
    TOO_MANY = "too_many"
    REUSE = "reuse"
    ROLLED_BACK = "rolled_back"
    PASSWORD_CHANGED = "password_changed"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_DELETED = "account_deleted"
    ENDED_BY_OWNER = "ended_by_owner"
    ENDED_BY_ADMIN = "ended_by_admin"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """How long sessions live. Milliseconds.

    Attributes:
        idle: a session that is not refreshed for this long is over.
        absolute: a session is over this long after its login, whatever happens.
        grace: how long after a rotation the token before it gets the same successor again.
    """

    idle: int
    absolute: int
    grace: int

    def __post_init__(self) -> None:
        if not 0 < self.idle <= self.absolute:
            raise ValueError("a session's idle life must be positive and no longer than its absolute life")
        if not 0 <= self.grace <= LONGEST_GRACE:
            raise ValueError(f"the refresh grace must be between 0 and {LONGEST_GRACE // 1000} seconds")


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: what the request says of the program and where it came from."""

    user_agent: str = ""
    address: str = ""

    def fingerprint(self) -> str:
        """Return the digest under which two requests count as the same program."""
        return encode_base64url(hashlib.sha256(self.user_agent.encode("utf-8", "surrogatepass")).digest()[:16])


@dataclass(frozen=True, slots=True)
class Session:
    """One login. Instants are milliseconds since the epoch, UTC; `generation` counts its rotations.

    `user_agent` and `address` are those of the last rotation, `login_address` is that of the login.
    """

    id: SessionId
    account_id: AccountId
    secret: bytes = field(repr=False)
    secret_version: str
    generation: int
    rotated_at: int
    previous_rotated_at: int
    created_at: int
    last_used_at: int
    idle_expires_at: int
    expires_at: int
    delivery: Delivery
    methods: tuple[str, ...]
    user_agent: str
    fingerprint: str
    address: str
    login_address: str
    revoked_at: int | None = None
    revoked_reason: str | None = None

    def live(self, now: int) -> bool:
        """Tell whether the session is neither ended nor expired at `now`."""
        return self.revoked_at is None and now < self.idle_expires_at and now < self.expires_at


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token taken apart. It proves nothing until `authentic` has compared its tag."""

    session_id: SessionId
    generation: int
    tag: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> RefreshToken:
        """Return the parts of a presented token.

        Raises:
            InvalidRefreshToken: it does not have the form of one.
        """
        if len(text) != _TEXT_SIZE or not text.startswith(PREFIX):
            raise InvalidRefreshToken("malformed")
        try:
            raw = decode_base64url(text[len(PREFIX) :])
        except TokenError:
            raise InvalidRefreshToken("malformed") from None
        version, raw_session, generation = _BODY.unpack_from(raw)
        if version != _VERSION:
            raise InvalidRefreshToken("unknown version")
        return cls(session_id(raw_session), generation, raw[_BODY.size :])

    def authentic(self, session: Session, refresh_secret: bytes) -> bool:
        """Tell in constant time whether the tag is the one this session's secret makes."""
        return hmac.compare_digest(self.tag, _tag(session, self.generation, refresh_secret))


def refresh_token_text(session: Session, refresh_secret: bytes) -> str:
    """Return the refresh token of the session's current generation.

    The same generation always has the same text, which is how a lost answer can be repeated although no token
    is stored.
    """
    body = _body(session, session.generation)
    return PREFIX + encode_base64url(body + _tag(session, session.generation, refresh_secret))


class Verdict(Enum):
    """What a presented refresh token turned out to be."""

    INVALID = "invalid"
    ENDED = "ended"
    ROTATE = "rotated"
    REPLAY = "replayed"
    OVERTAKEN = "overtaken"
    REUSE = "reused"
    ABANDONED = "abandoned"
    """Reused, but whoever sent it has gone before it was judged: a retry may have overtaken it long since."""
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class Presented:
    """An authentic refresh token and the way it came."""

    generation: int
    delivery: Delivery
    fingerprint: str


def judge_refresh(
    session: Session, presented: Presented, now: int, policy: SessionPolicy, *, account_disabled: bool
) -> Verdict:
    """Tell what a presented, authentic refresh token is; the first rule that applies decides.

    Args:
        session: the session that the token names, as it is stored.
        presented: what came, its tag already found authentic.
        now: the instant of the transaction, in milliseconds.
        policy: the windows in force.
        account_disabled: whether the session's account may not go on.
    """
    behind = session.generation - presented.generation
    if presented.delivery is not session.delivery:
        return Verdict.INVALID
    if account_disabled or not session.live(now):
        return Verdict.ENDED
    if behind == 0:
        return Verdict.ROTATE
    if behind == 1 and now < session.rotated_at + policy.grace and presented.fingerprint == session.fingerprint:
        return Verdict.REPLAY
    if behind == 2 and now < session.previous_rotated_at + policy.grace:
        return Verdict.OVERTAKEN
    if behind > 0:
        return Verdict.REUSE
    return Verdict.ROLLED_BACK


def advanced(session: Session, client: Client, now: int, policy: SessionPolicy) -> Session:
    """Return the session one generation on, as it stands after a rotation at `now` (milliseconds)."""
    return replace(
        session,
        generation=session.generation + 1,
        rotated_at=now,
        previous_rotated_at=session.rotated_at,
        last_used_at=now,
        idle_expires_at=min(now + policy.idle, session.expires_at),
        user_agent=client.user_agent,
        fingerprint=client.fingerprint(),
        address=client.address,
    )


def _body(session: Session, generation: int) -> bytes:
    return _BODY.pack(_VERSION, raw_id(session.id), generation)


def _tag(session: Session, generation: int, refresh_secret: bytes) -> bytes:
    tag_key = hmac.digest(refresh_secret, session.secret, "sha256")
    return hmac.digest(tag_key, _body(session, generation), "sha256")
