"""An issuer's key set (RFC 7517) over a network that may be hostile: how it is asked for, and what an answer means.

Not here: the download itself (`download`), and when to ask (`key_cache`).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tokenkeep.jose import InvalidKey, KeySet
from tokenkeep.jose.algorithms import algorithm_named
from tokenkeep.verifier.remote import Answer, DownloadFailed, Limits, Target

if TYPE_CHECKING:
    from tokenkeep.verifier.download import Downloader

LARGEST_KEY_SET: Final = 256 * 1024
"""Bytes of the largest key set that is read."""
FETCH_TIMEOUT: Final = 5.0
"""Seconds in which the whole answer must have arrived."""

_OK: Final = 200
_NOT_MODIFIED: Final = 304
_ACCEPT: Final = "application/jwk-set+json, application/json"
_MAX_AGE: Final = re.compile(r'max-age="?([0-9]+)"?', re.IGNORECASE)
_ETAG: Final = re.compile(r'(?:W/)?"[!#-~]{0,256}"')


class KeySetUnavailable(Exception):
    """The key set could not be fetched or read; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFetching:
    """How an issuer's key set is fetched, and how long it is relied on.

    Args:
        timeout: in which the whole answer must have come, at most a minute.
        cooldown: between the beginnings of two fetches, whatever for; 1 to 20 seconds.
        stale_limit: how long after the age that the issuer gave it a key set is still used while it cannot be fetched
            anew, at most a day. Then tokens are neither accepted nor called invalid.
        private_network: whether the issuer may be reached at an address of a private network.
        tls: what trusts the issuer's certificate; by default the authorities of this machine.

    Raises:
        ValueError: a duration is out of its range.
    """

    timeout: timedelta = timedelta(seconds=FETCH_TIMEOUT)
    cooldown: timedelta = timedelta(seconds=10)
    stale_limit: timedelta = timedelta(hours=1)
    private_network: bool = False
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if not timedelta(0) < self.timeout <= timedelta(minutes=1):
            raise ValueError("timeout is more than nothing and at most a minute")
        if not timedelta(seconds=1) <= self.cooldown <= timedelta(seconds=20):
            raise ValueError("cooldown is between 1 and 20 seconds")
        if not timedelta(0) <= self.stale_limit <= timedelta(days=1):
            raise ValueError("stale_limit is between nothing and a day")


USUAL_FETCHING: Final = KeyFetching()


@dataclass(frozen=True, slots=True)
class Publication:
    """What an issuer publishes: keys, None if they are the ones that the asker has; and for how many seconds."""

    keys: KeySet | None
    etag: str | None
    age: float | None


class KeySetClient:
    """Asks one address for a key set, whenever it is told to."""

    def __init__(self, target: Target, fetching: KeyFetching, *, algorithms: frozenset[str]) -> None:
        """Take the address; a set without any key for `algorithms` is an error."""
        self.url: Final = target.url
        self._target = target
        self._fetching = fetching
        self._algorithms = algorithms
        self._downloader: Downloader | None = None

    def fetch(self, etag: str | None) -> Publication:
        """Return what is published now; `etag` names what the caller has.

        Raises:
            KeySetUnavailable: nothing that can be used came.
        """
        try:
            return self._read(self._ready().get(_asking(etag)), etag)
        except DownloadFailed as error:
            raise KeySetUnavailable(f"the key set could not be fetched: {error}") from None

    async def fetch_async(self, etag: str | None) -> Publication:
        """Return what is published now; `etag` names what the caller has.

        Raises:
            KeySetUnavailable: nothing that can be used came.
        """
        # In threads: to load the HTTP library, or to read a large set, would hold up the event loop.
        downloader = await asyncio.to_thread(self._ready)
        try:
            answer = await downloader.get_async(_asking(etag))
        except DownloadFailed as error:
            raise KeySetUnavailable(f"the key set could not be fetched: {error}") from None
        return await asyncio.to_thread(self._read, answer, etag)

    def _ready(self) -> Downloader:
        if self._downloader is None:
            from tokenkeep.verifier.download import Downloader

            limits = Limits(self._fetching.timeout.total_seconds(), LARGEST_KEY_SET)
            self._downloader = Downloader(self._target, limits, tls=self._fetching.tls)
        return self._downloader

    def _read(self, answer: Answer, etag: str | None) -> Publication:
        return read_publication(answer, asked_for_news=etag is not None, algorithms=self._algorithms)


