"""Sign and verify bytes in the compact form of JSON Web Signature (RFC 7515).

The key decides: a header can only agree with it, and keys or addresses of keys inside a header (`jwk`, `jku`, `x5u`,
`x5c`, `x5t`) are never looked at.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from tokenkeep.jose.algorithms import accepted_algorithms
from tokenkeep.jose.arguments import checked_bytes, checked_size
from tokenkeep.jose.compact import (
    MAX_TOKEN_SIZE,
    Opened,
    check_header,
    decode_segment,
    header_segment,
    open_token,
    remember_header,
)
from tokenkeep.jose.encoding import decode_object, encode_base64url, encode_object
from tokenkeep.jose.errors import (
    AlgorithmNotAllowed,
    InvalidArgument,
    InvalidSignature,
    KeyRequired,
    MalformedToken,
    WrongType,
)
from tokenkeep.jose.key_set import KeySet
from tokenkeep.jose.keys import Key

__all__ = ["JwsContent", "sign", "verify"]

#: What can verify.
KEYS: Final = (Key, KeySet)


@dataclass(frozen=True, slots=True)
class JwsContent:
    """What a verified JWS holds; both parts were under the signature."""

    #: The header parameters, deeply immutable.
    header: Mapping[str, Any]
    payload: bytes

    def __reduce__(self) -> tuple[object, ...]:
        return _thawed, (encode_object(self.header), self.payload)


def sign(payload: bytes, key: Key, *, header: Mapping[str, Any] | None = None) -> str:
    """Return the compact JWS of some bytes.

    Args:
        payload: any bytes.
        key: a private or HMAC key; it sets `alg` and `kid`.
        header: further header parameters, such as `typ` or `cty`.

    Raises:
        InvalidKey: the key may not sign.
        KeyRequired: there is no key.
        ReservedName: a header parameter that only the engine sets.
        InvalidArgument: a header that is too long or cannot be written as JSON.
        WrongType: an argument of the wrong type.
    """
    checked_bytes("a payload", payload)
    checked_key(key)
    return seal(header_segment(key, None, header), payload, key)


def verify(
    token: str | bytes,
    keys: Key | KeySet,
    *,
    algorithms: Sequence[str] | Set[str],
    max_size: int = MAX_TOKEN_SIZE,
) -> JwsContent:
    """Return header and payload of a compact JWS whose signature is right.

    Args:
        token: the compact form.
        keys: one key, whatever kid the header has; or a set, in which the header's kid selects.
        algorithms: the accepted ones.
        max_size: the longest accepted token in bytes.

    Raises:
        MalformedToken, HeaderNotAccepted, AlgorithmNotAllowed, KeyNotFound, AmbiguousKey, InvalidSignature: the token
            is refused; the checks run in this order.
        UsageError: a wrong argument, before the token is looked at; a key that may only sign is one.
    """
    accepted = accepted_algorithms(algorithms)
    checked_size("max_size", max_size)
    checked_keys(keys)
    opened = open_token(token, max_size)
    header, payload, _, _ = opened
    check_header(header, accepted)
    check_signature(opened, keys)
    return JwsContent(header.parameters, decode_segment("payload", payload))


def check_signature(opened: Opened, keys: Key | KeySet) -> None:
    """Refuse a token that is not signed by the right key; the header's algorithm was accepted before.

    Raises:
        KeyNotFound, AmbiguousKey, AlgorithmNotAllowed, MalformedToken, InvalidSignature: in this order.
    """
    header, _, signature, signed = opened
    key = keys if isinstance(keys, Key) else keys.select(header.kid, header.alg or "")
    # Once more at the moment of use: whatever chose the key, it only ever works with its own algorithm.
    if key.alg != header.alg:
        raise AlgorithmNotAllowed("algorithm not allowed: the key is bound to another one")
    if not signature:
        raise MalformedToken("malformed token: no signature")
    if not key.verify(signed, decode_segment("signature", signature)):
        raise InvalidSignature
    if header.segment is not None:
        remember_header(header.segment, header)


def seal(segment: bytes, payload: bytes, key: Key) -> str:
    """Join an encoded header and a payload, and sign both."""
    signed = b"%b.%b" % (segment, encode_base64url(payload).encode("ascii"))
    return f"{signed.decode('ascii')}.{encode_base64url(key.sign(signed))}"


def checked_key(key: object) -> Key:
    """Return what was given if it is one key.

    Raises:
        KeyRequired: nothing was given.
        WrongType: something else than a `Key`.
    """
    if not isinstance(key, Key):
        raise _mistake(key, "a Key")
    return key


def checked_keys(keys: object) -> Key | KeySet:
    """Return what was given if it is a key that may verify, or a key set.

    Raises:
        KeyRequired: nothing was given.
        WrongType: something else than a `Key` or `KeySet`.
        InvalidArgument: a key that may only sign.
    """
    if not isinstance(keys, KEYS):
        raise _mistake(keys, "a Key or a KeySet")
    if not keys.verifies:
        raise InvalidArgument("this key may only sign; its public half verifies")
    return keys


def _thawed(header: bytes, payload: bytes) -> JwsContent:
    return JwsContent(MappingProxyType(decode_object(header, frozen=True)), payload)


def _mistake(given: object, wanted: str) -> WrongType:
    if given is None or (isinstance(given, str | bytes) and not given):
        return KeyRequired()
    return WrongType(f"{wanted} is required, not {type(given).__name__}; see Key.from_secret, from_pem and from_jwk")
