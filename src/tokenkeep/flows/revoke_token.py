"""Revoke one access token, and nothing else of its session."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from tokenkeep.contract.access_token import TOKEN_TYPE, AccessToken, from_claims
from tokenkeep.domain import revocations
from tokenkeep.domain.audit import EventKind
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.revocations import Revocation
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.key_ring import KeyRing
from tokenkeep.flows.ports import Clock, Storage, Transaction
from tokenkeep.flows.revoke import Revoker
from tokenkeep.jose import jwt
from tokenkeep.jose.algorithms import ALGORITHMS

_LEEWAY: Final = timedelta(milliseconds=revocations.GREATEST_LEEWAY)
"""As long as any verifier might accept a token, it can be revoked."""


class RevokeToken:
    """Revokes access tokens that this server has issued, for whomever they are."""

    def __init__(self, storage: Storage, key_ring: KeyRing, revoker: Revoker, *, clock: Clock) -> None:
        self._storage = storage
        self._key_ring = key_ring
        self._revoker = revoker
        self._clock = clock

    async def revoke(self, text: str, *, by: Authority) -> AccessToken:
        """Have a token refused from now on, and return what it says.

        Raises:
            TokenError: it is none of this server's, or has expired, so that there is nothing to revoke.
            StorageUnavailable: the database did not answer; the token is still accepted.
        """
        token = self._read(text)
        revocation = await self._storage.transact(self._append, token, by)
        self._revoker.apply(revocation)
        return token

    def _read(self, text: str) -> AccessToken:
        # The signature shows whose it is. Issuer and audiences are settings, which a command beside the server need
        # not know; so they are not compared with anything but the token itself.
        said = jwt.decode_unverified(text).claims
        verified = jwt.verify(
            text,
            self._key_ring.verification_keys(),
            algorithms=list(ALGORITHMS),
            issuer=_first_text(said.get("iss")),
            audience=_first_text(said.get("aud")),
            token_type=TOKEN_TYPE,
            leeway=_LEEWAY,
            now=self._clock.now() / 1000,
        )
        return from_claims(verified.claims, key_id=verified.header.get("kid"))

    async def _append(self, tx: Transaction, token: AccessToken, by: Authority) -> Revocation:
        token_id = token.token_id or ""  # every token of this server has one
        event = by.event(
            EventKind.TOKEN_REVOKED,
            tx.now,
            account_id=AccountId(token.subject),
            session_id=SessionId(token.session_id) if token.session_id else None,
            detail=token_id,
        )
        await tx.audit.record(event)
        revocation = revocations.of_token(token_id, at=tx.now, reason=EventKind.TOKEN_REVOKED, actor=by.actor)
        return await self._revoker.append(tx, revocation)


def _first_text(claim: Any) -> str:
    """Return a claim's text, or the first of several; of a claim without one, a text that no claim has."""
    first = claim[0] if isinstance(claim, tuple) and claim else claim
    return first if isinstance(first, str) and first else "(none)"
