"""Where a verifier's keys come from: given by the caller, or fetched from the issuer."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Final

from tokenkeep.jose import Key, KeySet
from tokenkeep.jose.algorithms import algorithm_named
from tokenkeep.jose.jws import checked_keys
from tokenkeep.verifier.jwks import KeyFetching, KeySetClient
from tokenkeep.verifier.remote import Target

Keys = Key | KeySet | Callable[[], Key | KeySet]

KEY_SET_PATH: Final = "/.well-known/jwks.json"
"""Where an issuer publishes its keys, below its own address."""


def given_keys(keys: Keys | None, jwks_url: str | None) -> Callable[[], Key | KeySet]:
    """Return a function for the keys that were given; it returns none if they are to be fetched.

    Raises:
        ValueError: keys that are given cannot be fetched as well.
        WrongType: they are no keys.
    """
    if keys is None:
        return lambda: KeySet([])
    if jwks_url is not None:
        raise ValueError("give either keys or jwks_url: keys that are given are not fetched")
    if callable(keys):
        return keys
    checked_keys(keys)
    return lambda: keys


def key_set_client(
    issuer: str, jwks_url: str | None, *, algorithms: frozenset[str], fetching: KeyFetching
) -> KeySetClient:
    """Return what fetches the issuer's keys, from `jwks_url` or from below the issuer.

    Raises:
        ValueError: keys are not fetched from there, or are not published for these algorithms.
        ModuleNotFoundError: the HTTP library is not installed.
    """
    for name in sorted(algorithms):
        if algorithm_named(name).key_type == "oct":
            raise ValueError(f"{name} is verified with a shared secret, which nobody publishes: give it in keys")
    if importlib.util.find_spec("httpx2") is None:
        raise ModuleNotFoundError("fetching keys needs httpx2: install tokenkeep[verifier], or give keys")
    return KeySetClient(_target(issuer, jwks_url, fetching), fetching, algorithms=algorithms)


def _target(issuer: str, jwks_url: str | None, fetching: KeyFetching) -> Target:
    if jwks_url is not None:
        return Target.parse(jwks_url, private_network=fetching.private_network)
    try:
        return Target.parse(issuer.removesuffix("/") + KEY_SET_PATH, private_network=fetching.private_network)
    except ValueError as error:
        raise ValueError(f"keys cannot be fetched below the issuer, so give keys or jwks_url: {error}") from None
