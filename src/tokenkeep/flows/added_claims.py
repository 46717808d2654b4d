"""What the embedding application adds to access tokens, asked for before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tokenkeep.contract.access_token import RESERVED_CLAIMS
from tokenkeep.domain.accounts import Account

ClaimsHook = Callable[[Account], Mapping[str, Any]]
"""What an embedding application adds to access tokens; reserved names are refused."""


class AddedClaims:
    """Asks the embedding application, if it wants to be asked."""

    def __init__(self, hook: ClaimsHook | None = None) -> None:
        self._hook = hook

    @property
    def wanted(self) -> bool:
        """Whether the embedding application adds claims."""
        return self._hook is not None

    def of(self, account: Account) -> Mapping[str, Any]:
        """Return what is added to the account's access tokens.

        To be asked before anything is changed, so that an error of the application costs nobody a session.

        Raises:
            ValueError: the application returned a reserved claim.
        """
        if self._hook is None:
            return {}
        added = self._hook(account)
        reserved = RESERVED_CLAIMS & added.keys()
        if reserved:
            raise ValueError(f"the claims hook may not set {', '.join(sorted(reserved))}")
        return added
