"""Instants as answers carry them: whole seconds since the epoch, of the milliseconds that everything else counts in."""

from __future__ import annotations

from typing import overload


@overload
def seconds(instant: int) -> int: ...


@overload
def seconds(instant: int | None) -> int | None: ...


def seconds(instant: int | None) -> int | None:
    """Return an instant in seconds, rounded down; None if there is none."""
    return None if instant is None else instant // 1000
