"""Make a revocation take effect: durably in the transaction that causes it, then at once in this process."""

from __future__ import annotations

from collections.abc import Callable

from tokenkeep.contract.revocation import RevocationSet
from tokenkeep.domain.revocations import Revocation
from tokenkeep.flows.ports import Transaction


class Revoker:
    """Appends revocations and applies them to the set that this process checks tokens against."""

    def __init__(self, issuer: str, revoked: RevocationSet, appended: Callable[[], None]) -> None:
        """Take the set, and what to call once a revocation is durable, so that followers need not wait their turn."""
        self._issuer = issuer
        self._revoked = revoked
        self._appended = appended

    async def append(self, tx: Transaction, revocation: Revocation) -> Revocation:
        """Append it as the last operation of the transaction, and return it for `apply` after the commit."""
        await tx.revocations.append(revocation)
        return revocation

    def apply(self, revocation: Revocation | None) -> None:
        """Refuse what was revoked from here on, without waiting for the next look at the database."""
        if revocation is not None:
            self._revoked.add([revocation.entry(self._issuer)])
            self._appended()
