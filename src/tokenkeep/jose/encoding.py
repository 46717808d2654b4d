"""Strict base64url and strict JSON objects: the one reader for tokens, key sets and request bodies.

Both readers accept exactly one spelling of a value, need time and memory linear in the input, and raise one
documented error each. No knowledge of tokens lives here.
"""

import binascii
import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from tokenkeep.jose.errors import InvalidArgument, MalformedBase64, MalformedJson, WrongType

__all__ = [
    "MAX_DEPTH",
    "decode_base64url",
    "decode_object",
    "encode_array",
    "encode_base64url",
    "encode_object",
]

#: Objects and arrays may be nested this deep, the outermost object counted.
MAX_DEPTH: Final = 32

# The decoder below knows the standard alphabet, of which two characters differ, inside of a JSON string. Every byte
# that is foreign to base64url ("+", "/" and "=" above all, quotes and backslashes too) becomes NUL, which no JSON
# string may hold; so one spelling is left.
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD: Final = bytes({0x2D: 0x2B, 0x5F: 0x2F}.get(byte, byte) if byte in _ALPHABET else 0 for byte in range(256))
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# By the length's remainder of four: what the text becomes inside, and the characters that may come last, None for all
# of them. Those leave the bits that belong to no byte at zero; no text leaves a remainder of one.
_SHAPES: Final[tuple[tuple[bytes, frozenset[int] | None], ...]] = (
    (b'"%b"', None),
    (b"", frozenset()),
    (b'"%b=="', frozenset(b"AQgw")),
    (b'"%b="', frozenset(b"AEIMQUYcgkosw048")),
)


def encode_base64url(data: bytes) -> str:
    """Spell bytes in base64url without padding (RFC 7515 §2).

    Raises:
        WrongType: `data` is not bytes.
    """
    try:
        return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")
    except TypeError:
        raise WrongType(f"base64url is made of bytes, not of {type(data).__name__}") from None


def decode_base64url(text: bytes | str) -> bytes:
    """Read the one canonical base64url spelling of some bytes (RFC 7515 §2, RFC 4648 §3.5).

    Raises:
        MalformedBase64: a character outside of the alphabet, padding, white space, an impossible length, or unused
            bits that are not zero.
        WrongType: neither text nor bytes.
    """
    # Errors are raised below the `try`, so that none carries one of the libraries, which may hold the text.
    try:
        if isinstance(text, str):
            text = text.encode("ascii")
        frame, final = _SHAPES[len(text) & 3]
        if final is None or text[-1] in final:
            return _decode_bytes(frame % text.translate(_TO_STANDARD))
        rule = "impossible length, or not the canonical spelling"
    except (msgspec.MsgspecError, UnicodeEncodeError):
        rule = "a character outside of the alphabet"
    except (TypeError, AttributeError):
        rule = ""
    if not rule:
        raise WrongType(f"base64url is text or bytes, not {type(text).__name__}")
    raise MalformedBase64(f"malformed base64url: {rule}")


_decode: Final = msgspec.json.Decoder().decode
_decode_bytes: Final = msgspec.json.Decoder(bytes).decode
_encode: Final = msgspec.json.Encoder().encode
_CONTAINERS: Final = frozenset({dict, list})
_TEXT: Final = frozenset({str})
# What needs neither copying nor a closer look before it is written. A float may be NaN.
_SIMPLE: Final = frozenset({str, int, bool, type(None)})
_LONGEST_INTEGER: Final = 4300
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def decode_object(data: bytes, *, frozen: bool = False) -> dict[str, Any]:
    """Read one strict JSON object.

    Strict means: UTF-8 without a byte order mark, an object at the top, no name twice in one object at any depth
    (compared after unescaping), no NaN or Infinity, no number that overflows a float, no lone surrogates, at most
    `MAX_DEPTH` levels, nothing but white space around it. The caller bounds the size.

    Args:
        data: the text.
        frozen: make objects inside read-only mappings and arrays tuples, all the way down. The outermost object is
            the caller's own in any case, to be wrapped in a `MappingProxyType` before it is handed on.

    Raises:
        MalformedJson: not a strict JSON object.
        WrongType: `data` is not bytes.
    """
    if type(data) is not bytes:
        raise WrongType(f"JSON is read from bytes, not from {type(data).__name__}")
    try:
        value = _decode(data)
    except RecursionError:
        value = MalformedJson("malformed JSON: nested too deep")
    except (msgspec.MsgspecError, ValueError):
        value = MalformedJson()
    if type(value) is not dict:
        raise value if type(value) is MalformedJson else MalformedJson("malformed JSON: not an object")
    # One brace at the very start and no bracket: nothing inside can be an object or an array.
    flat = (data.rfind(b"{") == 0 and data.rfind(b"[") < 0) or _CONTAINERS.isdisjoint(map(type, value.values()))
    # Brackets inside strings can only add to the count. And a text that is exactly what would be written for the value
    # holds each name once: a second member of the same name would make the text longer than what is written.
    if (not flat and data.count(b"{") + data.count(b"[") > MAX_DEPTH) or _encode(value) != data:
        _check_structure(data, value)
    if frozen and not flat:
        for name, item in value.items():
            value[name] = _frozen(item)
    return value


