"""Issue a JSON Web Token, and verify one: signature, type and claims in one call (RFC 7519, RFC 8725).

The only place of the engine that reads the clock (when `now` is None) and draws an id (when `token_id` is None).
"""

import math
import secrets
import time
from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar, cast

from tokenkeep.jose.algorithms import accepted_algorithms
from tokenkeep.jose.arguments import (
    MAX_INSTANT,
    checked_duration,
    checked_instant,
    checked_size,
    checked_text,
    checked_texts,
)
from tokenkeep.jose.claims import (
    DEFAULT_LEEWAY,
    REGISTERED_CLAIMS,
    ClaimsPolicy,
    check_claims,
    checked_token_type,
)
from tokenkeep.jose.compact import (
    MAX_TOKEN_SIZE,
    check_header,
    decode_members,
    decode_segment,
    header_segment,
    open_token,
)
from tokenkeep.jose.encoding import decode_object, encode_base64url, encode_object
from tokenkeep.jose.errors import (
    ClaimMissing,
    InvalidArgument,
    IssuerNotAccepted,
    ReservedName,
    TokenTypeNotAccepted,
    WrongType,
)
from tokenkeep.jose.jws import KEYS, check_signature, checked_key, checked_keys, seal
from tokenkeep.jose.key_set import KeySet
from tokenkeep.jose.keys import Key

__all__ = ["UnverifiedToken", "VerifiedToken", "decode_unverified", "issue", "verify", "verify_with_policy"]

#: Keys for verifying: one, a set, or those of each accepted issuer.
Keys = Key | KeySet | Mapping[str, Key | KeySet]

_TOKEN_ID_BYTES: Final = 16
_SECOND: Final = timedelta(seconds=1)


class VerifiedToken(NamedTuple):
    """Header and claims of a token that passed every check; both deeply immutable, arrays as tuples."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    def __reduce__(self) -> tuple[object, ...]:
        return _thawed, (VerifiedToken, encode_object(self.header), encode_object(self.claims))


class UnverifiedToken(NamedTuple):
    """Header and claims of a token that nobody vouches for; both deeply immutable, arrays as tuples."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    def __reduce__(self) -> tuple[object, ...]:
        return _thawed, (UnverifiedToken, encode_object(self.header), encode_object(self.claims))


_Token = TypeVar("_Token", VerifiedToken, UnverifiedToken)
# What calling a class of named tuples does, without a function of Python in between.
_new: Final = tuple.__new__


def issue(
    claims: Mapping[str, Any],
    key: Key,
    *,
    issuer: str,
    audience: str | Sequence[str],
    lifetime: timedelta,
    subject: str | None = None,
    token_type: str | None = None,
    not_before: datetime | float | None = None,
    token_id: str | None = None,
    header: Mapping[str, Any] | None = None,
    now: float | None = None,
) -> str:
    """Return a signed token.

    Args:
        claims: the custom claims; none of iss, sub, aud, exp, nbf, iat, jti. The mapping is not changed.
        key: a private or HMAC key.
        issuer: `iss`.
        audience: `aud`; one string stays one string.
        lifetime: from `iat` to `exp`, at least a second; fractions of a second are dropped.
        subject: `sub`; left out when None.
        token_type: `typ`; "JWT" when None.
        not_before: `nbf`, an aware datetime or seconds since the epoch; left out when None.
        token_id: `jti`; 128 random bits when None.
        header: further header parameters.
        now: seconds since the epoch; the clock when None.

    Raises:
        ReservedName: a custom claim or header parameter with a name that only the engine sets.
        InvalidArgument: an empty or senseless value, or a token longer than `verify` accepts by default.
        WrongType: an argument of the wrong type, or a claim that JSON does not have.
        KeyRequired: there is no key.
        InvalidKey: the key may not sign.
    """
    checked_key(key)
    if type(claims) is not dict and not isinstance(claims, Mapping):
        raise WrongType(f"claims is a mapping, not {type(claims).__name__}")
    custom = dict(claims)  # read once: a mapping of the caller's may say something else the next time
    if not REGISTERED_CLAIMS.isdisjoint(custom):
        raise ReservedName(f"claim '{min(REGISTERED_CLAIMS.intersection(custom))}' is set by the engine only")
    audiences = checked_texts("audience", audience)
    issued_at = math.floor(time.time() if now is None else checked_instant("now", now))
    expires_at = issued_at + _whole_seconds(lifetime)
    if expires_at > MAX_INSTANT:
        raise InvalidArgument("the token would expire after the year 9999")
    payload: dict[str, Any] = {"iss": checked_text("issuer", issuer)}
    if subject is not None:
        payload["sub"] = checked_text("subject", subject)
    payload["aud"] = audience if isinstance(audience, str) else audiences
    payload["iat"] = issued_at
    if not_before is not None:
        payload["nbf"] = _not_before(not_before, expires_at)
    payload["exp"] = expires_at
    payload["jti"] = _new_token_id() if token_id is None else checked_text("token_id", token_id)
    payload.update(custom)
    segment = header_segment(key, "JWT" if token_type is None else checked_token_type(token_type), header)
    token = seal(segment, encode_object(payload), key)
    if len(token) > MAX_TOKEN_SIZE:
        raise InvalidArgument(f"the token gets longer than {MAX_TOKEN_SIZE} bytes")
    return token


