"""Fetching an issuer's key set (RFC 7517) over a network that may be hostile: bounded in size, time and trust."""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import urlsplit

import httpx2

from tokenkeep.contract.loopback import is_loopback
from tokenkeep.jose import InvalidKey, KeySet

LARGEST_KEY_SET: Final = 256 * 1024
"""Bytes of the largest key set that is read."""
FETCH_TIMEOUT: Final = 5.0
"""Seconds in which the whole answer must have arrived."""


class KeySetUnavailable(Exception):
    """The key set could not be fetched or read; the text says why."""


def check_key_set_url(url: str) -> str:
    """Return the address if keys may be fetched from it: https, or anything on this machine's own loopback.

    Raises:
        ValueError: it is neither.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.fragment or not parts.hostname:
        raise ValueError("the address of a key set has a host, and no user, password or fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("keys are fetched over https only, but for loopback addresses")
    return url


def fetch_key_set(url: str, *, timeout: float = FETCH_TIMEOUT) -> KeySet:
    """Return the key set at an address; redirects are not followed.

    Args:
        timeout: seconds for the whole answer.

    Raises:
        KeySetUnavailable: it did not come whole and in time, or is no usable key set.
        ValueError: the address is not one that keys may be fetched from.
    """
    check_key_set_url(url)
    try:
        return KeySet.from_jwks(_download(url, time.monotonic() + timeout, timeout))
    except InvalidKey as error:
        raise KeySetUnavailable(error.message) from None
    except httpx2.HTTPError as error:
        raise KeySetUnavailable(f"the key set could not be fetched: {type(error).__name__}") from None


def _download(url: str, deadline: float, timeout: float) -> bytes:
    received = bytearray()
    with (
        httpx2.Client(follow_redirects=False, timeout=timeout, trust_env=False) as client,
        client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
    ):
        if not answer.is_success:
            raise KeySetUnavailable(f"the key set could not be fetched: status {answer.status_code}")
        for chunk in answer.iter_bytes():
            received += chunk
            if len(received) > LARGEST_KEY_SET:
                raise KeySetUnavailable(f"the key set is larger than {LARGEST_KEY_SET} bytes")
            if time.monotonic() > deadline:
                raise KeySetUnavailable(f"the key set did not arrive within {timeout:g} seconds")
    return bytes(received)
