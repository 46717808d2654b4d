"""`TokenVerifier`: an `Authorization` header in, an `AccessToken` or a refusal with its challenge out; for threads.

Where keys are given and no feed is followed, nothing ever waits, and it is right in an event loop too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Self

from tokenkeep.contract.access_token import TOKEN_TYPE, AccessToken, Profile
from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.jose import KeyNotFound
from tokenkeep.jose.algorithms import accepted_algorithms
from tokenkeep.jose.claims import ClaimsPolicy
from tokenkeep.verifier.challenge import CannotTell, InvalidToken
from tokenkeep.verifier.feed import RevocationFeed, RevocationStatus
from tokenkeep.verifier.feed_client import FeedFetcher, feed_client
from tokenkeep.verifier.feed_keeping import Clocks, FeedKeeping
from tokenkeep.verifier.feed_source import FeedSource
from tokenkeep.verifier.judge import Judge, bearer_token, require_role, require_scope
from tokenkeep.verifier.jwks import USUAL_FETCHING, KeyFetching
from tokenkeep.verifier.key_cache import KEYS_GIVEN, KeyStatus
from tokenkeep.verifier.key_origin import Keys, given_keys, key_set_client
from tokenkeep.verifier.key_source import Keeping, KeySource


class TokenVerifier:
    """Accepts the access tokens of one issuer for one audience, and refuses everything else. May be used by threads.

    If it fetches keys or revocations, the first token waits for them; later they are fetched in the background. So in
    an event loop take `AsyncTokenVerifier`, unless `keys` are given and no feed: then this one never waits.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | Sequence[str],
        algorithms: Sequence[str],
        keys: Keys | None = None,
        jwks_url: str | None = None,
        fetching: KeyFetching = USUAL_FETCHING,
        revocations: RevocationSet | RevocationFeed | None = None,
        profile: Profile = Profile.TOKENKEEP,
        token_type: str | None = TOKEN_TYPE,
        leeway: timedelta = timedelta(seconds=5),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Fix what is accepted. Nothing is fetched and no thread begins before the first token, or `with`.

        Args:
            issuer: the exact `iss`.
            audience: what this service is called; a token must name one of them in `aud`.
            algorithms: the accepted signature algorithms.
            keys: the issuer's keys, or a function that returns the ones in force; without them they are fetched.
            jwks_url: where to fetch them; by default `/.well-known/jwks.json` below the issuer.
            fetching: how they are fetched, and how long they are relied on; its `timeout`, `private_network` and `tls`
                hold for the revocation feed too.
            revocations: a feed to follow, or the entries in force, kept up by someone else; while they are stale,
                nothing is decided, unless the feed says otherwise.
            profile: which claims a token must carry.
            token_type: the `typ` of the tokens (RFC 9068 §2.1); None accepts none or "JWT".
            leeway: how far clocks may differ, at most 60 seconds.
            clock: seconds since the epoch.
            monotonic: seconds on the clock by which keys and `revocations` count their freshness.

        Raises:
            ValueError, TypeError: an argument accepts nothing or too much, or contradicts another.
            ModuleNotFoundError: something is to be fetched, and the HTTP library is not installed.
        """
        accepted = accepted_algorithms(algorithms)
        policy = ClaimsPolicy(issuer, audience, token_type=token_type, leeway=leeway)
        self._judge = Judge(policy, accepted, profile=profile, revocations=revocations)
        self._clock = clock
        self._monotonic = monotonic
        self._given = given_keys(keys, jwks_url)
        self._source: KeySource | None = None
        if keys is None:
            client = key_set_client(issuer, jwks_url, algorithms=accepted, fetching=fetching)
            self._source = KeySource(Keeping(client.url, fetching, monotonic=monotonic), client.fetch)
        self._feed: FeedSource | None = None
        if isinstance(revocations, RevocationFeed):
            self._feed = self._followed(revocations, policy, fetching=fetching, algorithms=accepted)

    @property
    def may_wait(self) -> bool:
        """Whether verifying may wait for the network, and so has no place in an event loop."""
        return self._source is not None or self._feed is not None

    def verify(self, token: str) -> AccessToken:
        """Return what a token says, if it is good now.

        Raises:
            InvalidToken: it is not.
            CannotTell: the keys or the revocations are not known well enough now.
        """
        try:
            if self._source is None:
                accepted = self._judge.judge(token, self._given(), self._clock())
            else:
                accepted = self._judge_with_fetched(token, self._source)
        except KeyNotFound as error:
            raise InvalidToken(error.code, reason=error.reason) from error
        if self._feed is None:
            self._judge.refuse_revoked(accepted, self._monotonic())
        else:
            self._feed.refuse_revoked(accepted)
        return accepted

    def authenticate(self, authorization: Sequence[str]) -> AccessToken:
        """Return what the token in a request's `Authorization` headers says, if it is good now.

        Args:
            authorization: the values of all `Authorization` headers, in order.

        Raises:
            MissingToken: there is none, or it is for another scheme.
            AmbiguousRequest: there are several.
            InvalidToken: the token is not good.
            CannotTell: the keys or the revocations are not known well enough now.
        """
        return self.verify(bearer_token(authorization))

    def require_role(self, token: AccessToken, *roles: str) -> AccessToken:
        """Return the token if its bearer has one of the roles.

        Raises:
            Forbidden: its bearer has none of them.
        """
        return require_role(token, roles)

    def require_scope(self, token: AccessToken, *scopes: str) -> AccessToken:
        """Return the token if all the scopes were granted with it.

        Raises:
            Forbidden: one of them was not.
            ValueError: no scope at all, or something that is none.
        """
        return require_scope(token, scopes)

    def ready(self) -> bool:
        """Tell whether tokens can be judged now; keys and revocations are fetched for that if need be."""
        now = self._monotonic()
        try:
            if self._source is not None:
                self._source.keys(now)
        except CannotTell:
            return False
        if self._feed is not None:
            return self._feed.ready()
        return self._judge.knows_revocations(now)

    def key_status(self) -> KeyStatus:
        """Return how it stands with the keys, for metrics; nothing is fetched."""
        return KEYS_GIVEN if self._source is None else self._source.status()

    def revocation_status(self) -> RevocationStatus:
        """Return how it stands with the revocations, for metrics; nothing is fetched."""
        if self._feed is not None:
            return self._feed.status()
        return self._judge.revocation_status(self._monotonic())

    def close(self) -> None:
        """Fetch nothing any more; returns when no thread is left. What is known is used while it may be."""
        if self._feed is not None:
            self._feed.close()
        if self._source is not None:
            self._source.close()

    def __enter__(self) -> Self:
        if self._feed is not None:
            self._feed.begin()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _followed(
        self, feed: RevocationFeed, policy: ClaimsPolicy, *, fetching: KeyFetching, algorithms: frozenset[str]
    ) -> FeedSource:
        timeout = fetching.timeout.total_seconds()
        client = feed_client(str(policy.issuer), feed, fetching=fetching, algorithms=algorithms)
        clocks = Clocks(self._clock, self._monotonic)
        keeping = FeedKeeping.for_tokens(policy, feed, client.url, timeout=timeout, clocks=clocks)
        fetch = FeedFetcher(client, self._given, self._source, monotonic=self._monotonic)
        return FeedSource(keeping, fetch, timeout=timeout)

    def _judge_with_fetched(self, token: str, source: KeySource) -> AccessToken:
        arrived = self._monotonic()
        keys = source.fresh_keys(arrived)
        if keys is None:
            self._judge.check_form(token)
            keys = source.keys(arrived)
        while True:
            try:
                return self._judge.judge(token, keys, self._clock())
            except KeyNotFound:
                keys = source.newer_keys(token, keys, arrived)
