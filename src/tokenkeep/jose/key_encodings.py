"""Recognises bytes that are an encoding of a key, so that they never become an HMAC secret.

A public key is no secret: whoever knows it could sign. This module says yes when it has positively read an encoding,
under white space, byte order marks, changed case or lost line breaks, and it runs in linear time. A raw Ed25519 key is
32 bytes of noise; nothing can tell it from a good secret.
"""

import binascii
import json
import re
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["encoding_of_key"]

_SPACE: Final = b" \t\r\n\v\f"
_BLANK: Final = _SPACE + b"\0"
_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_ARMOUR: Final = re.compile(rb"----(?:begin|end)")
_JWK_NAMES: Final = (b'"kty"', b"'kty'")
_BASE64_RUN: Final = re.compile(rb"[A-Za-z0-9+/_-]{24,}")
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_SSH_TEXT: Final = re.compile(rb"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d{3})\S{0,64}\s{1,64}aaaa")
# The length of the name before it, 11 for ssh-ed25519, may have gone with the white space.
_SSH_NAME: Final = re.compile(rb"[\x07-\x40]?(?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)[!-~]{1,48}\0\0")
_SSH_MAGIC: Final = b"openssh-key-v1\0"
_POINT_CURVES: Final[dict[int, ec.EllipticCurve]] = {
    33: ec.SECP256R1(),
    49: ec.SECP384R1(),
    67: ec.SECP521R1(),
    65: ec.SECP256R1(),
    97: ec.SECP384R1(),
    133: ec.SECP521R1(),
}
_POINT_LENGTHS: Final = tuple(_POINT_CURVES)
_UNCOMPRESSED_LENGTHS: Final = (65, 97, 133)


def encoding_of_key(data: bytes) -> str | None:
    """Return the name of the encoding in which the bytes hold a key or certificate, or None when they hold none."""
    text = _plain_text(data)
    name = _text_encoding(text) or _binary_encoding(data) or _point(data, lengths=_POINT_LENGTHS)
    if name is not None:
        return name
    for run in _BASE64_RUN.findall(text.translate(None, _BLANK)):
        decoded = _decoded(run)
        # A compressed point is looked for in the bytes themselves only: half of all x have a point, so every 256th
        # random secret of its length would be taken for one once it is written in base64.
        name = (
            _text_encoding(_plain_text(decoded))
            or _binary_encoding(decoded)
            or _point(decoded, lengths=_UNCOMPRESSED_LENGTHS)
        )
        if name is not None:
            return f"base64 of {name}"
    return None


def _plain_text(data: bytes) -> bytes:
    """Return text without what stands around it; text in UTF-16 becomes text in ASCII."""
    return _trimmed(data).replace(b"\0", b"").strip(_SPACE)


def _text_encoding(text: bytes) -> str | None:
    lower = text.lower()
    if _ARMOUR.search(lower.translate(None, _BLANK)):
        return "PEM"
    if _SSH_TEXT.search(lower):
        return "OpenSSH"
    if any(name in lower for name in _JWK_NAMES) or _holds_escaped_jwk(text):
        return "JWK"
    return None


def _decoded(run: bytes) -> bytes:
    run = run.translate(_TO_STANDARD)
    usable = len(run) - (1 if len(run) % 4 == 1 else 0)
    return binascii.a2b_base64(run[:usable] + b"=" * (-usable % 4))


def _holds_escaped_jwk(text: bytes) -> bool:
    """Tell whether JSON text names a key type in a spelling that hides it, such as \u006bty."""
    if b"\\u" not in text:
        return False
    try:
        level: list[Any] = [json.loads(text)]
    except (ValueError, RecursionError):
        return False
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if any(name.strip().lower() == "kty" for name in item):
                    return True
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below
    return False


def _trimmed(data: bytes) -> bytes:
    """Return what follows leading white space and a byte order mark; no encoding starts with either."""
    data = data.lstrip(_BLANK)
    for mark in _MARKS:
        data = data.removeprefix(mark)
    return data.lstrip(_BLANK)


def _binary_encoding(data: bytes) -> str | None:
    trimmed = _trimmed(data)
    if trimmed.startswith(_SSH_MAGIC) or _SSH_NAME.match(trimmed):
        return "OpenSSH"
    outer = _element(trimmed, 0)
    if outer is None or outer[0] != 0x30 or trimmed[outer[2] :].strip(_BLANK):
        return None
    children = []
    position, end = outer[1], outer[2]
    while position < end:
        child = _element(trimmed, position)
        if child is None or child[2] > end:
            return None
        # What tells structures apart is the tag of each child and, for a sequence, the tag of its first element.
        children.append((child[0], trimmed[child[1]] if child[0] == 0x30 and child[1] < child[2] else 0))
        position = child[2]
    return _structure(children)


def _structure(children: list[tuple[int, int]]) -> str | None:
    """Name the structure by the tags of its elements; 2 INTEGER, 3 BIT STRING, 4 OCTET STRING, 6 OID, 0x30 SEQUENCE."""
    match children:
        case [(0x30, 6), (3, _)]:
            return "SubjectPublicKeyInfo"
        case [(0x30, _), (0x30, 6), (3, _)]:
            return "X.509"
        case [(0x30, 6), (4, _)]:
            return "encrypted PKCS #8"
        case [(2, _), (0x30, 6), *_]:
            return "PKCS #8"
        case [(2, _), (4, _), *rest] if all(tag in (0xA0, 0xA1) for tag, _ in rest):
            return "SEC1"
        case [(6, _), (0xA0, _)]:
            return "PKCS #7"
        case [(2, _), (2, _), *rest] if all(tag in (2, 0x30) for tag, _ in rest):
            return "PKCS #1"
    return None


def _element(data: bytes, position: int) -> tuple[int, int, int] | None:
    """Return tag, start of content and end of the DER element at a position, or None when none fits there."""
    if len(data) - position < 2:
        return None
    tag, length = data[position], data[position + 1]
    start = position + 2
    if length >= 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4 or len(data) - start < octets:
            return None
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
    end = start + length
    return (tag, start, end) if end <= len(data) else None


def _point(data: bytes, *, lengths: tuple[int, ...]) -> str | None:
    trimmed = _trimmed(data)
    for length in lengths:
        if len(trimmed) < length or trimmed[length:].strip(_BLANK):
            continue
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(_POINT_CURVES[length], trimmed[:length])
        except ValueError:
            continue
        return "an elliptic curve point"
    return None
