"""A worker process of `tokenkeep serve`: how it readies itself, and the application that it serves.

Not here: the process that starts workers and watches over them (`cli.serve`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from tokenkeep.assembly import CANNOT_SERVE
from tokenkeep.backends import locks_directory
from tokenkeep.cli.configured import read_settings
from tokenkeep.observability import set_up_logging
from tokenkeep.server import AuthServer
from tokenkeep.storage.data_directory import DataDirectory

PARENT_CHECK: Final = 1
"""Seconds between two looks at whether the main process is still there."""
LARGEST_KEPT: Final = 1 << 20
"""Bytes of the largest block that freed memory is kept for; the memory of a password hash is far larger."""
_M_MMAP_THRESHOLD: Final = -3
"""The parameter of glibc's `mallopt`."""


def load_application(config: Path | None, flags: dict[str, Any]) -> Callable[..., Awaitable[None]]:
    """Return the application, inside the worker; settings are read again, so that no secret is handed over."""
    # The main process replaces workers. One that hears of it itself, as all do when a terminal hangs up, goes on.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _end_with_parent()
    _give_memory_back()
    settings = read_settings(config, flags).settings
    set_up_logging(level=settings.log_level)
    logging.getLogger("_granian").addFilter(_without_trace)
    directory = DataDirectory(settings.data_dir)
    if locks_directory(settings, directory):
        directory.lock_for_worker()
    return _told_to_end(AuthServer(settings, exclusive=False))


def _told_to_end(server: AuthServer) -> Callable[..., Awaitable[None]]:
    """Return the application of a server that keeps nobody waiting for news once this process is told to end.

    Requests under way are finished before the life span ends, so that it would hear of it too late.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            loop = asyncio.get_running_loop()
            # The loop's own handlers hear of signals by its wake-up descriptor, and so do not miss any by this.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(server.drain))
        await server.app(scope, receive, send)

    return app


def _without_trace(record: logging.LogRecord) -> bool:
    """Leave out the trace of an error that says in a line why the worker does not start; the line is kept."""
    if record.exc_info and isinstance(record.exc_info[1], CANNOT_SERVE):
        record.exc_info = None
    return True


def _give_memory_back() -> None:
    """Have the memory of each password hash go back to the system at once, where the C library is glibc.

    Otherwise each hashing thread keeps as much as the largest hash it ever made.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library: it has ways of its own
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT)


def _end_with_parent() -> None:
    """End this worker when the main process is gone: it would hold the lock and serve on, unwatched."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
