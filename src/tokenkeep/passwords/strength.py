"""How easily a password is guessed, measured by zxcvbn. Blocking, and bounded in time whatever the password is."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tokenkeep.domain.password_strength import LEAST_SCORE, Strength

LOOKED_AT: Final = 40
"""Characters that are looked at: time grows with their square, and what they are worth, the whole is worth too."""
LOOKED_AT_OF_SYMBOLS: Final = 16
"""Characters that are looked at when many of them can stand for letters: each such sign multiplies the ways to read."""
MANY_SYMBOLS: Final = 8

_LETTERLIKE: Final = frozenset("4@8({[<3691!|70$5+%2")
_BUILT_OF_CONTEXT: Final = "It is built from the name of the account or of the service."

# zxcvbn keeps the words of a call in a table of its module.
_one_at_a_time = threading.Lock()


def measure(password: str, context: Sequence[str]) -> Strength:
    """Return how strong a password is for somebody about whom a guesser knows the words of `context`."""
    # Imported late: its word lists cost time and memory that a server whose passwords never change need not spend.
    from zxcvbn import zxcvbn

    symbols = _LETTERLIKE.intersection(password[:LOOKED_AT])
    head = password[: LOOKED_AT_OF_SYMBOLS if len(symbols) > MANY_SYMBOLS else LOOKED_AT]
    with _one_at_a_time:
        result = zxcvbn(head, user_inputs=list(context))
    score = int(result["score"])
    return Strength(score, "" if score >= LEAST_SCORE else _explain(result))


def _explain(result: Mapping[str, Any]) -> str:
    feedback = result["feedback"]
    named = any(match.get("dictionary_name") == "user_inputs" for match in result["sequence"])
    sentences = [_BUILT_OF_CONTEXT if named else "", feedback["warning"], *feedback["suggestions"]]
    return " ".join(filter(None, sentences))
