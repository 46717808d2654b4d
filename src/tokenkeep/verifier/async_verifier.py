"""`AsyncTokenVerifier`: what `TokenVerifier` is, for asyncio; and what takes either of them in an event loop."""

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
from tokenkeep.verifier.async_feed_source import AsyncFeedSource
from tokenkeep.verifier.challenge import CannotTell, InvalidToken
from tokenkeep.verifier.feed import RevocationFeed, RevocationStatus
from tokenkeep.verifier.feed_client import AsyncFeedFetcher, feed_client
from tokenkeep.verifier.feed_keeping import Clocks, FeedKeeping
from tokenkeep.verifier.judge import Judge, bearer_token, require_role, require_scope
from tokenkeep.verifier.jwks import USUAL_FETCHING, KeyFetching
from tokenkeep.verifier.key_cache import KEYS_GIVEN, KeyStatus
from tokenkeep.verifier.key_origin import Keys, given_keys, key_set_client
from tokenkeep.verifier.key_source import AsyncKeySource, Keeping
from tokenkeep.verifier.verifier import TokenVerifier


class AsyncTokenVerifier:
    """Accepts the access tokens of one issuer for one audience, and refuses everything else. For one event loop.

    If it fetches keys or revocations, the first token waits for them; later they are fetched in the background.
    Without an event loop take `TokenVerifier`. Forgetting `await` lets everybody in: the adapters cannot forget it.
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
        """Fix what is accepted. Nothing is fetched and no task begins before the first token, or `async with`.

        The arguments are those of `TokenVerifier`.

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
        self._source: AsyncKeySource | None = None
        if keys is None:
            client = key_set_client(issuer, jwks_url, algorithms=accepted, fetching=fetching)
            self._source = AsyncKeySource(Keeping(client.url, fetching, monotonic=monotonic), client.fetch_async)
        self._feed: AsyncFeedSource | None = None
        if isinstance(revocations, RevocationFeed):
            self._feed = self._followed(revocations, policy, fetching=fetching, algorithms=accepted)

    async def verify(self, token: str) -> AccessToken:
        """Return what a token says, if it is good now.

        Raises:
            InvalidToken: it is not.
            CannotTell: the keys or the revocations are not known well enough now.
        """
        try:
            if self._source is None:
                accepted = self._judge.judge(token, self._given(), self._clock())
            else:
                accepted = await self._judge_with_fetched(token, self._source)
        except KeyNotFound as error:
            raise InvalidToken(error.code, reason=error.reason) from error
        if self._feed is None:
            self._judge.refuse_revoked(accepted, self._monotonic())
        else:
            await self._feed.refuse_revoked(accepted)
        return accepted

    async def authenticate(self, authorization: Sequence[str]) -> AccessToken:
        """Return what the token in a request's `Authorization` headers says, if it is good now.

        Args:
            authorization: the values of all `Authorization` headers, in order.

        Raises:
            MissingToken: there is none, or it is for another scheme.
            AmbiguousRequest: there are several.
            InvalidToken: the token is not good.
            CannotTell: the keys or the revocations are not known well enough now.
        """
        return await self.verify(bearer_token(authorization))

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

    async def ready(self) -> bool:
        """Tell whether tokens can be judged now; keys and revocations are fetched for that if need be."""
        now = self._monotonic()
        try:
            if self._source is not None:
                await self._source.keys(now)
        except CannotTell:
            return False
        if self._feed is not None:
            return await self._feed.ready()
        return self._judge.knows_revocations(now)

    def key_status(self) -> KeyStatus:
        """Return how it stands with the keys, for metrics; nothing is fetched."""
        return KEYS_GIVEN if self._source is None else self._source.status()

    def revocation_status(self) -> RevocationStatus:
        """Return how it stands with the revocations, for metrics; nothing is fetched."""
        if self._feed is not None:
            return self._feed.status()
        return self._judge.revocation_status(self._monotonic())

    async def aclose(self) -> None:
        """Fetch nothing any more; returns when no task is left. What is known is used while it may be."""
        if self._feed is not None:
            await self._feed.aclose()
        if self._source is not None:
            await self._source.aclose()

    async def __aenter__(self) -> Self:
        if self._feed is not None:
            self._feed.begin()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    def _followed(
        self, feed: RevocationFeed, policy: ClaimsPolicy, *, fetching: KeyFetching, algorithms: frozenset[str]
    ) -> AsyncFeedSource:
        timeout = fetching.timeout.total_seconds()
        client = feed_client(str(policy.issuer), feed, fetching=fetching, algorithms=algorithms)
        clocks = Clocks(self._clock, self._monotonic)
        keeping = FeedKeeping.for_tokens(policy, feed, client.url, timeout=timeout, clocks=clocks)
        fetch = AsyncFeedFetcher(client, self._given, self._source, monotonic=self._monotonic)
        return AsyncFeedSource(keeping, fetch, timeout=timeout)

    async def _judge_with_fetched(self, token: str, source: AsyncKeySource) -> AccessToken:
        arrived = self._monotonic()
        keys = source.fresh_keys(arrived)
        if keys is None:
            self._judge.check_form(token)
            keys = await source.keys(arrived)
        while True:
            try:
                return self._judge.judge(token, keys, self._clock())
            except KeyNotFound:
                keys = await source.newer_keys(token, keys, arrived)


AnyVerifier = TokenVerifier | AsyncTokenVerifier


def require_verifier(verifier: AnyVerifier) -> AnyVerifier:
    """Return the verifier, if it may be used in an event loop.

    Raises:
        TypeError: it is none, or would hold the event loop up while it fetches keys or revocations.
    """
    if not isinstance(verifier, TokenVerifier | AsyncTokenVerifier):
        raise TypeError(f"a verifier is required, not {type(verifier).__name__}")
    if isinstance(verifier, TokenVerifier) and verifier.may_wait:
        raise TypeError("this verifier waits for the network in its thread; take AsyncTokenVerifier in an event loop")
    return verifier


async def authenticate(verifier: AnyVerifier, authorization: Sequence[str]) -> AccessToken:
    """Return what the token in a request's `Authorization` headers says, as either kind of verifier finds.

    Raises:
        Refused: as the verifier raises it.
    """
    if isinstance(verifier, AsyncTokenVerifier):
        return await verifier.authenticate(authorization)
    return verifier.authenticate(authorization)
