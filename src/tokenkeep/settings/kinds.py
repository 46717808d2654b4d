"""What sorts of values options hold, and how each is read from text: durations, switches, lists, secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final


class Secret:
    """A value that no repr, log or listing shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled")


_DURATION: Final = re.compile(r"(\d{1,9})(ms|s|m|h|d)")
_UNITS: Final = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(raw: object) -> timedelta:
    """Return the duration that a text such as `15m` or `7d` names; a bare number is refused."""
    match = _DURATION.fullmatch(raw) if isinstance(raw, str) else None
    if match is None:
        raise ValueError("expected a duration such as 500ms, 30s, 15m, 12h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def format_duration(value: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads as this duration."""
    milliseconds = value // timedelta(milliseconds=1)
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


_RATE: Final = re.compile(r"(\d{1,9})/(\d{1,9}(?:ms|s|m|h|d))")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so long."""

    count: int
    window: timedelta


def parse_rate(raw: object) -> Rate:
    """Return the rate that a text such as `60/1m` names."""
    match = _RATE.fullmatch(raw) if isinstance(raw, str) else None
    window = parse_duration(match[2]) if match else timedelta()
    if match is None or int(match[1]) < 1 or window < timedelta(seconds=1):
        raise ValueError("expected a rate such as 60/1m: at least one, in at least a second")
    return Rate(int(match[1]), window)


def _parse_text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("expected text")
    return raw


def _parse_integer(raw: object) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | str) or not re.fullmatch(r"\d{1,9}", str(raw)):
        raise ValueError("expected a whole number")
    return int(raw)


def _parse_boolean(raw: object) -> bool:
    words = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
    value = raw if isinstance(raw, bool) else words.get(raw.lower()) if isinstance(raw, str) else None
    if value is None:
        raise ValueError("expected on or off")
    return value


def _parse_list(raw: object) -> tuple[str, ...]:
    items = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("expected a list of texts, or one text with commas between them")
    return tuple(item.strip() for item in items if item.strip())


class Kind(Enum):
    """What sort of value an option holds, and how one is read."""

    TEXT = ("text", _parse_text)
    INTEGER = ("number", _parse_integer)
    BOOLEAN = ("on|off", _parse_boolean)
    DURATION = ("duration", parse_duration)
    RATE = ("rate", parse_rate)
    LIST = ("list", _parse_list)
    PATH = ("path", lambda raw: Path(_parse_text(raw)))
    SECRET = ("secret", lambda raw: Secret(_parse_text(raw)))
    SECRETS = ("secrets", lambda raw: tuple(Secret(item) for item in _parse_list(raw)))

    def __init__(self, word: str, parse: Callable[[object], Any]) -> None:
        self.word = word
        self.parse = parse

    @property
    def secret(self) -> bool:
        """Whether values must not be shown, nor given as a flag."""
        return self in {Kind.SECRET, Kind.SECRETS}
