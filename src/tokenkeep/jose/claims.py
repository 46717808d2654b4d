"""What claims must say to be accepted: the policy, and every check spelt out (RFC 7519 §4.1, RFC 8725 §3.8 to §3.12).

No clock here: `now` is an argument. All instants are seconds since the epoch, as in the token itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tokenkeep.jose.arguments import MAX_INSTANT, checked_duration, checked_text, checked_texts
from tokenkeep.jose.compact import media_type
from tokenkeep.jose.errors import (
    AudienceNotAccepted,
    ClaimError,
    ClaimInvalid,
    ClaimMissing,
    InvalidArgument,
    IssuerNotAccepted,
    TokenExpired,
    TokenNotYetValid,
    TokenTooOld,
)

__all__ = [
    "DEFAULT_LEEWAY",
    "MAX_LEEWAY",
    "REGISTERED_CLAIMS",
    "ClaimsPolicy",
    "check_claims",
    "checked_token_type",
]

#: The claims that only the engine sets (RFC 7519 §4.1).
REGISTERED_CLAIMS: Final = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
DEFAULT_LEEWAY: Final = timedelta(seconds=5)
MAX_LEEWAY: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ClaimsPolicy:
    """What a token must be and say to be accepted; checked once, when it is made.

    Args:
        issuer: the one accepted `iss`; None only where keys are bound to issuers, which then do this check.
        audience: the accepted audiences; the token names at least one of them.
        token_type: the required `typ`; None accepts a header without one or with "JWT".
        leeway: how far clocks may be apart, 0 to 60 seconds.
        max_age: how long ago the token may have been issued; needs `iat` in the token.
        max_lifetime: how long the token may live in all; needs `iat` in the token.

    Raises:
        InvalidArgument: an empty name, a duration out of range.
        WrongType: a name that is no string, a duration that is no `timedelta`.
    """

    issuer: str | None
    audience: str | Sequence[str]
    token_type: str | None = None
    leeway: timedelta = DEFAULT_LEEWAY
    max_age: timedelta | None = None
    max_lifetime: timedelta | None = None

    #: The accepted types as `media_type` spells them; None stands for a header without one.
    types: frozenset[str | None] = field(init=False, repr=False, compare=False)
    _audiences: frozenset[str] = field(init=False, repr=False, compare=False)
    _leeway: float = field(init=False, repr=False, compare=False)
    _max_age: float | None = field(init=False, repr=False, compare=False)
    _max_lifetime: float | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        issuer = None if self.issuer is None else checked_text("issuer", self.issuer)
        audiences = checked_texts("audience", self.audience)
        if not timedelta(0) <= checked_duration("leeway", self.leeway) <= MAX_LEEWAY:
            raise InvalidArgument("leeway is between 0 and 60 seconds")
        token_type = None if self.token_type is None else checked_token_type(self.token_type)
        types = frozenset({None, "application/jwt"} if token_type is None else {media_type(token_type)})
        for name, value in (
            ("issuer", issuer),
            ("audience", audiences[0] if isinstance(self.audience, str) else audiences),
            ("token_type", token_type),
            ("_audiences", frozenset(audiences)),
            ("types", types),
            ("_leeway", self.leeway.total_seconds()),
            ("_max_age", _positive_seconds("max_age", self.max_age)),
            ("_max_lifetime", _positive_seconds("max_lifetime", self.max_lifetime)),
        ):
            object.__setattr__(self, name, value)


def check_claims(claims: Mapping[str, Any], policy: ClaimsPolicy, now: float) -> None:
    """Hold decoded claims to the policy at an instant.

    The order is issuer, audience, exp, nbf, iat, maximum age, maximum lifetime, sub, jti; the first failure is raised.

    Args:
        claims: as `decode_object` returned them, frozen.
        policy: what is accepted.
        now: seconds since the epoch.

    Raises:
        ClaimError: one of its subclasses.
    """
    if claims.get("iss") != policy.issuer and policy.issuer is not None:
        raise _missing_or(IssuerNotAccepted(claim="iss"), claims)
    audience = claims.get("aud")
    if type(audience) is not str or audience not in policy._audiences:
        _check_audiences(claims, policy._audiences)
    exp = claims.get("exp")
    if (type(exp) is not int and type(exp) is not float) or not 0 <= exp <= MAX_INSTANT:
        raise _missing_or(_bad_instant("exp"), claims)
    if now >= exp + policy._leeway:
        raise TokenExpired(expired_at=_datetime(exp))
    latest = now + policy._leeway
    if "nbf" in claims:
        nbf = claims["nbf"]
        if (type(nbf) is not int and type(nbf) is not float) or not 0 <= nbf <= MAX_INSTANT:
            raise _bad_instant("nbf")
        if nbf > latest:
            raise TokenNotYetValid(valid_from=_datetime(nbf))
    if "iat" in claims:
        iat = claims["iat"]
        if (type(iat) is not int and type(iat) is not float) or not 0 <= iat <= MAX_INSTANT:
            raise _bad_instant("iat")
        if iat > latest:
            raise TokenNotYetValid("token issued in the future", claim="iat", valid_from=_datetime(iat))
    if policy._max_age is not None or policy._max_lifetime is not None:
        _check_age(claims, policy, now, exp)
    if "sub" in claims and type(claims["sub"]) is not str:
        raise ClaimInvalid("claim 'sub' is not a string", claim="sub")
    if "jti" in claims and type(claims["jti"]) is not str:
        raise ClaimInvalid("claim 'jti' is not a string", claim="jti")


def checked_token_type(given: object) -> str:
    """Return a token type if it is the name of a media type.

    Raises:
        WrongType: not a string.
        InvalidArgument: empty, longer than 128 characters, or with white space or anything but visible ASCII.
    """
    token_type = checked_text("token_type", given)
    if not token_type.isascii() or not token_type.isprintable() or " " in token_type or len(token_type) > 128:
        raise InvalidArgument("token_type is a media type such as 'at+jwt'")
    return token_type


def _missing_or(error: ClaimError, claims: Mapping[str, Any]) -> ClaimError:
    """Return the error for a claim that is refused, or another if the claim is not there at all."""
    name = error.claim
    return error if name in claims else ClaimMissing(f"claim '{name}' is missing", claim=name)


def _check_audiences(claims: Mapping[str, Any], accepted: frozenset[str]) -> None:
    """Hold an audience that is not simply the accepted text to the policy."""
    audience = claims.get("aud")
    if type(audience) is str:
        raise AudienceNotAccepted(claim="aud")
    if type(audience) is not tuple or not all(type(item) is str for item in audience):
        raise _missing_or(ClaimInvalid("claim 'aud' is not a string or a list of strings", claim="aud"), claims)
    if accepted.isdisjoint(audience):
        raise AudienceNotAccepted(claim="aud")


def _check_age(claims: Mapping[str, Any], policy: ClaimsPolicy, now: float, exp: float) -> None:
    iat = claims.get("iat")
    if iat is None:
        raise ClaimMissing("claim 'iat' is missing", claim="iat")
    if policy._max_age is not None and now >= iat + policy._max_age + policy._leeway:
        raise TokenTooOld(claim="iat", expired_at=_datetime(iat + policy._max_age))
    if policy._max_lifetime is not None and exp - iat > policy._max_lifetime:
        raise ClaimInvalid("claim 'exp' lies further from 'iat' than accepted", claim="exp")


def _bad_instant(name: str) -> ClaimInvalid:
    return ClaimInvalid(f"claim '{name}' is not a number of seconds between 1970 and 9999", claim=name)


def _datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _positive_seconds(name: str, given: timedelta | None) -> float | None:
    if given is None:
        return None
    if checked_duration(name, given) <= timedelta(0):
        raise InvalidArgument(f"{name} is longer than zero")
    return given.total_seconds()
