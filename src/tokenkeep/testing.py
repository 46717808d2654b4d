"""For your own tests: an issuer that mints access tokens, and a verifier that trusts exactly it.

issuer = TokenIssuer()
app = create_my_app(verifier=issuer.verifier())
client.get("/orders", headers=issuer.headers(role="admin"))
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from tokenkeep.contract.access_token import TOKEN_TYPE
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.jose import Key, jwt
from tokenkeep.verifier import AsyncTokenVerifier, TokenVerifier


class TokenIssuer:
    """Mints access tokens as the server would, signed with a key of its own. Never for production."""

    def __init__(
        self,
        *,
        issuer: str = "https://issuer.test",
        audience: str = "https://api.test",
        algorithm: str = "ES256",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Draw a key; `clock` returns seconds since the epoch, and the verifier goes by it too."""
        self.issuer = issuer
        self.audience = audience
        self.key = Key.generate(algorithm)
        self._clock = clock

    def token(
        self,
        *,
        subject: str = "1",
        name: str = "Ada",
        role: str = "user",
        lifetime: timedelta = timedelta(minutes=15),
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """Return an access token; `claims` adds to its claims or replaces all but the registered ones."""
        issued_at = self._clock()
        said = {"client_id": "test", "sid": "test-session", "ver": 1, "auth_time": int(issued_at), "amr": ["pwd"]}
        return jwt.issue(
            {**said, "name": name, "role": role, **(claims or {})},
            self.key,
            issuer=self.issuer,
            subject=subject,
            audience=self.audience,
            lifetime=lifetime,
            token_type=TOKEN_TYPE,
            now=issued_at,
        )

    def headers(self, **token: Any) -> dict[str, str]:
        """Return the request headers that carry a token; the arguments are those of `token`."""
        return {"Authorization": f"Bearer {self.token(**token)}"}

    def verifier(self, *, revocations: RevocationSet | None = None) -> TokenVerifier:
        """Return a verifier that accepts the tokens minted here and no others."""
        return TokenVerifier(
            issuer=self.issuer,
            audience=self.audience,
            algorithms=[self.key.alg],
            keys=self._verification_key(),
            revocations=revocations,
            clock=self._clock,
        )

    def async_verifier(self, *, revocations: RevocationSet | None = None) -> AsyncTokenVerifier:
        """Return the same for a service that awaits its verifier."""
        return AsyncTokenVerifier(
            issuer=self.issuer,
            audience=self.audience,
            algorithms=[self.key.alg],
            keys=self._verification_key(),
            revocations=revocations,
            clock=self._clock,
        )

    def _verification_key(self) -> Key:
        return self.key if self.key.key_type == "oct" else self.key.public()
