"""What the process tells about itself: structured log lines, text on a terminal and JSON elsewhere, and metrics.

No header, body, query or token ever reaches a line; what came from outside is escaped and cut. Labels of metrics
come from closed lists, so that nobody can make them grow.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tokenkeep.domain.audit import REFRESH_VERDICTS, REFUSALS, Event, EventKind, refresh_verdict

LONGEST_TEXT: Final = 512
"""Characters of the longest text in a line."""

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request being answered, on each of its lines."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MEMBERS: Final = ("method", "path", "status", "ms", "address", "refused")
"""What a record may have beside its message."""
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TOKEN: Final = re.compile(r"(tkr_|eyJ)[\w.-]{16,}")
_log = logging.getLogger("tokenkeep.requests")


def set_up_logging(*, level: str = "info", stream: TextIO | None = None) -> None:
    """Send all log lines to `stream` (standard error by default): text if it is a terminal, else JSON."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(_for_people() if target.isatty() else _JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered.

    Attributes:
        path: the one that was asked for.
        route: the one of the route table, or `other`.
        seconds: from the headers to the end of the answer.
        refused: why it was refused, for the log only: the code, and more than the client is told.
    """

    method: str
    path: str
    route: str
    status: int
    seconds: float
    address: str
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Measures:
    """How things stand in a server process just now.

    Attributes:
        dropped: refusals that were counted and not written.
        redis_up: whether Redis answered when last asked; None if none is used.
    """

    revocations: int
    dropped: Mapping[EventKind, int]
    clock_offset: float
    revocations_age: float
    keys_age: float
    feed_waiting: int
    feed_signed: int
    redis_up: bool | None


_GAUGES: Final = {
    "revocations": ("tokenkeep_revocations", "Revocations that can still matter."),
    "clock_offset": (
        "tokenkeep_clock_offset_seconds",
        "How far this process's clock is certainly ahead of the database's.",
    ),
    "revocations_age": (
        "tokenkeep_revocations_age_seconds",
        "How long ago the list of revocations was read from the database.",
    ),
    "keys_age": ("tokenkeep_signing_keys_age_seconds", "How long ago the signing keys were read from the database."),
    "feed_waiting": ("tokenkeep_feed_waiting", "Readers of the revocation feed that wait for news."),
    "feed_signed": ("tokenkeep_feed_signed", "Documents of the revocation feed signed since the start."),
    "redis_up": ("tokenkeep_redis_up", "Whether Redis answered when it was last asked."),
}
"""The metric of each of the `Measures` that is one number: its name, and what it tells."""


class Metrics:
    """Counts what one server process does, for Prometheus."""

    def __init__(self, *, process: int | None = None) -> None:
        """Count from nothing; `process` is told with each metric where several processes answer at one address."""
        self._registry = CollectorRegistry()
        self._process = process
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Counter(
            "tokenkeep_requests", "Answered requests.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "tokenkeep_request_seconds",
            "Time from a request's headers to the end of its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._events = Counter("tokenkeep_events", "Audit events.", ["event"], registry=self._registry)
        self._refreshes = Counter(
            "tokenkeep_refreshes", "Verdicts on refresh tokens.", ["verdict"], registry=self._registry
        )
        self._dropped = Gauge(
            "tokenkeep_audit_dropped",
            "Refusals counted and not written since the start.",
            ["event"],
            registry=self._registry,
        )
        self._gauges = {name: Gauge(metric, told, registry=self._registry) for name, (metric, told) in _GAUGES.items()}
        # To look a series up by its labels costs more than to count in it. All labels come from closed lists.
        self._of_event = {kind: self._events.labels(kind.value) for kind in EventKind}
        self._of_verdict = {verdict: self._refreshes.labels(verdict) for verdict in REFRESH_VERDICTS}
        self._of_answer: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count_request(self, request: Answered) -> None:
        """Count an answered request."""
        answer = request.method if request.method in _METHODS else "other", request.route, request.status
        series = self._of_answer.get(answer)
        if series is None:
            method, route, status = answer
            series = self._requests.labels(method, route, str(status)), self._seconds.labels(route)
            self._of_answer[answer] = series
        series[0].inc()
        series[1].observe(request.seconds)

    def count_event(self, event: Event) -> None:
        """Count an audit event that has been committed."""
        self._of_event[event.kind].inc()
        verdict = refresh_verdict(event)
        if verdict is not None:
            self._of_verdict[verdict].inc()

    def exposition(self, measures: Measures) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        for name, gauge in self._gauges.items():
            value: float | None = getattr(measures, name)
            gauge.set(math.nan if value is None else value)
        for kind in REFUSALS:
            self._dropped.labels(kind.value).set(measures.dropped.get(kind, 0))
        return generate_latest(self._registry if self._process is None else _Labelled(self._registry, self._process))


class _Labelled(Collector):
    """A registry whose every metric carries the process that counted."""

    def __init__(self, registry: CollectorRegistry, process: int) -> None:
        self._registry = registry
        self._labels = {"process": str(process)}

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample._replace(labels={**self._labels, **sample.labels}) for sample in metric.samples]
            yield metric


def log_request(request: Answered) -> None:
    """Write the one line of an answered request; a warning if the database kept it from being answered."""
    refused = request.refused or ""
    level = logging.WARNING if refused.partition(":")[0] == "storage_unavailable" else logging.INFO
    if _log.isEnabledFor(level):
        told = {
            "method": request.method,
            "path": _TOKEN.sub(r"\1…", request.path),
            "status": request.status,
            "ms": round(request.seconds * 1000, 2),
            "address": request.address,
        }
        _log.log(level, "request", extra=told if request.refused is None else {**told, "refused": request.refused})


class _JsonLines(logging.Formatter):
    """Writes one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = _told(record, record.getMessage())
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _for_people() -> logging.Formatter:
    """Return what writes the same as text in colours."""
    return structlog.stdlib.ProcessorFormatter(
        processors=[_take_told, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )


def _take_told(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    line = _told(event["_record"], event["event"])
    return {**line, "exc_info": event["exc_info"]} if "exc_info" in event else line


def _told(record: logging.LogRecord, message: str) -> dict[str, Any]:
    """Return what a line says: each text in it printable, without line breaks, terminal controls and bidi marks."""
    line: dict[str, Any] = {
        "event": message,
        "level": record.levelname.lower(),
        "logger": record.name,
    }
    line.update((name, record.__dict__[name]) for name in _MEMBERS if name in record.__dict__)
    line["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
    known_as = request_id.get()
    if known_as is not None:
        line["request_id"] = known_as
    return {name: _one_line(value) if isinstance(value, str) else value for name, value in line.items()}


def _one_line(text: str) -> str:
    cut = text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
    if cut.isprintable():
        return cut
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in cut
    )
