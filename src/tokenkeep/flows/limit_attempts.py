"""Let in no more attempts than there is room for: before any password is checked, and whether or not a name exists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tokenkeep.domain.errors import HashingBusy, Throttled
from tokenkeep.domain.limits import Quota, address_block
from tokenkeep.domain.sessions import Client
from tokenkeep.flows.ports import RateLimiter


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """The quotas in force; `enabled` is off only where nobody else can reach the server."""

    login_address: Quota
    login_everyone: Quota
    refresh_address: Quota
    logout_address: Quota
    enabled: bool = True


class LimitAttempts:
    """Asks the limiter, and refuses for it."""

    def __init__(self, limiter: RateLimiter, policy: LimitPolicy) -> None:
        self._limiter = limiter
        self._policy = policy

    async def admit_login(self, client: Client) -> None:
        """Count a login, or another check of a password, against its address.

        Raises:
            Throttled: there is no room.
        """
        await self._spend(self._policy.login_address, address_block(client.address))

    @asynccontextmanager
    async def checking(self, bucket: str) -> AsyncIterator[None]:
        """Count a password that is checked inside against everyone's quota; one that is not checked is no attempt.

        Asked last, so that attempts that cost nothing take nobody's room.

        Args:
            bucket: what `admit_name` returned.

        Raises:
            Throttled: there is no room.
            HashingBusy: what was raised inside; nobody's password was wrong.
        """
        try:
            await self._spend(self._policy.login_everyone, "")
            yield
        except (HashingBusy, Throttled):
            await self._limiter.take_back(bucket)
            raise

    async def admit_refresh(self, client: Client) -> None:
        """Count a refresh against its address.

        Raises:
            Throttled: there is no room.
        """
        await self._spend(self._policy.refresh_address, address_block(client.address))

    async def admit_logout(self, client: Client) -> None:
        """Count a logout against its address, until `forgive_logout` tells that a session ended.

        Raises:
            Throttled: there is no room.
        """
        await self._spend(self._policy.logout_address, address_block(client.address))

    async def forgive_logout(self, client: Client) -> None:
        """Uncount a logout that ended a session: a crowd behind one address that goes home takes nobody's room."""
        if self._policy.enabled:
            await self._limiter.refund(self._policy.logout_address, address_block(client.address))

    async def admit_name(self, name_key: str, client: Client, familiar: Sequence[str]) -> str:
        """Count an attempt on a name, and return what to `forgive` should it succeed.

        Args:
            familiar: addresses from which the account was used lately; their blocks have counts of their own, so that
                a stranger's guesses do not slow down the owner.

        Raises:
            Throttled: the last attempt is too recent.
        """
        block = address_block(client.address)
        known = block in {address_block(address) for address in familiar}
        bucket = f"{name_key}\0{block}" if known else name_key
        wait = await self._limiter.begin(bucket) if self._policy.enabled else 0
        if wait:
            raise Throttled(wait)
        return bucket

    async def forgive(self, bucket: str) -> None:
        """Forget the failed attempts of a bucket, since one succeeded."""
        await self._limiter.forgive(bucket)

    async def _spend(self, quota: Quota, key: str) -> None:
        wait = await self._limiter.spend(quota, key) if self._policy.enabled else 0
        if wait:
            raise Throttled(wait, quota)
