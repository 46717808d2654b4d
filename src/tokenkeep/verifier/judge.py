"""The core of every verifier: what is accepted, as a function of token, keys and instants.

No network, no clock and no waiting. When a key is missing it says so, and whoever asks may come back with more keys.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tokenkeep.contract.access_token import AccessToken, Profile, from_claims
from tokenkeep.contract.revocation import RevocationSet, names_key
from tokenkeep.jose import Key, KeyNotFound, KeySet, TokenError, TokenTypeNotAccepted, jwt
from tokenkeep.jose.claims import ClaimsPolicy
from tokenkeep.jose.compact import MAX_TOKEN_SIZE, check_header, open_token
from tokenkeep.verifier.challenge import AmbiguousRequest, CannotTell, Forbidden, InvalidToken, MissingToken
from tokenkeep.verifier.feed import NOT_ASKED, RevocationFeed, RevocationStatus

# One scheme, one token68 (RFC 9110 §11.2), as RFC 6750 §2.1 writes it.
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
# What a scope is made of (RFC 6749 §3.3): nothing that could leave the quotes of a challenge.
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+")


class Judge:
    """Holds tokens of one issuer to one policy; immutable, and good for any thread."""

    __slots__ = ("_algorithms", "_named", "_policy", "_profile", "_revocations")

    def __init__(
        self,
        policy: ClaimsPolicy,
        algorithms: frozenset[str],
        *,
        profile: Profile,
        revocations: RevocationSet | RevocationFeed | None,
    ) -> None:
        """Fix what is accepted; a feed is followed elsewhere (`feed_source`).

        Raises:
            TypeError: the policy leaves the issuer open, or the revocations are something else.
            ValueError: tokens that need not say what revocations are about cannot be held to them.
        """
        if policy.issuer is None:
            raise TypeError("issuer is the exact iss of the accepted tokens, and may not be left out")
        if revocations is not None and profile is not Profile.TOKENKEEP:
            raise ValueError("revocations are about claims that only Profile.TOKENKEEP reads")
        if not isinstance(revocations, RevocationSet | RevocationFeed | None):
            raise TypeError(f"revocations are a RevocationFeed or a RevocationSet, not {type(revocations).__name__}")
        self._policy = policy
        self._algorithms = algorithms
        self._profile = profile
        self._revocations = revocations if isinstance(revocations, RevocationSet) else None
        self._named = revocations is not None
        """Whether a token must name the key that signed it: whoever has stolen one would not, once it is revoked."""

    def judge(self, token: str, keys: Key | KeySet, now: float) -> AccessToken:
        """Return what a token says, if it is good at `now`, in seconds since the epoch; but for revocations.

        Raises:
            InvalidToken: it is not.
            KeyNotFound: its key is not among `keys`.
        """
        try:
            verified = jwt.verify_with_policy(token, keys, self._policy, algorithms=self._algorithms, now=now)
            key_id = verified.header.get("kid")
            if self._named and not names_key(key_id, keys):
                raise InvalidToken("the token does not name the key that signed it")
            return from_claims(verified.claims, key_id=key_id, profile=self._profile)
        except KeyNotFound:
            raise
        except TokenError as error:
            raise InvalidToken(error.code, reason=error.reason) from error

    def check_form(self, token: str) -> None:
        """Refuse a token that no key could make good, for its form or its header.

        Raises:
            InvalidToken: it is malformed, of another type, or of an algorithm that is not accepted.
        """
        try:
            header = open_token(token, MAX_TOKEN_SIZE)[0]
            check_header(header, self._algorithms)
            if header.type not in self._policy.types:
                raise TokenTypeNotAccepted
        except TokenError as error:
            raise InvalidToken(error.code, reason=error.reason) from error

    def refuse_revoked(self, token: AccessToken, now: float) -> None:
        """Refuse a good token that was revoked; `now` is on the clock by which the revocations count their freshness.

        Raises:
            InvalidToken: it was revoked.
            CannotTell: whether it was is not known now.
        """
        if self._revocations is None:
            return
        if self._revocations.contains(token):
            raise InvalidToken("revoked")
        if not self._revocations.fresh(now):
            raise CannotTell("the revocation set is stale")

    def knows_revocations(self, now: float) -> bool:
        """Tell whether it is known what was revoked, as far as that is asked; `now` is as for `refuse_revoked`."""
        return self._revocations is None or self._revocations.fresh(now)

    def revocation_status(self, now: float) -> RevocationStatus:
        """Return how it stands with the revocations that someone else keeps up; `now` is as for `refuse_revoked`."""
        if self._revocations is None:
            return NOT_ASKED
        fresh = self._revocations.fresh(now)
        return replace(NOT_ASKED, usable=fresh, fresh=fresh, entries=len(self._revocations))


def bearer_token(authorization: Sequence[str]) -> str:
    """Return the token in a request's `Authorization` headers.

    Raises:
        MissingToken: there is none, or it is for another scheme.
        AmbiguousRequest: there are several headers.
        InvalidToken: what follows the scheme is no token.
        TypeError: one string instead of all headers.
    """
    if len(authorization) > 1:
        if isinstance(authorization, str):
            raise TypeError("authorization is a list of all Authorization headers, so that two are noticed")
        raise AmbiguousRequest
    if not authorization or not authorization[0][:6].lower() == "bearer":
        raise MissingToken
    match = _BEARER.fullmatch(authorization[0])
    if match is None:
        raise InvalidToken("malformed Authorization header")
    return match[1]


def require_role(token: AccessToken, roles: Sequence[str]) -> AccessToken:
    """Return the token if its bearer has one of the roles.

    Raises:
        Forbidden: its bearer has none of them.
    """
    if token.role not in roles:
        raise Forbidden(f"none of the roles {', '.join(roles)}")
    return token


def require_scope(token: AccessToken, scopes: Sequence[str]) -> AccessToken:
    """Return the token if all the scopes were granted with it, in its claim `scope` (RFC 9068 §2.2.3).

    Raises:
        Forbidden: one of them was not; the challenge names all that are needed.
        ValueError: no scope at all, or something that is none.
    """
    needed = checked_scopes(scopes)
    granted = token.claims.get("scope")
    if not isinstance(granted, str) or not set(needed) <= set(granted.split(" ")):
        raise Forbidden(f"not all of the scopes {', '.join(needed)}", scope=" ".join(needed))
    return token


def checked_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """Return names of scopes as they were given.

    Raises:
        ValueError: there are none, or one of them is empty or has a character that no scope has.
    """
    if not scopes or not all(_SCOPE.fullmatch(scope) for scope in scopes):
        raise ValueError("a scope is visible ASCII without spaces, quotes and backslashes")
    return tuple(scopes)
