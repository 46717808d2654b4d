"""`TokenVerifier`: an `Authorization` header in, an `AccessToken` or a refusal with its challenge out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from tokenkeep.contract.access_token import TOKEN_TYPE, AccessToken, from_claims
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.jose import Key, KeySet, jwt
from tokenkeep.jose.algorithms import accepted_algorithms
from tokenkeep.jose.claims import ClaimsPolicy
from tokenkeep.jose.errors import TokenError
from tokenkeep.verifier.challenge import AmbiguousRequest, CannotTell, Forbidden, InvalidToken, MissingToken

# One scheme, one token68 (RFC 9110 §11.2), as RFC 6750 §2.1 writes it.
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


class TokenVerifier:
    """Accepts the access tokens of one issuer for one audience; refuses everything else."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | Sequence[str],
        algorithms: Sequence[str],
        keys: Key | KeySet | Callable[[], Key | KeySet],
        revocations: RevocationSet | None = None,
        token_type: str = TOKEN_TYPE,
        leeway: timedelta = timedelta(seconds=5),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Fix what is accepted.

        Args:
            issuer: the exact `iss`.
            audience: what this service is called; a token must name one of them in `aud`.
            algorithms: the accepted signature algorithms.
            keys: the issuer's keys, or a function that returns the ones in force.
            revocations: the entries in force, kept up by someone else; while they are stale nothing is decided.
            token_type: the `typ` of the tokens (RFC 9068 §2.1).
            leeway: how far clocks may differ, at most 60 seconds.
            clock: seconds since the epoch.
            monotonic: seconds on the clock by which `revocations` counts its freshness.

        Raises:
            ValueError, TypeError: an argument accepts nothing, or too much.
        """
        if issuer is None:
            raise TypeError("issuer is the exact iss of the accepted tokens, and may not be left out")
        self._policy = ClaimsPolicy(issuer, audience, token_type=token_type, leeway=leeway)
        self._algorithms = accepted_algorithms(algorithms)
        self._keys = keys if callable(keys) else lambda: keys
        self._revocations = revocations
        self._clock = clock
        self._monotonic = monotonic

    def verify(self, token: str) -> AccessToken:
        """Return what a token says, if it is good now.

        Raises:
            InvalidToken: it is not.
            CannotTell: it may have been revoked, and that is not known now.
        """
        try:
            verified = jwt.verify_with_policy(
                token, self._keys(), self._policy, algorithms=self._algorithms, now=self._clock()
            )
            accepted = from_claims(verified.claims, key_id=verified.header.get("kid"))
        except TokenError as error:
            raise InvalidToken(error.code, reason=error.reason) from error
        self._refuse_revoked(accepted)
        return accepted

    def authenticate(self, authorization: Sequence[str]) -> AccessToken:
        """Return what the token in a request's `Authorization` headers says, if it is good now.

        Args:
            authorization: the values of all `Authorization` headers, in order.

        Raises:
            MissingToken: there is none, or it is for another scheme.
            AmbiguousRequest: there are several.
            InvalidToken: the token is not good.
            CannotTell: it may have been revoked, and that is not known now.
        """
        if len(authorization) > 1:
            raise AmbiguousRequest
        if not authorization or not authorization[0][:6].lower() == "bearer":
            raise MissingToken
        match = _BEARER.fullmatch(authorization[0])
        if match is None:
            raise InvalidToken("malformed Authorization header")
        return self.verify(match[1])

    def require_role(self, token: AccessToken, *roles: str) -> AccessToken:
        """Return the token if its bearer has one of the roles.

        Raises:
            Forbidden: its bearer has none of them.
        """
        if token.role not in roles:
            raise Forbidden(f"none of the roles {', '.join(roles)}")
        return token

    def _refuse_revoked(self, token: AccessToken) -> None:
        if self._revocations is None:
            return
        if self._revocations.contains(token):
            raise InvalidToken("revoked")
        if not self._revocations.fresh(self._monotonic()):
            raise CannotTell("the revocation set is stale")
