"""On whose authority something is done: a command on the host, the account itself, or an administrator elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenkeep.domain.audit import Event, EventKind
from tokenkeep.domain.errors import Forbidden
from tokenkeep.domain.identifiers import AccountId, SessionId
from tokenkeep.domain.sessions import Client
from tokenkeep.flows.ports import Transaction


@dataclass(frozen=True, slots=True)
class Authority:
    """Who wants something done, and from where.

    Attributes:
        actor: an account id, `operator` or `system`.
        client: what sent the request, if one did.
        token_version: that of the access token which an administrator showed; None for those who need to show none.
    """

    actor: str
    client: Client = field(default_factory=Client)
    token_version: int | None = None

    async def hold(self, tx: Transaction) -> None:
        """Return if the authority is still given, and stays so until the end of the transaction.

        A token outlives by a moment what it was issued for; nothing may be changed in that moment.

        Raises:
            Forbidden: an administrator whose account is gone, disabled, changed, or has lost the role.
        """
        if self.token_version is not None:
            known_as = AccountId(self.actor)
            if not await tx.administrators.take(known_as, token_version=self.token_version):
                raise Forbidden

    async def confirm(self, tx: Transaction) -> None:
        """Do what `hold` does in a transaction that only reads.

        Raises:
            Forbidden: as `hold` says.
        """
        if self.token_version is not None:
            account = await tx.accounts.find(AccountId(self.actor))
            if account is None or not account.administers or account.token_version != self.token_version:
                raise Forbidden

    def event(
        self,
        kind: EventKind,
        at: int,
        *,
        account_id: AccountId | None = None,
        session_id: SessionId | None = None,
        detail: str = "",
    ) -> Event:
        """Return the event of something that was done on this authority at an instant (milliseconds)."""
        return Event(kind, at, self.actor, account_id, session_id, self.client.address, self.client.user_agent, detail)
