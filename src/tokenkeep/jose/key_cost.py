"""What reading a private key in DER may cost, judged on its bytes before anything is computed with them.

A few bytes can ask for hours: rounds that derive a key of the password (RFC 8018, RFC 7914), numbers of any length.
Nothing here reads a key; what is allowed through is read by `cryptography`.
"""

import math
from typing import Final

from tokenkeep.jose import der
from tokenkeep.jose.errors import InvalidKey

__all__ = ["check_cost"]

# The longest key, RSA of 8192 bits, has 4700 bytes.
_MAX_SIZE: Final = 8192

_ALGORITHMS: Final = frozenset(
    bytes.fromhex(identifier)
    for identifier in (
        "2a864886f70d010101",  # rsaEncryption
        "2a864886f70d01010a",  # id-RSASSA-PSS
        "2a8648ce3d0201",  # id-ecPublicKey
        "2b6570",  # id-Ed25519
    )
)

_SCRYPT: Final = bytes.fromhex("2b06010401da47040b")
# One second, or 128 MiB, on a machine of today: twice what is advised, and no more.
_MAX_ROUNDS: Final = 2_000_000
_MAX_SCRYPT_BLOCKS: Final = 1 << 20
# Everything else that is counted is a number of bytes.
_MAX_LENGTH: Final = 1024


def check_cost(data: bytes) -> None:
    """Refuse a private key whose reading may take more than a second or two.

    Raises:
        InvalidKey: too long, of a type that is not supported, or encrypted with a key that costs too much to derive.
    """
    if len(data) > _MAX_SIZE:
        raise InvalidKey(f"invalid key: a private key has at most {_MAX_SIZE} bytes")
    outer = der.element(data, 0)
    parts = der.elements(data, outer.start, outer.end) if outer is not None else None
    if not parts:
        raise InvalidKey("invalid key: unreadable")
    if parts[0].tag == der.SEQUENCE:
        _check_derivation(data, parts[0])
    elif len(parts) > 1 and parts[1].tag == der.SEQUENCE:
        identifier = der.element(data, parts[1].start)
        if identifier is None or data[identifier.start : identifier.end] not in _ALGORITHMS:
            raise InvalidKey("invalid key: only RSA, P-256, P-384, P-521 and Ed25519 keys are supported")


def _check_derivation(data: bytes, scheme: der.Element) -> None:
    """Judge the numbers in the encryption scheme of an encrypted PKCS #8; what they mean follows from their order."""
    leaves = der.leaves(data, scheme.start, scheme.end)
    if leaves is None:
        raise InvalidKey("invalid key: unreadable")
    counts = [int.from_bytes(content, "big") for tag, content in leaves if tag == der.INTEGER]
    if (der.OBJECT_IDENTIFIER, _SCRYPT) in leaves:
        blocks, lengths = counts[:3], counts[3:]
        affordable = math.prod(blocks) <= _MAX_SCRYPT_BLOCKS
    else:
        rounds, lengths = counts[:1], counts[1:]
        affordable = all(count <= _MAX_ROUNDS for count in rounds)
    if not affordable or any(length > _MAX_LENGTH for length in lengths):
        raise InvalidKey("invalid key: it asks for too much work to derive the key that decrypts it")
