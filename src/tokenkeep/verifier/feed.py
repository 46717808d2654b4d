"""The revocation feed of an issuer, for whoever makes a verifier: how it is followed, and how it stands with it.

Values only. When to ask is in `feed_following`, over the network in `feed_client`, by thread or task in `feed_source`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, get_args

from tokenkeep.jose.arguments import checked_text

WhenStale = Literal["refuse", "accept"]

LONGEST_WAIT: Final = 30
"""Seconds that the server may be asked to wait for news before it answers."""
LONGEST_TOKEN: Final = 1024
"""Characters of the longest feed token."""

_SHARE: Final = 0.25
_TOKEN: Final = re.compile(rf"[!-~]{{1,{LONGEST_TOKEN}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationFeed:
    """How the revocations of the issuer are followed, and how long what is known of them is relied on.

    Freshness counts from the moment a request was sent, whose answer was believed: whatever the server knew by then is
    known here. An answer that was kept back on its way counts from its own `iat` and the leeway, if that is earlier.
    Requests wait at most a quarter of `max_staleness` for news, so that two in a row end in time.

    Args:
        max_staleness: how long after that moment the revocations count as known; 1 second to an hour. It has no
            default: what is revoked may be accepted this long while the server cannot be reached. On top comes the
            time for which the server itself may not have looked, its `revocation_max_staleness`.
        token: the server's `feed_token`; None if the feed is public. It is sent to the feed's address only.
        url: where the feed is, without a query; by default `/revocations` below the issuer.
        when_stale: "refuse" answers 503 while the revocations are not known well enough. "accept" goes on with those
            last known, for however long; but a process that has never known them accepts nothing.

    Raises:
        ValueError, TypeError: a duration out of its range, or what is no token, address or choice.
    """

    max_staleness: timedelta
    token: str | None = field(default=None, repr=False)
    url: str | None = None
    when_stale: WhenStale = "refuse"

    def __post_init__(self) -> None:
        if not timedelta(seconds=1) <= self.max_staleness <= timedelta(hours=1):
            raise ValueError("max_staleness is between a second and an hour")
        if self.when_stale not in get_args(WhenStale):
            raise ValueError("when_stale is 'refuse' or 'accept'")
        if self.token is not None and not _TOKEN.fullmatch(checked_text("the feed token", self.token)):
            raise ValueError(f"the feed token is visible ASCII without spaces, at most {LONGEST_TOKEN} characters")
        if self.url is not None and "?" in checked_text("the address of the feed", self.url):
            raise ValueError("the address of the feed has no query: each request has its own")

    @property
    def quarter(self) -> float:
        """Seconds of a quarter of `max_staleness`: what a request may wait for news, and its answer take to come."""
        return self.max_staleness.total_seconds() * _SHARE

    @property
    def wait(self) -> int:
        """Whole seconds that the server is asked to wait for news."""
        return min(int(self.quarter), LONGEST_WAIT)


@dataclass(frozen=True, slots=True)
class RevocationStatus:
    """How it stands with the revocations, for health checks and metrics."""

    usable: bool
    """Whether tokens can be judged now."""
    fresh: bool
    """Whether the revocations are known well enough now; tokens are judged without that if `when_stale` is "accept"."""
    age: float | None
    """Seconds since all revocations were known; None if they never were, or somebody else keeps them."""
    entries: int
    fetches: int
    failures: int
    """How many requests there were, and how many of them brought nothing that was believed."""
    accepted_stale: int
    """How many tokens were accepted while the revocations were stale."""
    trouble: str | None
    """Why the last request brought nothing; None if it did."""


NOT_ASKED: Final = RevocationStatus(
    usable=True, fresh=True, age=None, entries=0, fetches=0, failures=0, accepted_stale=0, trouble=None
)
"""How it stands where tokens are not held to revocations."""
