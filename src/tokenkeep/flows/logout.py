"""Log out: end the session that a refresh token belongs to, and its access tokens with it."""

from __future__ import annotations

from tokenkeep.domain.errors import InvalidRefreshToken
from tokenkeep.domain.revocations import Revocation
from tokenkeep.domain.sessions import Client, EndReason, RefreshToken
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.end_sessions import end_one_of
from tokenkeep.flows.limit_attempts import LimitAttempts
from tokenkeep.flows.ports import Storage, Transaction
from tokenkeep.flows.revoke import Revoker
from tokenkeep.flows.token_families import TokenFamilies


class Logout:
    """Ends sessions at their owner's wish."""

    def __init__(self, storage: Storage, revoker: Revoker, families: TokenFamilies, limits: LimitAttempts) -> None:
        self._storage = storage
        self._revoker = revoker
        self._families = families
        self._limits = limits

    async def logout(self, presented: str, client: Client) -> bool:
        """End the session of any rightly tagged token, whatever its generation; tells whether one ended.

        Raises:
            Throttled: too many tokens from this address ended nothing; the session may still live.
            StorageUnavailable: the end could not be made durable; the session may still live.
        """
        try:
            token = RefreshToken.parse(presented)
        except InvalidRefreshToken:
            return False
        await self._limits.admit_logout(client)
        revocation = await self._storage.transact(self._end_session, token, client)
        if revocation is None:
            return False
        await self._limits.forgive_logout(client)
        self._revoker.apply(revocation)
        return True

    async def _end_session(self, tx: Transaction, token: RefreshToken, client: Client) -> Revocation | None:
        found = await self._families.find(tx, token)
        if found is None:
            return None
        session, account = found
        return await end_one_of(tx, session, Authority(account.id, client), self._revoker, reason=EndReason.LOGOUT)
