"""The compact serialization: three segments, their sizes, and the header in front (RFC 7515 §3.1, §4, §7.1).

Splits, joins and reads; it knows no keys and judges no signatures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from tokenkeep.jose.encoding import decode_base64url, decode_object, encode_base64url, encode_object
from tokenkeep.jose.errors import (
    AlgorithmNotAllowed,
    HeaderNotAccepted,
    InvalidArgument,
    MalformedBase64,
    MalformedJson,
    MalformedToken,
    ReservedName,
    WrongType,
)
from tokenkeep.jose.key_ids import MAX_KID_LENGTH
from tokenkeep.jose.keys import Key

__all__ = [
    "MAX_HEADER_SIZE",
    "MAX_TOKEN_SIZE",
    "Header",
    "Opened",
    "check_header",
    "decode_members",
    "decode_segment",
    "header_segment",
    "media_type",
    "open_token",
    "remember_header",
]

#: Longest token in bytes, unless the caller says otherwise.
MAX_TOKEN_SIZE: Final = 8192
#: Longest encoded header in bytes.
MAX_HEADER_SIZE: Final = 2048

# Parameters that change how a token is to be understood; no extension is (RFC 7515 §4.1.11, RFC 7797 §3).
_EXTENSIONS: Final = ("crit", "b64")
# What only the engine writes, and what it would never look for a key in (RFC 8725 §3.10).
_RESERVED: Final = frozenset({"alg", "kid", "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"})


@dataclass(frozen=True, slots=True)
class Header:
    """A header that was read: its parameters, deeply immutable, and the ones the engine acts on."""

    parameters: Mapping[str, Any]
    #: None when it is missing or no string.
    alg: str | None
    kid: str | None
    #: `typ` as a full media type in lower case, None when absent.
    type: str | None
    #: The name of a parameter that demands an unsupported extension, None when there is none.
    unsupported: str | None
    #: The segment it was read from, None once the header is remembered.
    segment: bytes | None


#: A token cut into its parts: the header, read; payload and signature, still encoded; and what was signed. A plain
#: tuple: one with names costs as much as a fortieth of verifying.
Opened = tuple[Header, bytes, bytes, bytes]


def open_token(token: str | bytes, max_size: int) -> Opened:
    """Cut a token at its two dots, after checking its size, and read its header.

    Raises:
        MalformedToken: too long, not ASCII, not three segments, or no header, or one that is too long, is not
            canonical base64url of a strict JSON object, or has a kid or typ of the wrong shape.
        WrongType: neither text nor bytes.
    """
    if not isinstance(token, str) and not isinstance(token, bytes):
        raise WrongType(f"a token is a string or bytes, not {type(token).__name__}")
    if len(token) > max_size:
        raise MalformedToken(f"malformed token: longer than {max_size} bytes")
    if isinstance(token, str):
        if not token.isascii():
            raise MalformedToken("malformed token: not ASCII")
        token = token.encode()
    signed, _, signature = token.rpartition(b".")
    segment, dot, payload = signed.partition(b".")
    if not dot or b"." in payload:
        raise MalformedToken(f"malformed token: three segments expected, found {token.count(b'.') + 1}")
    return _remembered.get(segment) or _read_header(segment), payload, signature, signed


def decode_segment(name: str, segment: bytes) -> bytes:
    """Return what a segment of a token spells.

    Raises:
        MalformedToken: not canonical base64url.
    """
    try:
        return decode_base64url(segment)
    except MalformedBase64:
        raise MalformedToken(f"malformed token: the {name} is not canonical base64url") from None


def decode_members(name: str, segment: bytes) -> dict[str, Any]:
    """Return the JSON object that a segment of a token spells, deeply immutable but for the outermost level.

    Raises:
        MalformedToken: not canonical base64url, or not a strict JSON object.
    """
    try:
        return decode_object(decode_base64url(segment), frozen=True)
    except MalformedBase64:
        raise MalformedToken(f"malformed token: the {name} is not canonical base64url") from None
    except MalformedJson:
        raise MalformedToken(f"malformed token: the {name} is not a strict JSON object") from None


# Headers by their exact text. Only headers of correctly signed tokens get in, so that a stranger can neither fill nor
# flush it; emptying it when full keeps it small without bookkeeping. What is handed out is read-only and one for all: a
# comparison with a hostile object would show that object what is behind it, but code in this process needs no such way
# in, and a copy for each caller costs as much as the rest of reading a remembered header.
_MAX_REMEMBERED: Final = 256
_remembered: Final[dict[bytes, Header]] = {}


def _read_header(segment: bytes) -> Header:
    if not segment:
        raise MalformedToken("malformed token: no header")
    if len(segment) > MAX_HEADER_SIZE:
        raise MalformedToken(f"malformed token: header longer than {MAX_HEADER_SIZE} bytes")
    parameters = decode_members("header", segment)
    alg = parameters.get("alg")
    kid = parameters.get("kid")
    if "kid" in parameters and (type(kid) is not str or len(kid) > MAX_KID_LENGTH):
        raise MalformedToken(f"malformed token: the kid is not a string of at most {MAX_KID_LENGTH} characters")
    typ = parameters.get("typ")
    if "typ" in parameters and type(typ) is not str:
        raise MalformedToken("malformed token: the typ is not a string")
    return Header(
        parameters=MappingProxyType(parameters),
        alg=alg if type(alg) is str else None,
        kid=kid,
        type=None if typ is None else media_type(typ),
        unsupported=next((name for name in _EXTENSIONS if name in parameters), None),
        segment=segment,
    )


def remember_header(segment: bytes, header: Header) -> None:
    """Keep the header of a correctly signed token, so that its like need not be read again."""
    if len(_remembered) >= _MAX_REMEMBERED:
        _remembered.clear()
    _remembered[segment] = replace(header, segment=None)


def check_header(header: Header, accepted: frozenset[str]) -> None:
    """Refuse a header whose algorithm is not accepted or which demands something unsupported.

    Raises:
        AlgorithmNotAllowed: another algorithm, or none.
        HeaderNotAccepted: `crit` or `b64` (RFC 7515 §4.1.11, RFC 7797): no extension is understood.
    """
    if header.alg not in accepted:
        raise AlgorithmNotAllowed
    if header.unsupported is not None:
        raise HeaderNotAccepted(f"header parameter not accepted: {header.unsupported}")


def media_type(typ: str) -> str:
    """Spell a `typ` as a full media type in lower case, for comparing (RFC 7515 §4.1.9).

    Text that is not ASCII stays as it is: some foreign letters become ASCII ones in lower case.
    """
    if not typ.isascii():
        return typ
    return (typ if "/" in typ else f"application/{typ}").lower()


def header_segment(key: Key, typ: str | None, extra: Mapping[str, Any] | None) -> bytes:
    """Return the encoded header for a token signed by a key.

    Raises:
        ReservedName: the extra parameters name one that only the engine sets, or `typ` beside a type.
        InvalidArgument: the header gets too long or cannot be written as JSON.
        WrongType: the extra parameters are no mapping, or hold what JSON does not have.
    """
    if extra is None:
        return _plain_segment(key.alg, key.kid, typ)
    if not isinstance(extra, Mapping):
        raise WrongType("header is a mapping of extra header parameters")
    parameters = dict(extra)  # read once: a mapping of the caller's may say something else the next time
    reserved = _RESERVED.intersection(parameters)
    if reserved:
        raise ReservedName(f"header parameter '{min(reserved)}' is set by the engine only")
    if typ is not None and "typ" in parameters:
        raise ReservedName("header parameter 'typ' is set by token_type")
    if not isinstance(parameters.get("typ", ""), str):
        raise WrongType("header parameter 'typ' is a string")
    start: dict[str, Any] = {"alg": key.alg} if typ is None else {"alg": key.alg, "typ": typ}
    segment = encode_base64url(encode_object({**start, "kid": key.kid, **parameters}))
    if len(segment) > MAX_HEADER_SIZE:
        raise InvalidArgument(f"the header gets longer than {MAX_HEADER_SIZE} bytes")
    return segment.encode("ascii")


@lru_cache(maxsize=256)
def _plain_segment(alg: str, kid: str, typ: str | None) -> bytes:
    header = {"alg": alg, "kid": kid} if typ is None else {"alg": alg, "typ": typ, "kid": kid}
    return encode_base64url(encode_object(header)).encode("ascii")
