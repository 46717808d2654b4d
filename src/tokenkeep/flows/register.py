"""Register: somebody makes an account for themselves, where that is allowed."""

from __future__ import annotations

from tokenkeep.domain.accounts import DEFAULT_ROLE, Account
from tokenkeep.domain.sessions import Client
from tokenkeep.flows.admission import Admission
from tokenkeep.flows.authority import Authority
from tokenkeep.flows.create_account import CreateAccount, NewAccount
from tokenkeep.flows.login import Credentials


class Register:
    """Makes accounts for whoever asks. Their role is always the default one."""

    def __init__(self, creator: CreateAccount, admission: Admission) -> None:
        self._creator = creator
        self._admission = admission

    async def register(self, wanted: Credentials, client: Client) -> Account:
        """Create an account with this name and password, and return it.

        Raises:
            InvalidField: the name or password breaks a rule.
            NameTaken: another account's name reads the same.
            Throttled: too many logins and registrations from this address, or in all.
            HashingBusy: too many passwords are waiting.
            StorageUnavailable: the database did not answer; nothing was stored.
        """
        await self._admission.limits.admit_login(client)
        draft = await self._creator.draft(NewAccount(wanted.name, wanted.password, DEFAULT_ROLE))
        await self._admission.limits.admit_hashing()
        return await self._creator.store(draft, Authority(draft.account.id, client))
