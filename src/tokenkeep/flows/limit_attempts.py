"""Let in no more attempts than there is room for: before any password is checked, and whether or not a name exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenkeep.domain.errors import Throttled
from tokenkeep.domain.limits import NAME, NEWCOMER, NEWCOMERS, Quota, address_block, neighbourhood
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

    async def admit_password(self, name_key: str, client: Client, familiar: Sequence[str]) -> str:
        """Count a password about to be checked for a name, and return what to `forgive` should it be right.

        A familiar place has a count of its own, so that a stranger's guesses do not slow down the owner, and needs no
        room in everyone's quota. Everybody else shares a count and that quota, which is asked last: attempts that cost
        nothing take nobody's room.

        Args:
            familiar: addresses from which the account logged in lately.

        Raises:
            Throttled: the last attempt is too recent, or there are too many in all.
        """
        block = address_block(client.address)
        own = f"{name_key}\0{block}"
        if block in {address_block(address) for address in familiar}:
            await self._rest(own)
            return own
        bucket = name_key
        try:
            await self._rest(bucket)
        except Throttled:
            if not await self._newcomer(name_key, client):
                raise
            bucket = own
        try:
            await self.admit_hashing()
        except Throttled:
            await self.take_back(bucket)
            raise
        return bucket

    async def take_back(self, bucket: str) -> None:
        """Uncount an attempt whose password was not checked after all, so that it was no guess."""
        await self._limiter.take_back(bucket)

    async def admit_hashing(self) -> None:
        """Count a password that is about to be hashed for somebody unknown here against everyone's quota.

        Raises:
            Throttled: there is no room.
        """
        await self._spend(self._policy.login_everyone, "")

    async def forgive(self, bucket: str) -> None:
        """Forget the failed attempts of a bucket, since one succeeded."""
        await self._limiter.forgive(bucket)

    async def _rest(self, bucket: str) -> None:
        wait = await self._limiter.begin(bucket) if self._policy.enabled else 0
        if wait:
            raise Throttled(wait, NAME)

    async def _newcomer(self, name_key: str, client: Client) -> bool:
        """Count an attempt on a name that must rest; tells whether it is among the first from its neighbourhood."""
        if await self._limiter.spend(NEWCOMER, f"{name_key}\0{neighbourhood(client.address)}"):
            return False
        return await self._limiter.spend(NEWCOMERS, name_key) == 0

    async def _spend(self, quota: Quota, key: str) -> None:
        wait = await self._limiter.spend(quota, key) if self._policy.enabled else 0
        if wait:
            raise Throttled(wait, quota)
