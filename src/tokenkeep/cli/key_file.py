"""Reading keys from a file of any usual form, public or private: PEM, one JWK, or a JWK Set."""

from __future__ import annotations

from pathlib import Path

from tokenkeep.jose import InvalidKey, Key, KeySet, TokenError
from tokenkeep.jose.encoding import decode_object


def read_keys(path: Path, alg: str | None) -> Key | KeySet:
    """Return the key or key set in a file.

    Args:
        alg: the algorithm of a key that does not name its own.

    Raises:
        ValueError: the file cannot be read, holds no key, or an algorithm is needed and not given.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if not data.lstrip().startswith(b"{"):
        if alg is None:
            raise ValueError("a PEM file does not name its algorithm; give --alg, such as --alg ES256")
        return Key.from_pem(data, alg=alg)
    try:
        members = decode_object(data)
    except TokenError:
        raise ValueError(f"{path} is not well-formed JSON") from None
    if "keys" not in members:
        return Key.from_jwk(members, alg=alg)
    keys = KeySet.from_jwks(members)
    if not len(keys):
        raise InvalidKey(f"the key set has no usable key: {'; '.join(keys.skipped) or 'it is empty'}")
    return keys
