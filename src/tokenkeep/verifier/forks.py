"""What the child of a fork must not take over: threads that are not there, and locks that one of them may have held."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Something with a thread or a lock."""

    def renew(self) -> None:
        """Forget threads and locks of the parent; called in the child, before it does anything else."""


_all: WeakSet[Renewable] = WeakSet()


def renew_in_children(thing: Renewable) -> None:
    """Have something renewed in every child of a fork, for as long as it lives."""
    _all.add(thing)


def _renew_all() -> None:
    for thing in list(_all):
        thing.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
