"""The access token (RFC 9068): its type, its claim names, and the dataclass that verified claims become.

Not here: signing and verifying (`jose`), and who may get a token (`domain`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tokenkeep.jose.errors import ClaimInvalid, ClaimMissing

TOKEN_TYPE: Final = "at+jwt"

RESERVED_CLAIMS: Final = frozenset(
    [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "sid",
        "ver",
        "auth_time",
        "amr",
        "acr",
        "name",
        "role",
        "cnf",
        "scope",
        "act",
    ]
)
"""Claim names that an embedding application may not set through its claims hook."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a verified access token says. Instants are seconds since the epoch.

    `session_id`, `version`, `name` and `role` are None in tokens of issuers that do not write them.
    """

    issuer: str
    subject: str
    audience: tuple[str, ...]
    issued_at: float
    expires_at: float
    token_id: str
    client_id: str
    session_id: str | None = None
    version: int | None = None
    authenticated_at: float | None = None
    methods: tuple[str, ...] = ()
    name: str | None = None
    role: str | None = None
    key_id: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)


def to_claims(token: AccessToken) -> dict[str, Any]:
    """Return the claims of a token to be issued, but for those that signing adds: `iss sub aud exp iat jti`."""
    claims: dict[str, Any] = {"client_id": token.client_id}
    optional = {
        "sid": token.session_id,
        "ver": token.version,
        "auth_time": token.authenticated_at,
        "amr": list(token.methods) or None,
        "name": token.name,
        "role": token.role,
    }
    claims.update((name, value) for name, value in optional.items() if value is not None)
    claims.update(token.claims)
    return claims


def from_claims(claims: Mapping[str, Any], *, key_id: str | None = None) -> AccessToken:
    """Return the access token that verified claims describe (RFC 9068 §2.2).

    Args:
        claims: the claims of a token whose signature, issuer, audience and times have been checked.
        key_id: the `kid` of the key that signed it.

    Raises:
        ClaimMissing: `sub`, `iat`, `jti` or `client_id` is absent.
        ClaimInvalid: a claim has another type than RFC 9068 gives it.
    """
    audience = claims["aud"]
    return AccessToken(
        issuer=claims["iss"],
        subject=_text(claims, "sub", required=True),
        audience=(audience,) if isinstance(audience, str) else tuple(audience),
        issued_at=_instant(claims, "iat", required=True),
        expires_at=claims["exp"],
        token_id=_text(claims, "jti", required=True),
        client_id=_text(claims, "client_id", required=True),
        session_id=_text(claims, "sid"),
        version=_version(claims),
        authenticated_at=_instant(claims, "auth_time"),
        methods=_methods(claims),
        name=_text(claims, "name"),
        role=_text(claims, "role"),
        key_id=key_id,
        claims=claims,
    )


LONGEST_IDENTIFIER: Final = 256
"""Characters of the longest accepted `sub`, `jti`, `sid`, `client_id`, `name` and `role`."""


def _text(claims: Mapping[str, Any], name: str, *, required: bool = False) -> Any:
    value = claims.get(name)
    if value is None and name not in claims:
        if required:
            raise ClaimMissing(name)
        return None
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_IDENTIFIER:
        raise ClaimInvalid(name)
    return value


def _instant(claims: Mapping[str, Any], name: str, *, required: bool = False) -> Any:
    value = claims.get(name)
    if value is None and name not in claims:
        if required:
            raise ClaimMissing(name)
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise ClaimInvalid(name)
    return value


def _version(claims: Mapping[str, Any]) -> int | None:
    value = claims.get("ver")
    if value is None and "ver" not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ClaimInvalid("ver")
    return value


def _methods(claims: Mapping[str, Any]) -> tuple[str, ...]:
    value = claims.get("amr", ())
    if not isinstance(value, list | tuple) or not all(isinstance(method, str) for method in value):
        raise ClaimInvalid("amr")
    return tuple(value)
