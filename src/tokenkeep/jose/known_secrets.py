"""What is publicly known and therefore no secret: from lists of leaked secrets, templates, tutorials and standards.

A table of digests ships with the package: of secrets, and of key pairs whose private half was printed somewhere. A
token "signed" with one of them could be anybody's.
"""

import hashlib
from bisect import bisect_left
from functools import cache
from importlib import resources
from typing import Final

from tokenkeep.jose.encoding import decode_base64url

__all__ = ["DIGEST_SIZE", "is_known_key", "is_known_secret"]

#: The table holds this many leading bytes of each SHA-256 digest, sorted, with nothing between them.
DIGEST_SIZE: Final = 8


def is_known_secret(secret: bytes) -> bool:
    """Tell whether a secret of 29 bytes or more was published, as it is or spelt in base64 or hexadecimal digits."""
    return _is_listed(hashlib.sha256(secret).digest())


def is_known_key(thumbprint: str) -> bool:
    """Tell whether the private half of the key with this thumbprint (RFC 7638) was published."""
    return _is_listed(decode_base64url(thumbprint))


def _is_listed(digest: bytes) -> bool:
    table = _table()
    wanted = digest[:DIGEST_SIZE]
    count = len(table) // DIGEST_SIZE
    at = bisect_left(range(count), wanted, key=lambda i: table[i * DIGEST_SIZE : (i + 1) * DIGEST_SIZE])
    return table[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] == wanted


@cache
def _table() -> bytes:
    return resources.files("tokenkeep.jose").joinpath("known_secrets.bin").read_bytes()
