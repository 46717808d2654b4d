"""Sets of keys, and which one answers to the header of a token (RFC 7517 §5)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn, Self

from tokenkeep.jose.algorithms import algorithm_named
from tokenkeep.jose.encoding import decode_object
from tokenkeep.jose.errors import (
    AlgorithmNotAllowed,
    AmbiguousKey,
    InvalidArgument,
    InvalidKey,
    KeyNotFound,
    MalformedJson,
    WrongType,
)
from tokenkeep.jose.jwk import has_private_members
from tokenkeep.jose.keys import Key

__all__ = ["MAX_PUBLISHED_KEYS", "KeySet"]

#: A published set may hold this many entries; each costs time to read.
MAX_PUBLISHED_KEYS: Final = 100


class KeySet:
    """Some keys with different kids, all symmetric or all asymmetric; immutable."""

    __slots__ = ("_by_kid", "_keys", "_skipped")

    #: A set is always for verifying; it passes over keys that may only sign.
    verifies: Final = True

    _keys: tuple[Key, ...]
    _by_kid: dict[str, Key]
    _skipped: tuple[str, ...]

    def __init__(self, keys: Iterable[Key]) -> None:
        """Join keys to a set, in their order. A set may be empty; then it selects nothing.

        Raises:
            InvalidKey: two keys with one kid, or symmetric and asymmetric keys together.
            WrongType: something that is not a `Key`, or nothing to iterate over.
        """
        if not isinstance(keys, Iterable):
            raise WrongType(f"a key set is made of several keys, not of {type(keys).__name__}")
        self._fill(tuple(keys), skipped=())

    @classmethod
    def from_jwks(cls, jwks: Mapping[str, Any] | bytes, *, rsa_alg: str = "RS256") -> Self:
        """Read a published JWK Set: public keys only.

        An entry that cannot be used does not hide the others: unknown types and algorithms, other uses, broken,
        symmetric and private keys are left out, each with its reason in `skipped`.

        Args:
            jwks: the set as a mapping, or as JSON.
            rsa_alg: the algorithm of RSA keys that name none.

        Raises:
            InvalidKey: not a key set at all, more than `MAX_PUBLISHED_KEYS` entries, or two usable keys with one kid.
            InvalidArgument: `rsa_alg` is not an RSA algorithm.
            WrongType: neither a mapping nor bytes.
        """
        if algorithm_named(rsa_alg).key_type != "RSA":
            raise InvalidArgument("rsa_alg is an RSA algorithm such as 'RS256'")
        if isinstance(jwks, bytes):
            try:
                jwks = decode_object(jwks)
            except MalformedJson as error:
                raise InvalidKey(f"invalid key set: {error.message}") from None
        if not isinstance(jwks, Mapping):
            raise WrongType(f"a JWK Set is a mapping or bytes, not {type(jwks).__name__}")
        entries = jwks.get("keys")
        if not isinstance(entries, list | tuple):
            raise InvalidKey("invalid key set: member 'keys' is a list")
        if len(entries) > MAX_PUBLISHED_KEYS:
            raise InvalidKey(f"invalid key set: more than {MAX_PUBLISHED_KEYS} entries")
        usable: list[Key] = []
        skipped: list[str] = []
        for index, entry in enumerate(entries):
            try:
                usable.append(_read_published(entry, rsa_alg))
            except InvalidKey as error:
                skipped.append(f"keys[{index}]: {error.message}")
        key_set = object.__new__(cls)
        key_set._fill(tuple(usable), skipped=tuple(skipped))
        return key_set

    @property
    def skipped(self) -> tuple[str, ...]:
        """Why entries of the published set were left out, one sentence each."""
        return self._skipped

    def select(self, kid: str | None, alg: str) -> Key:
        """Return the one key that a header with this kid and algorithm means, for verifying.

        Without a kid, the algorithm alone must single out one key.

        Raises:
            KeyNotFound: no such key.
            AmbiguousKey: no kid, and several keys of that algorithm.
            AlgorithmNotAllowed: the key with this kid is bound to another algorithm.
        """
        if kid is not None:
            key = self._by_kid.get(kid)
            if key is None or not key.allows("verify"):
                raise KeyNotFound(kid=kid)
            if key.alg != alg:
                raise AlgorithmNotAllowed("algorithm not allowed: the key is bound to another one")
            return key
        candidates = [key for key in self._keys if key.alg == alg and key.allows("verify")]
        if not candidates:
            raise KeyNotFound
        if len(candidates) > 1:
            raise AmbiguousKey
        return candidates[0]

    def to_jwks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the set for publication: the public halves, and nothing of symmetric keys."""
        return {"keys": [key.to_jwk() for key in self._keys if key.key_type != "oct"]}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<KeySet of {len(self._keys)}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise WrongType("key sets are not pickled; pass on to_jwks()")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"key sets are immutable; {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"key sets are immutable; {name!r} cannot be deleted")

    def _fill(self, keys: tuple[Key, ...], *, skipped: tuple[str, ...]) -> None:
        by_kid: dict[str, Key] = {}
        for key in keys:
            if not isinstance(key, Key):
                raise WrongType(f"a key set holds keys, not {type(key).__name__}")
            if key.kid in by_kid:
                raise InvalidKey("invalid key set: two keys have the same kid")
            by_kid[key.kid] = key
        if len({key.key_type == "oct" for key in keys}) > 1:
            raise InvalidKey("invalid key set: symmetric and asymmetric keys do not mix")
        for name, value in (("_keys", keys), ("_by_kid", by_kid), ("_skipped", skipped)):
            object.__setattr__(self, name, value)


def _read_published(entry: Any, rsa_alg: str) -> Key:
    if not isinstance(entry, Mapping):
        raise InvalidKey("invalid key: not an object")
    # Whoever could publish these could sign with them, and so could every reader of the set (RFC 7517 §9.2).
    if entry.get("kty") == "oct":
        raise InvalidKey("invalid key: symmetric keys are not taken from a published set")
    if has_private_members(entry):
        raise InvalidKey("invalid key: private keys are not taken from a published set")
    implied = rsa_alg if entry.get("kty") == "RSA" and entry.get("alg") is None else None
    return Key.from_jwk(entry, alg=implied)
