"""The pair of tokens that login and refresh both hand out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tokenkeep.contract import access_token
from tokenkeep.contract.access_token import TOKEN_TYPE, AccessToken
from tokenkeep.domain.accounts import Account
from tokenkeep.domain.errors import InvalidField, NoValidRefreshToken
from tokenkeep.domain.sessions import Session
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.token_families import TokenFamilies
from tokenkeep.jose import jwt


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What access tokens say. `audiences` begins with the default one; `access_life` is in seconds."""

    issuer: str
    client_id: str
    audiences: tuple[str, ...]
    access_life: int

    def audience(self, asked: str | None) -> str:
        """Return the audience to issue for.

        Raises:
            InvalidField: the one asked for is not served here.
        """
        if asked is None:
            return self.audiences[0]
        if asked not in self.audiences:
            raise InvalidField("audience", "This audience is not served here")
        return asked


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access token and the refresh token to get the next one with. Lives are in seconds from now."""

    access_token: str = field(repr=False)
    expires_in: int
    refresh_token: str = field(repr=False)
    refresh_expires_in: int


class TokenIssuer:
    """Signs access tokens, and writes refresh tokens beside them, for a session that has just been stored."""

    def __init__(self, keys: KeyRing, families: TokenFamilies, policy: TokenPolicy) -> None:
        self._keys = keys
        self._families = families
        self.policy = policy

    def require_key(self) -> None:
        """Return if there is a key to sign with; asked before anything is stored that a token must be issued for.

        Raises:
            Unavailable: there is none now.
        """
        self._keys.signer()

    def issue(self, session: Session, account: Account, audience: str, now: int, added: Mapping[str, Any]) -> TokenPair:
        """Return the pair for the session's current generation.

        The access token never outlives the session.

        Args:
            now: the instant of the transaction that stored the session, in milliseconds.
            added: the claims of the embedding application.

        Raises:
            NoValidRefreshToken: no whole second of the session is left.
            Unavailable: there is no key to sign with now.
        """
        issued_at = now // 1000
        life = min(self.policy.access_life, session.expires_at // 1000 - issued_at)
        if life < 1:
            raise NoValidRefreshToken("the session ends within this second")
        token = AccessToken(
            issuer=self.policy.issuer,
            subject=account.id,
            audience=(audience,),
            issued_at=issued_at,
            expires_at=issued_at + life,
            token_id="",
            client_id=self.policy.client_id,
            session_id=session.id,
            version=account.token_version,
            authenticated_at=session.created_at // 1000,
            methods=session.methods,
            name=account.name,
            role=account.role,
            claims=added,
        )
        text = jwt.issue(
            access_token.to_claims(token),
            self._keys.signer(),
            issuer=token.issuer,
            subject=token.subject,
            audience=audience,
            lifetime=timedelta(seconds=life),
            token_type=TOKEN_TYPE,
            now=issued_at,
        )
        return TokenPair(
            access_token=text,
            expires_in=life,
            refresh_token=self._families.text(session),
            refresh_expires_in=(min(session.idle_expires_at, session.expires_at) - now) // 1000,
        )
