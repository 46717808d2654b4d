"""How strong a new password must be, and in which words a weak one is refused.

Not here: how strength is measured (`passwords.strength`), and how long a password must be (`domain.accounts`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tokenkeep.domain.accounts import AccountName, PasswordPolicy
from tokenkeep.domain.errors import InvalidField

LEAST_SCORE: Final = 3
"""Of 0 to 4: a hundred million guesses would not find it."""
SHORTEST_WORD: Final = 3
"""Characters of the shortest part of a name that counts as a word."""
LEAST_OWN: Final = 8
"""Letters and digits that a password must have besides the words of its context, if it has any of those."""

_SEPARATOR: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Strength:
    """What a measurement found: a score of 0 to 4, and for a weak password what is wrong with it.

    The explanation is public, so that it never quotes the password.
    """

    score: int
    explanation: str = ""


def context_words(name: AccountName, policy: PasswordPolicy) -> tuple[str, ...]:
    """Return the words that somebody who guesses this account's password would try: its name, the service, parts."""
    words = [name.key, *policy.service]
    parts = [part for word in words for part in _SEPARATOR.split(word) if len(part) >= SHORTEST_WORD]
    return tuple(dict.fromkeys(word for word in [*words, *parts] if not word.isdigit()))


def require_more_than_context(password: str, words: Sequence[str], *, field: str = "password") -> None:
    """Return if a password has something of its own besides the words that whoever guesses it knows.

    Raises:
        InvalidField: little is left of it without them.
    """
    rest = folded = password.casefold()
    for word in sorted((word for word in words if len(word) >= SHORTEST_WORD), key=len, reverse=True):
        rest = rest.replace(word, " ")
    if rest != folded and len(_SEPARATOR.sub("", rest)) < LEAST_OWN:
        raise InvalidField(field, "The password must not be made of the name of the account or of the service")


def require_strength(strength: Strength, *, field: str = "password") -> None:
    """Return if a password of this strength may be set.

    Raises:
        InvalidField: it is too weak; the sentence explains.
    """
    if strength.score < LEAST_SCORE:
        raise InvalidField(field, f"The password is easy to guess. {strength.explanation}".strip())
