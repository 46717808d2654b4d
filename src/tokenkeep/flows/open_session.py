"""Open a session for whoever has just proved who they are, by login or by a new password, and hand out its first pair.

In three steps around the transaction: prepare, open inside it, hand out after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenkeep.domain.accounts import Account
from tokenkeep.domain.audit import SYSTEM
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import Client, Delivery, EndReason, RefreshToken, Session
from tokenkeep.flows.added_claims import AddedClaims
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.end_sessions import end_refreshes_of, end_surplus_of
from tokenkeep.flows.issue_tokens import TokenIssuer, TokenPair
from tokenkeep.flows.ports import Transaction
from tokenkeep.flows.revoke import Revoker
from tokenkeep.flows.token_families import SessionDraft, TokenFamilies


@dataclass(frozen=True, slots=True)
class Wish:
    """What session is asked for.

    Attributes:
        delivery: how its refresh tokens will travel.
        audience: whom the access token is for.
        replaces: the refresh token that the request carried; its session ends when this one begins.
    """

    client: Client
    delivery: Delivery
    audience: str
    replaces: RefreshToken | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """A session about to be stored: everything that must be known before its transaction."""

    wish: Wish
    draft: SessionDraft
    added: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that was stored, and the revocations of what ended with its beginning."""

    opening: Opening
    session: Session
    account: Account
    ended: list[Revocation]


class OpenSession:
    """Opens sessions, and keeps to how many of one account may live at once."""

    def __init__(
        self, families: TokenFamilies, claims: AddedClaims, issuer: TokenIssuer, revoker: Revoker, *, most: int
    ) -> None:
        """Take what tokens are made with, and how many sessions of one account may live."""
        self._families = families
        self._claims = claims
        self._issuer = issuer
        self._revoker = revoker
        self._most = most

    def require_key(self) -> None:
        """Return if there is a key to sign with; asked before any password is looked at.

        Later, only a right one would be answered otherwise: it could be told by that, and nobody would hear of it.

        Raises:
            Unavailable: there is none now.
        """
        self._issuer.require_key()

    def audience(self, asked: str | None) -> str:
        """Return the audience to issue for; the issuer itself when none is asked for.

        Raises:
            InvalidField: the one asked for is not served here.
        """
        return self._issuer.policy.audience(asked)

    def prepare(self, account: Account, wish: Wish) -> Opening:
        """Draw what must be drawn, and ask for claims what must be asked, before the transaction.

        Raises:
            ValueError: the embedding application returned a reserved claim.
            Unavailable: there is no key to sign with now.
        """
        self.require_key()
        return Opening(wish, SessionDraft.draw(wish.client, wish.delivery), self._claims.of(account))

    async def open(self, tx: Transaction, account: Account, opening: Opening) -> Opened:
        """Store the session of an account whose row this transaction has taken; end the one that it replaces.

        What is too many then ends as well. Of one account two sessions are never opened at once, since the transactions
        wait for each other's hold of its row; so what is counted here is what there is.
        """
        session = await self._families.begin(tx, account, opening.draft)
        wish = opening.wish
        ended = await self._end_replaced(tx, wish.replaces, Authority(account.id, wish.client))
        ended += await end_surplus_of(tx, session, Authority(SYSTEM, wish.client), most=self._most)
        # Only now, since whoever else revokes something waits from here on, perhaps with a row that was taken above.
        return Opened(opening, session, account, [await self._revoker.append(tx, each) for each in ended])

    def hand_out(self, opened: Opened) -> TokenPair:
        """Return the first pair of a session whose transaction is committed."""
        for revocation in opened.ended:
            self._revoker.apply(revocation)
        session, opening = opened.session, opened.opening
        return self._issuer.issue(session, opened.account, opening.wish.audience, session.created_at, opening.added)

    async def _end_replaced(self, tx: Transaction, token: RefreshToken | None, by: Authority) -> list[Revocation]:
        found = await self._families.find(tx, token) if token is not None else None
        if found is None:
            return []
        revocation = await end_refreshes_of(tx, found[0], by, reason=EndReason.REPLACED)
        return [] if revocation is None else [revocation]
