"""What an administrator sees first: how many accounts and live sessions there are, and the signing keys."""

from __future__ import annotations

from dataclasses import dataclass

from tokenkeep.domain.errors import Forbidden
from tokenkeep.domain.identifiers import AccountId
from tokenkeep.domain.signing_keys import SigningKey
from tokenkeep.flows.ports import Storage, Transaction


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the system in three numbers and a list."""

    accounts: int
    live_sessions: int
    signing_keys: tuple[SigningKey, ...]


class ViewOverview:
    """Shows the overview to administrators."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def view(self, viewer: AccountId) -> Overview:
        """Return the overview, if the viewer is an administrator now and not only in the access token.

        Raises:
            Forbidden: the account is gone, disabled, or no administrator any more.
        """
        return await self._storage.read(_overview, viewer)


async def _overview(tx: Transaction, viewer: AccountId) -> Overview:
    account = await tx.accounts.find(viewer)
    if account is None or not account.administers:
        raise Forbidden
    return Overview(
        accounts=await tx.accounts.count(),
        live_sessions=await tx.sessions.count_live(now=tx.now),
        signing_keys=tuple(await tx.signing_keys.published()),
    )
