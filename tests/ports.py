"""Ports for servers that tests start."""

from __future__ import annotations

import errno
import os
import random
import socket
from typing import Final

FIRST: Final = 10_240
LAST: Final = 32_767
"""Below the range from which the system takes the ports of outgoing connections: none of them takes one meanwhile."""

_given: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 where nobody listens, and that nobody was given before.

    Tests run in several processes; each takes its ports from a share of its own.

    Raises:
        OSError: all of them are taken.
    """
    share, shares = _share()
    mine = [port for port in range(FIRST + share, LAST + 1, shares) if port not in _given]
    for port in random.sample(mine, len(mine)):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))  # whoever listens at any address is noticed
            except OSError:
                continue
        _given.add(port)
        return port
    raise OSError(errno.EADDRINUSE, "no port is free")


def _share() -> tuple[int, int]:
    """Return which of the processes that run tests this is, and how many there are."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return int(worker.removeprefix("gw")), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