def fetch_key_set(url: str, *, timeout: float = FETCH_TIMEOUT) -> KeySet:
    """Return the key set at an address that a person has given, of a private network also; redirects are not followed.

    Args:
        timeout: seconds for the whole answer.

    Raises:
        KeySetUnavailable: it did not come whole and in time, or is no key set.
        ValueError: the address is not one that keys may be fetched from.
    """
    fetching = KeyFetching(timeout=timedelta(seconds=timeout), private_network=True)
    target = Target.parse(url, private_network=True)
    keys = KeySetClient(target, fetching, algorithms=frozenset()).fetch(None).keys
    return KeySet([]) if keys is None else keys


def read_publication(answer: Answer, *, asked_for_news: bool, algorithms: frozenset[str]) -> Publication:
    """Return what an answer publishes.

    Args:
        answer: to a request for a key set.
        asked_for_news: whether the request said what the asker has, so that "not modified" is an answer.
        algorithms: the accepted ones; a key for one of them at least must be there. If empty, none need be.

    Raises:
        KeySetUnavailable: the answer is no key set that can be used.
    """
    etag, age = _etag(answer.headers), _age(answer.headers)
    if answer.status == _NOT_MODIFIED and asked_for_news:
        return Publication(None, etag, age)
    if answer.status != _OK:
        raise KeySetUnavailable(f"the key set could not be fetched: status {answer.status}{_hint(answer.status)}")
    # Many RSA keys do not say for which algorithm they are; it is the one that is accepted, and RS256 among several.
    for_rsa = sorted(name for name in algorithms if algorithm_named(name).key_type == "RSA")
    rsa_alg = for_rsa[0] if for_rsa and "RS256" not in for_rsa else "RS256"
    try:
        keys = KeySet.from_jwks(answer.body, rsa_alg=rsa_alg)
    except InvalidKey as error:
        raise KeySetUnavailable(error.message) from None
    if algorithms and not any(key.alg in algorithms and key.allows("verify") for key in keys):
        found = [f"a key for {key.alg}" for key in keys][:3] + list(keys.skipped[:3])
        raise KeySetUnavailable(
            f"the key set has no key for {' or '.join(sorted(algorithms))}, but {'; '.join(found) or 'no key at all'}"
        )
    return Publication(keys, etag, age)


def _hint(status: int) -> str:
    return ", and redirects are not followed" if status // 100 == 3 else ""


def _asking(etag: str | None) -> dict[str, str]:
    headers = {"Accept": _ACCEPT, "User-Agent": "tokenkeep"}
    return headers if etag is None else {**headers, "If-None-Match": etag}


def _etag(headers: Mapping[str, str]) -> str | None:
    """Return the tag of an answer, if it is one that can be sent back (RFC 9110 §8.8.3)."""
    tag = headers.get("etag", "")
    return tag if _ETAG.fullmatch(tag) else None


def _age(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds more an answer may be kept (RFC 9111 §4.2), None if it does not say.

    What a cache on the way has kept it already is taken off: the issuer counts from when it answered.
    """
    directives = [directive.strip().lower() for directive in headers.get("cache-control", "").split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    ages = [int(match[1][:10]) for directive in directives if (match := _MAX_AGE.fullmatch(directive))]
    if not ages:
        return None
    spent = headers.get("age", "0")
    return float(max(0, min(ages) - (int(spent[:10]) if spent.isdecimal() else 0)))
