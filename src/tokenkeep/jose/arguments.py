"""Checks of what calling code passes in: a mistake is named at once, before any token is looked at."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Final

from tokenkeep.jose.errors import InvalidArgument, WrongType

__all__ = [
    "MAX_INSTANT",
    "checked_bytes",
    "checked_duration",
    "checked_instant",
    "checked_size",
    "checked_text",
    "checked_texts",
]

#: The last second of the year 9999.
MAX_INSTANT: Final = 253402300799


def checked_bytes(name: str, given: object) -> bytes:
    """Return what was given if it is bytes.

    Raises:
        WrongType: it is something else; for text the message says what to do.
    """
    if isinstance(given, bytes):
        return given
    if isinstance(given, str):
        raise WrongType(f"{name} is bytes; encode the text first, for example text.encode()")
    raise WrongType(f"{name} is bytes, not {type(given).__name__}")


def checked_text(name: str, given: object) -> str:
    """Return what was given as plain text if it is a string that is not empty; of a member of a StrEnum its value.

    Raises:
        WrongType: not a string.
        InvalidArgument: empty.
    """
    if not isinstance(given, str):
        raise WrongType(f"{name} is a string, not {type(given).__name__}")
    if not given:
        raise InvalidArgument(f"{name} is empty")
    return given if type(given) is str else str.__str__(given)


def checked_texts(name: str, given: object) -> tuple[str, ...]:
    """Return one string or several as a tuple of plain strings, none of them empty.

    Raises:
        WrongType: neither a string nor a list, tuple or set of strings.
        InvalidArgument: an empty string or nothing at all.
    """
    if isinstance(given, str):
        return (checked_text(name, given),)
    if isinstance(given, bytes | bytearray | memoryview) or not isinstance(given, Sequence | AbstractSet):
        raise WrongType(f"{name} is a string or a list of strings")
    if not given:
        raise InvalidArgument(f"{name} is empty")
    return tuple(checked_text(name, item) for item in given)


def checked_size(name: str, given: object) -> int:
    """Return what was given if it is a positive number of bytes.

    Raises:
        WrongType: not an int.
        InvalidArgument: zero or less.
    """
    if type(given) is not int:
        raise WrongType(f"{name} is a number of bytes, not {type(given).__name__}")
    if given <= 0:
        raise InvalidArgument(f"{name} is at least one byte")
    return given


def checked_duration(name: str, given: object) -> timedelta:
    """Return what was given if it is a duration.

    Raises:
        WrongType: not a `timedelta`; bare numbers have no unit.
    """
    if not isinstance(given, timedelta):
        raise WrongType(f"{name} is a timedelta, not {type(given).__name__}")
    return given


def checked_instant(name: str, given: object) -> float:
    """Return what was given if it is a number of seconds since the epoch, from 1970 to 9999.

    Raises:
        WrongType: not a number; a boolean is none.
        InvalidArgument: out of range, or NaN.
    """
    if type(given) is not int and type(given) is not float:
        raise WrongType(f"{name} is a number of seconds since the epoch, not {type(given).__name__}")
    if not 0 <= given <= MAX_INSTANT:
        raise InvalidArgument(f"{name} is a number of seconds since the epoch, up to the year 9999")
    return given