def verify(
    token: str | bytes,
    keys: Keys,
    *,
    algorithms: Sequence[str] | Set[str],
    issuer: str | None,
    audience: str | Sequence[str],
    token_type: str | None = None,
    leeway: timedelta = DEFAULT_LEEWAY,
    max_age: timedelta | None = None,
    max_lifetime: timedelta | None = None,
    now: float | None = None,
    max_size: int = MAX_TOKEN_SIZE,
) -> VerifiedToken:
    """Return header and claims of a token after checking its signature, its type and every registered claim.

    Args:
        token: the compact form.
        keys: one key, whatever kid the header has; a set, in which the header's kid selects; or, to accept several
            issuers, a mapping from each issuer to its key or set.
        algorithms: the accepted ones.
        issuer: the accepted `iss`; None exactly when `keys` is a mapping.
        audience: the accepted audiences; the token names at least one.
        token_type: the required `typ`; None accepts none or "JWT".
        leeway: how far clocks may be apart, 0 to 60 seconds. A token is expired from `exp + leeway` on.
        max_age: how long ago the token may have been issued.
        max_lifetime: how long the token may live in all.
        now: seconds since the epoch; the clock when None.
        max_size: the longest accepted token in bytes.

    Raises:
        TokenError: the token is refused. Size and shape come first, then header, algorithm, key, signature, type and
            claims: a token that is both forged and expired has an invalid signature.
        UsageError: a wrong argument, before the token is looked at.
    """
    # A tuple of its own for each call: what a caller's own sequence says today it may not say tomorrow.
    if type(audience) is not str:
        plain = type(audience) is list or type(audience) is tuple
        audience = tuple(audience) if plain else checked_texts("audience", audience)
    try:
        policy = _remembered_policy(issuer, audience, token_type, leeway, max_age, max_lifetime)
    except TypeError as error:
        if isinstance(error, WrongType):
            raise
        # What cannot be hashed is a mistake, which the constructor names.
        policy = ClaimsPolicy(issuer, audience, token_type, leeway, max_age, max_lifetime)
    return verify_with_policy(token, keys, policy, algorithms=algorithms, now=now, max_size=max_size)


