"""Take a new password: the one place where it is checked, judged and hashed, whoever sets it."""

from __future__ import annotations

from tokenkeep.domain.accounts import AccountName, PasswordPolicy, check_new_password
from tokenkeep.domain.password_strength import context_words, require_more_than_context, require_strength
from tokenkeep.flows.ports import PasswordHasher, StrengthJudge


class NewPasswords:
    """Turns what somebody chose as a password into the hash to be stored, or refuses it."""

    def __init__(self, hasher: PasswordHasher, judge: StrengthJudge, policy: PasswordPolicy) -> None:
        self._hasher = hasher
        self._judge = judge
        self._policy = policy

    async def judged(self, text: str, name: AccountName, *, field: str = "password") -> str:
        """Return the normalised password if it may be set for the account named; `field` is what the caller calls it.

        Raises:
            InvalidField: it is too short, too long, the name over again, or easy to guess; the sentence explains.
            HashingBusy: too many passwords are waiting.
        """
        password = check_new_password(text, name, self._policy, field=field)
        context = context_words(name, self._policy)
        require_more_than_context(password, context, field=field)
        require_strength(await self._judge.judge(password, context), field=field)
        return password

    async def hash_judged(self, password: str) -> str:
        """Return the hash of what `judged` returned.

        Raises:
            HashingBusy: too many passwords are waiting.
        """
        return await self._hasher.hash(password)

    async def hash(self, text: str, name: AccountName, *, field: str = "password") -> str:
        """Return the hash of a password that may be set; arguments and refusals are those of `judged`.

        Raises:
            InvalidField: it may not be set; the sentence explains.
            HashingBusy: too many passwords are waiting.
        """
        return await self.hash_judged(await self.judged(text, name, field=field))