def _check_structure(data: bytes, value: dict[str, Any]) -> None:
    """Count depth and members exactly, for a text that is spelt another way than ours."""
    members = 0
    depth = 0
    level: list[Any] = [value]
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise MalformedJson("malformed JSON: nested too deep")
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                members += len(item)
                below += [child for child in item.values() if type(child) is dict or type(child) is list]
            else:
                below += [child for child in item if type(child) is dict or type(child) is list]
        level = below
    # The text is well-formed JSON by now: outside of strings a colon belongs to exactly one member.
    if _STRING.sub(b"", data).count(b":") != members:
        raise MalformedJson("malformed JSON: a name occurs twice in one object")


def encode_object(mapping: Mapping[str, Any]) -> bytes:
    """Write a mapping as compact JSON in UTF-8, members in their order.

    Accepted values: None, bool, int, float, str and its subclasses, and lists, tuples and mappings of these. The
    mapping is not changed. What is written can be read by `decode_object`.

    Raises:
        WrongType: a name that is no plain string or a value that JSON does not have.
        InvalidArgument: NaN, infinity, an integer of thousands of digits, a lone surrogate, or deeper than
            `MAX_DEPTH`.
    """
    if (
        type(mapping) is dict
        and _TEXT.issuperset(map(type, mapping))
        and _SIMPLE.issuperset(map(type, mapping.values()))
    ):
        return _written(mapping)
    if not isinstance(mapping, Mapping):
        raise WrongType("a mapping is required for a JSON object")
    return _written(_plain(mapping, MAX_DEPTH))


def encode_array(items: Sequence[str | int]) -> bytes:
    """Write texts and integers as one compact JSON array in UTF-8.

    Raises:
        WrongType: no list, or an item that JSON does not have.
        InvalidArgument: an integer of thousands of digits or a lone surrogate.
    """
    if isinstance(items, str | bytes) or not isinstance(items, Sequence):
        raise WrongType("a list is required for a JSON array")
    listed = list(items)
    return _written(listed if _SIMPLE.issuperset(map(type, listed)) else _plain(listed, MAX_DEPTH))


def _written(plain: Any) -> bytes:
    try:
        text = _encode(plain)
        if len(text) > _LONGEST_INTEGER:
            _decode(text)  # some integers of that length are written and not read
        return text
    except UnicodeEncodeError:
        rule = "a string with a lone surrogate"
    except (ValueError, OverflowError, msgspec.MsgspecError):
        rule = "an integer too large"
    raise InvalidArgument(f"{rule} cannot be written as JSON")


def _plain(value: Any, depth: int) -> Any:
    """Return the value built of plain JSON types only."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if kind is float:
        if not math.isfinite(value):
            raise InvalidArgument("NaN and infinity cannot be written as JSON")
        return value
    if depth == 0:
        raise InvalidArgument(f"deeper than {MAX_DEPTH} levels cannot be written as JSON")
    if isinstance(value, Mapping):
        plain = {}
        for name, item in value.items():
            if type(name) is not str:
                raise WrongType(f"names in JSON are strings, not {type(name).__name__}")
            plain[name] = item if type(item) in _SIMPLE else _plain(item, depth - 1)
        return plain
    if isinstance(value, str):
        return str.__str__(value)  # of a member of an enumeration its value
    if isinstance(value, list | tuple):
        return [_plain(item, depth - 1) for item in value]
    raise WrongType(f"{kind.__name__} cannot be written as JSON")


def _frozen(item: Any) -> Any:
    if type(item) is dict:
        return MappingProxyType({name: _frozen(child) for name, child in item.items()})
    if type(item) is list:
        return tuple([_frozen(child) for child in item])
    return item
