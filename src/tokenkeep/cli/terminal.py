"""What a terminal is told: text from elsewhere in characters that are seen and move nothing, and exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table

REFUSED: Final = 1
"""Exit code when something was refused or could not be done."""


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return JSON in which every character that is not seen is written as its escape: controls, bidi marks, blanks."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if text.isprintable():
        return text
    # Line breaks are those of the indentation: in texts they are escapes already.
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)


def one_line(text: str) -> str:
    """Return a text as one line: a token, a key set or a database can hold anything, also what moves the cursor."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def instant_text(milliseconds: int | None, *, absent: str = "") -> str:
    """Return an instant, given in milliseconds since the epoch, as a date and time in UTC; `absent` for none."""
    if milliseconds is None:
        return absent
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def print_table(table: Table, *, least_width: int = 0) -> None:
    """Print a table as it is, without markup; it is cut to the terminal, whose lines wrap below the least width."""
    console = Console(markup=False, highlight=False, emoji=False)
    console.width = max(console.width, least_width)
    console.print(table)
