"""What a value may be, each by itself: a check returns what is wrong with it, in words that follow its name, or None.

Not here: rules about several options at once (`settings.safety`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from tokenkeep.jose.algorithms import ALGORITHMS
from tokenkeep.settings.kinds import Secret, format_duration

SQLITE_URL: Final = "sqlite:///"
"""How the address of a database in a file begins; the path follows."""
_PRINTABLE: Final = re.compile(r"[!-~]+")
_PREFIX: Final = re.compile(r"[A-Za-z0-9._:/-]{0,64}")


def between(least: timedelta, most: timedelta) -> Callable[[timedelta], str | None]:
    """Return the check that a duration is in a range."""

    def check(value: timedelta) -> str | None:
        if least <= value <= most:
            return None
        return f"must be between {format_duration(least)} and {format_duration(most)}"

    return check


def number_between(least: int, most: int) -> Callable[[int], str | None]:
    """Return the check that a number is in a range."""
    return lambda value: None if least <= value <= most else f"must be between {least} and {most}"


def check_issuer(value: str) -> str | None:
    """Check the address that every token names as its issuer; an empty one stands for the default."""
    if not value:
        return None
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return "is no address"
    if not _PRINTABLE.fullmatch(value) or "@" in parts.netloc:
        return "is no address, or holds a user or characters that no address has"
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        return "must be an http or https address without user, query or fragment"
    if value.endswith("/") or value != value.lower().replace(parts.path.lower(), parts.path):
        return "must be lower-case and must not end with a slash, since tokens are compared with it letter by letter"
    return None


def check_algorithm(value: str) -> str | None:
    """Check the name of a signature algorithm."""
    return None if value in ALGORITHMS else f"must be one of {', '.join(ALGORITHMS)}"


def check_level(value: str) -> str | None:
    """Check the name of a level of log lines."""
    return None if value in {"debug", "info", "warning", "error"} else "must be debug, info, warning or error"


def check_database(value: Secret | None) -> str | None:
    """Check how the address of a database begins; the rest is read when it is connected to."""
    if value is None or value.reveal().startswith(("postgresql://", SQLITE_URL)):
        return None
    return f"must begin with postgresql:// or {SQLITE_URL}"


def check_redis(value: Secret | None) -> str | None:
    """Check how the address of a Redis begins."""
    if value is None or value.reveal().startswith(("redis://", "rediss://", "unix://")):
        return None
    return "must begin with rediss://, redis:// or unix://"


def check_prefix(value: str) -> str | None:
    """Check what names in Redis begin with."""
    return None if _PREFIX.fullmatch(value) else "must be at most 64 letters, digits, or any of . _ : / -"
