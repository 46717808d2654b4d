"""What may be the id of a key, in keys and in the headers of tokens (RFC 7515 §4.1.4, RFC 7517 §4.5)."""

import re
from typing import Final

from tokenkeep.jose.errors import InvalidArgument, WrongType

__all__ = ["MAX_KID_LENGTH", "broken_kid_rule", "checked_kid"]

#: Longest `kid` in characters, in keys and in the headers of tokens.
MAX_KID_LENGTH: Final = 128

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def checked_kid(given: object) -> str:
    """Return a kid that calling code chose as plain text, if it is one.

    Raises:
        WrongType: not a string.
        InvalidArgument: too short, too long, or not to be written.
    """
    if not isinstance(given, str):
        raise WrongType(f"kid is a string, not {type(given).__name__}")
    rule = broken_kid_rule(given)
    if rule is not None:
        raise InvalidArgument(rule)
    return str.__str__(given)


def broken_kid_rule(kid: str) -> str | None:
    """Return the rule that a kid breaks, or None when it breaks none."""
    if not 1 <= len(kid) <= MAX_KID_LENGTH:
        return f"the kid has 1 to {MAX_KID_LENGTH} characters"
    if _SURROGATE.search(kid) is not None:
        return "the kid has a lone surrogate"
    return None
