"""The access token (RFC 9068): its type, its claims, the dataclass they become, and what other issuers may leave out.

Not here: signing and verifying (`jose`), and who may get a token (`domain`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
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


class Profile(Enum):
    """What a token must carry beside `iss`, `aud` and `exp`, and how the rest of it is read."""

    TOKENKEEP = "tokenkeep"
    """`sub`, `iat`, `jti` and `client_id`; a claim of `AccessToken` with another type than Tokenkeep's is refused."""
    RFC_9068 = "rfc9068"
    """`sub`, `iat`, `jti` and `client_id`, of any issuer; other claims of `AccessToken` are None unless they fit."""
    PLAIN = "plain"
    """`sub` and `iat`, of any issuer; all other claims of `AccessToken` are None unless they fit."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a verified access token says. Instants are seconds since the epoch.

    `session_id`, `version`, `name` and `role` are None in tokens of issuers that do not write them. `token_id` and
    `client_id` are None only under `Profile.PLAIN`. `claims` holds everything, as it was signed.
    """

    issuer: str
    subject: str
    audience: tuple[str, ...]
    issued_at: float
    expires_at: float
    token_id: str | None
    client_id: str | None
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


def from_claims(
    claims: Mapping[str, Any], *, key_id: str | None = None, profile: Profile = Profile.TOKENKEEP
) -> AccessToken:
    """Return the access token that verified claims describe (RFC 9068 §2.2).

    Args:
        claims: the claims of a token whose signature, issuer, audience and times have been checked.
        key_id: the `kid` of the key that signed it.
        profile: which claims it must carry.

    Raises:
        ClaimMissing: a claim that the profile requires is absent.
        ClaimInvalid: a claim has another type than the profile gives it.
    """
    if profile is not Profile.TOKENKEEP:
        return _from_others(claims, key_id, profile)
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


def _from_others(claims: Mapping[str, Any], key_id: str | None, profile: Profile) -> AccessToken:
    """Read claims of an issuer that may mean something else by every name that the profile does not require."""
    named = profile is Profile.RFC_9068
    audience = claims["aud"]
    return AccessToken(
        issuer=claims["iss"],
        subject=_text(claims, "sub", required=True),
        audience=(audience,) if isinstance(audience, str) else tuple(audience),
        issued_at=_instant(claims, "iat", required=True),
        expires_at=claims["exp"],
        token_id=_text(claims, "jti", required=True) if named else _if_it_fits(_text, claims, "jti"),
        client_id=_text(claims, "client_id", required=True) if named else _if_it_fits(_text, claims, "client_id"),
        session_id=_if_it_fits(_text, claims, "sid"),
        # Never `ver`: elsewhere it is the version of the token's format, not that of an account.
        authenticated_at=_if_it_fits(_instant, claims, "auth_time"),
        methods=_if_it_fits(_methods, claims) or (),
        name=_if_it_fits(_text, claims, "name"),
        role=_if_it_fits(_text, claims, "role"),
        key_id=key_id,
        claims=claims,
    )


def _if_it_fits(read: Callable[..., Any], *claim: Any) -> Any:
    try:
        return read(*claim)
    except ClaimInvalid:
        return None


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
