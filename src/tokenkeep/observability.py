"""What the process tells about itself: structured log lines, text on a terminal and JSON elsewhere.

No header, body, query or token ever reaches a line; what came from outside is escaped and cut.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

import structlog

LONGEST_TEXT: Final = 512
"""Characters of the longest text in a line."""

_log = logging.getLogger("tokenkeep.requests")


def set_up_logging(*, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all log lines to `stream` (standard error by default): text if it is a terminal, else JSON."""
    target = stream or sys.stderr
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=("method", "path", "status", "ms")),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _escape,
    ]
    if target.isatty():
        last: list[Any] = [structlog.dev.ConsoleRenderer()]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def log_request(method: str, path: str, status: int, seconds: float) -> None:
    """Write the line of one answered request."""
    if _log.isEnabledFor(logging.INFO):
        _log.info("request", extra={"method": method, "path": path, "status": status, "ms": round(seconds * 1000, 2)})


def _escape(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Make every text one printable line: no line breaks, no terminal controls, no bidi marks."""
    return {key: _one_line(value) if isinstance(value, str) else value for key, value in event.items()}


def _one_line(text: str) -> str:
    cut = text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
    if cut.isprintable():
        return cut
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in cut
    )
