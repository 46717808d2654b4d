"""What a terminal is shown: text from elsewhere in characters that are seen, and that move and hide nothing."""

from __future__ import annotations

import json
from typing import Any


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