def verify_with_policy(
    token: str | bytes,
    keys: Keys,
    policy: ClaimsPolicy,
    *,
    algorithms: Sequence[str] | Set[str],
    now: float | None = None,
    max_size: int = MAX_TOKEN_SIZE,
) -> VerifiedToken:
    """Verify as `verify` does, with a policy that was made before.

    Raises:
        TokenError: the token is refused.
        UsageError: a wrong argument, before the token is looked at.
    """
    accepted = accepted_algorithms(algorithms)
    if max_size is not MAX_TOKEN_SIZE:
        checked_size("max_size", max_size)
    if not isinstance(policy, ClaimsPolicy):
        raise WrongType("policy is a ClaimsPolicy")
    chosen = keys if isinstance(keys, KEYS) else None
    if chosen is None or policy.issuer is None or not chosen.verifies:
        _check_keys(keys, policy)
    moment = time.time() if now is None else checked_instant("now", now)
    opened = open_token(token, max_size)
    header, payload, _, _ = opened
    check_header(header, accepted)
    claims = None
    if chosen is None:
        # The issuer is read before anybody vouches for it, and used for nothing but to pick among the keys given.
        claims = decode_members("payload", payload)
        chosen = _keys_of_issuer(cast(Mapping[str, Key | KeySet], keys), claims)
    check_signature(opened, chosen)
    if header.type not in policy.types:
        raise TokenTypeNotAccepted
    if claims is None:
        claims = decode_members("payload", payload)
    check_claims(claims, policy, moment)
    return _new(VerifiedToken, (header.parameters, MappingProxyType(claims)))


def decode_unverified(token: str | bytes, *, max_size: int = MAX_TOKEN_SIZE) -> UnverifiedToken:
    """Return what a token says, without checking anything but its form. Nobody vouches for it.

    Raises:
        MalformedToken: not a compact token of strict JSON.
        UsageError: a wrong argument.
    """
    checked_size("max_size", max_size)
    header, payload, signature, _ = open_token(token, max_size)
    decode_segment("signature", signature)  # empty in an unsigned token, which can be looked at, but never verified
    return UnverifiedToken(header.parameters, MappingProxyType(decode_members("payload", payload)))


def _thawed(kind: type[_Token], header: bytes, claims: bytes) -> _Token:
    """Return a token that was copied or pickled, as immutable as it was."""
    read = partial(decode_object, frozen=True)
    return kind(MappingProxyType(read(header)), MappingProxyType(read(claims)))


_remembered_policy: Final = lru_cache(maxsize=256)(ClaimsPolicy)


def _check_keys(keys: Keys, policy: ClaimsPolicy) -> None:
    if isinstance(keys, KEYS) or not isinstance(keys, Mapping):
        checked_keys(keys)
        raise InvalidArgument("issuer is required, unless keys are bound to issuers in a mapping")
    if policy.issuer is not None:
        raise InvalidArgument("issuer is None when keys are bound to issuers in a mapping")
    if not keys:
        raise InvalidArgument("the mapping from issuers to keys is empty")
    for issuer, bound in keys.items():
        checked_text("issuer", issuer)
        checked_keys(bound)


def _keys_of_issuer(keys: Mapping[str, Key | KeySet], claims: Mapping[str, Any]) -> Key | KeySet:
    issuer = claims.get("iss")
    if "iss" not in claims:
        raise ClaimMissing("claim 'iss' is missing", claim="iss")
    bound = keys.get(issuer) if type(issuer) is str else None
    if bound is None:
        raise IssuerNotAccepted(claim="iss")
    return checked_keys(bound)  # once more: the mapping is the caller's, and may answer as it likes


def _whole_seconds(lifetime: timedelta) -> int:
    if checked_duration("lifetime", lifetime) < _SECOND:
        raise InvalidArgument("lifetime is at least one second")
    return lifetime // _SECOND


def _not_before(given: datetime | float, expires_at: int) -> int:
    if isinstance(given, datetime):
        if given.utcoffset() is None:
            raise InvalidArgument("not_before is a datetime with a time zone")
        given = given.timestamp()
    seconds = math.ceil(checked_instant("not_before", given))
    if seconds >= expires_at:
        raise InvalidArgument("not_before lies after the end of the lifetime")
    return seconds


def _new_token_id() -> str:
    return encode_base64url(secrets.token_bytes(_TOKEN_ID_BYTES))
