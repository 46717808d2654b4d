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

_BLANK: Final = b" \t\r\n\v\f\0"
_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_ARMOUR: Final = re.compile(rb"----(?:begin|end)")
_BASE64_RUN: Final = re.compile(rb"[A-Za-z0-9+/_-]{24,}")
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_SSH_NAME: Final = re.compile(rb"\0\0\0[\x07-\x40](?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-|rsa-sha2-)")
_SSH_MAGIC: Final = b"openssh-key-v1\0"
_SSH_TEXT: Final = re.compile(
    rb"\b(?:ssh-(?:rsa|dss|ed25519|ed448)|ecdsa-sha2-nistp\d{3}|sk-ssh-ed25519)[@a-z.]*\s+AAAA"
)
_POINT_CURVES: Final[dict[int, ec.EllipticCurve]] = {
    33: ec.SECP256R1(),
    49: ec.SECP384R1(),
    67: ec.SECP521R1(),
    65: ec.SECP256R1(),
    97: ec.SECP384R1(),
    133: ec.SECP521R1(),
}


def encoding_of_key(data: bytes) -> str | None:
    """Return the name of the encoding in which the bytes hold a key or certificate, or None when they hold none."""
    text = _stripped(data)
    if _ARMOUR.search(text.translate(None, _BLANK).lower()):
        return "PEM"
    if _SSH_TEXT.search(text):
        return "OpenSSH"
    if _holds_json_key(text):
        return "JWK"
    name = _binary_encoding(data) or _point(data, lengths=tuple(_POINT_CURVES))
    if name is not None:
        return name
    compact = text.translate(None, _BLANK)
    for run in _BASE64_RUN.findall(compact):
        decoded = _decoded(run)
        # A compressed point is looked for in the bytes themselves only: half of all x have a point, so every 256th
        # random secret of its length would be taken for one once it is written in base64.
        name = _binary_encoding(decoded) or _point(decoded, lengths=(65, 97, 133))
        if name is None and _holds_json_key(_stripped(decoded)):
            name = "JWK"
        if name is not None:
            return f"base64 of {name}"
    return None


def _stripped(data: bytes) -> bytes:
    data = data.lstrip(_BLANK)
    for mark in _MARKS:
        data = data.removeprefix(mark)
    # Text in UTF-16 is ASCII text with a NUL beside every letter.
    return data.replace(b"\0", b"").strip(_BLANK)


def _decoded(run: bytes) -> bytes:
    run = run.translate(_TO_STANDARD)
    usable = len(run) - (1 if len(run) % 4 == 1 else 0)
    return binascii.a2b_base64(run[:usable] + b"=" * (-usable % 4))


def _holds_json_key(text: bytes) -> bool:
    if text[:1] not in (b"{", b"["):
        return False
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        # Not JSON for this reader; perhaps for a more lenient one.
        return b'"kty"' in text.lower()
    return _is_json_key(document)


def _is_json_key(document: Any) -> bool:
    level = [document]
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


def _binary_encoding(data: bytes) -> str | None:
    if data.startswith(_SSH_MAGIC) or _SSH_NAME.match(data):
        return "OpenSSH"
    trimmed = data.lstrip(_BLANK[:-1])
    for mark in _MARKS:
        trimmed = trimmed.removeprefix(mark)
    trimmed = trimmed.lstrip(_BLANK[:-1])
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
    for candidate in {data, data.strip(_BLANK)}:
        curve = _POINT_CURVES.get(len(candidate)) if len(candidate) in lengths else None
        if curve is None:
            continue
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(curve, candidate)
        except ValueError:
            continue
        return "an elliptic curve point"
    return None
