"""Recognises bytes that are an encoding of a key, so that they never become an HMAC secret.

A public key is no secret: whoever knows it could sign. This module says yes when it has positively read an encoding,
under white space, byte order marks, changed case, lost line breaks and up to two more layers of base64 or hexadecimal
digits, and it runs in linear time. A raw Ed25519 key is 32 bytes of noise; nothing can tell it from a good secret.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from tokenkeep.jose import der

__all__ = ["encoding_of_key"]

# How often what was read is read again: base64 of base64 of DER is found.
_LAYERS: Final = 2
_SPACE: Final = b" \t\r\n\v\f"
_BLANK: Final = _SPACE + b"\0"
_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")

_ESCAPED_BREAK: Final = re.compile(rb"\\[nrt]")
_ESCAPED: Final = re.compile(rb"\\u00([0-7][0-9a-fA-F])")
_ARMOUR: Final = re.compile(rb"----(?:begin|end)")
_SSH_TEXT: Final = re.compile(rb"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d{3})\S{0,64} ?aaaa")
# A bare member name, as in YAML or JavaScript, could be chance; with one of its values it is not.
_JWK: Final = re.compile(
    rb"""["'](?:kty|crv)["']|["']e["'] ?: ?["']aqab["']|(?<![\w+/-])kty ?[:=] ?["']?(?:rsa|ec|okp|oct)(?![\w+/-])"""
)
_XML: Final = re.compile(rb"<(?:rsa|dsa|ecdsa)keyvalue")

# The length of the name before it, 11 for ssh-ed25519, may have gone with the white space.
_SSH_NAME: Final = re.compile(rb"[\x07-\x40]?(?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)[!-~]{1,48}\0\0")
_SSH_MAGIC: Final = b"openssh-key-v1\0"

_WORD: Final = re.compile(rb"[A-Za-z0-9+/_-]+")
_LEADING_WORDS: Final = 3
_SHORTEST_RUN: Final = 24
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_HEXADECIMAL: Final = re.compile(rb"(?:[0-9a-f]{2}){16,}")

# No key of any structure is shorter than a bare P-256 key of SEC1.
_SHORTEST_STRUCTURE: Final = 37
_MOST_BLANKS: Final = 4
_COMPRESSED: Final[dict[int, ec.EllipticCurve]] = {33: ec.SECP256R1(), 49: ec.SECP384R1(), 67: ec.SECP521R1()}
_UNCOMPRESSED: Final[dict[int, ec.EllipticCurve]] = {65: ec.SECP256R1(), 97: ec.SECP384R1(), 133: ec.SECP521R1()}


def encoding_of_key(data: bytes) -> str | None:
    """Return the name of the encoding in which the bytes hold a key or certificate, or None when they hold none."""
    # A compressed point is looked for in the bytes themselves only: half of all x have a point, so every 256th random
    # secret of its length would be taken for one once it is written in base64.
    return _encoding(data, _LAYERS) or _point(data, _COMPRESSED)


def _encoding(data: bytes, layers: int) -> str | None:
    text = _plain_text(data)
    name = _text_encoding(text) or _binary_encoding(data) or _point(data, _UNCOMPRESSED)
    if name is not None or layers == 0:
        return name
    for spelling, spelt in _readings(text):
        name = _encoding(spelt, layers - 1)
        if name is not None:
            return f"{spelling} of {name}"
    return None


def _plain_text(data: bytes) -> bytes:
    r"""Return text without what stands around it and without escapes; text in UTF-16 and UTF-32 becomes ASCII.

    Both line breaks written as \n and names written as \u006bty are read.
    """
    text = _trimmed(data).replace(b"\0", b"").strip(_SPACE)
    if b"\\" not in text:
        return text
    text = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), _ESCAPED_BREAK.sub(b" ", text))
    return text.replace(b"\\", b"")


def _text_encoding(text: bytes) -> str | None:
    lower = b" ".join(text.lower().split())
    if _ARMOUR.search(lower.replace(b" ", b"")):
        return "PEM"
    if _SSH_TEXT.search(lower):
        return "OpenSSH"
    if _JWK.search(lower):
        return "JWK"
    if _XML.search(lower):
        return "XML"
    return None


def _readings(text: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what a text spells in hexadecimal digits or base64, whole or after a few words that are no part of it."""
    digits = text.lower().replace(b"0x", b"").translate(None, _SPACE + b":,")
    if _HEXADECIMAL.fullmatch(digits):
        yield "hexadecimal digits", bytes.fromhex(digits.decode("ascii"))
    runs: list[bytes] = []
    # In the standard alphabet a dash is no character, but perhaps what stands before an item of a list.
    for spelt in (text, text.translate(None, b"-_")):
        words = _WORD.findall(spelt)
        starts = range(min(len(words), _LEADING_WORDS + 1))
        runs += [*_WORD.findall(spelt.translate(None, _SPACE)), *(b"".join(words[start:]) for start in starts)]
    for run in dict.fromkeys(runs):
        if len(run) >= _SHORTEST_RUN:
            yield "base64", _decoded(run)


def _decoded(run: bytes) -> bytes:
    run = run.translate(_TO_STANDARD)
    usable = len(run) - (1 if len(run) % 4 == 1 else 0)
    return binascii.a2b_base64(run[:usable] + b"=" * (-usable % 4))


def _trimmed(data: bytes) -> bytes:
    """Return what follows leading white space and a byte order mark; no encoding starts with either."""
    data = data.lstrip(_BLANK)
    for mark in _MARKS:
        data = data.removeprefix(mark)
    return data.lstrip(_BLANK)


def _binary_encoding(data: bytes) -> str | None:
    """Name the structure that bytes begin with; what follows it does not matter."""
    trimmed = _trimmed(data)
    if trimmed.startswith(_SSH_MAGIC) or _SSH_NAME.match(trimmed):
        return "OpenSSH"
    outer = der.element(trimmed, 0)
    if outer is None or outer.tag != der.SEQUENCE or outer.end < _SHORTEST_STRUCTURE:
        return None
    children = der.elements(trimmed, outer.start, outer.end)
    if children is None:
        return None
    # What tells structures apart is the tag of each child and, for a sequence, the tag of its first element.
    return _structure([(child.tag, child.first_tag(trimmed)) for child in children])


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


def _point(data: bytes, curves: dict[int, ec.EllipticCurve]) -> str | None:
    """Recognise a point of a curve; of an uncompressed one also the bare coordinates."""
    # A few of the blanks around the rest may be bytes of the point itself.
    first, last = len(data) - len(_trimmed(data)), len(data.rstrip(_BLANK))
    for length, curve in curves.items():
        for head in (b"", b"\4") if curves is _UNCOMPRESSED else (b"",):
            size = length - len(head)
            if not 0 <= size - (last - first) <= _MOST_BLANKS:
                continue
            for start in range(max(0, last - size), first + 1):
                if _is_point(head + data[start : start + size], curve):
                    return "an elliptic curve point"
    return None


def _is_point(encoded: bytes, curve: ec.EllipticCurve) -> bool:
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(curve, encoded)
    except ValueError:
        return False
    return True
