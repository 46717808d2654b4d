"""`tokenkeep serve`: check everything, then run the server: start workers, and replace them.

Not here: what a worker does (`cli.worker`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import click
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from tokenkeep.backends import choose_redis, locks_directory
from tokenkeep.cli.configured import read_settings, setting_options
from tokenkeep.cli.worker import load_application
from tokenkeep.observability import set_up_logging
from tokenkeep.server import AuthServer
from tokenkeep.settings import Loaded, Settings, SettingsError, check_safety
from tokenkeep.settings.options import OPTIONS
from tokenkeep.settings.sources import CONFIG_VARIABLE
from tokenkeep.storage.data_directory import DataDirectory

DRAIN: Final = 10
"""Seconds that requests under way get to finish after SIGTERM."""
HEADER_TIMEOUT: Final = 5_000
"""Milliseconds in which a connection must have sent the headers of a request."""
LARGEST_SECTION: Final = 80 * 1024
"""Bytes after which no more is read of a header section: an empty 431. Up to here, 64 KiB too, it gets a document."""
SIGNAL_CHECK: Final = 0.5
"""Seconds between two looks at whether a signal has come that did not wake the main process."""
RENEWAL_CHECK: Final = 30
"""Seconds between two looks at whether the certificate was renewed."""


@click.command()
@setting_options()
def serve(config: Path | None, **flags: Any) -> None:
    """Serve logins, refreshes, logouts and the key set.

    The first start makes the data directory with the database and the server secret, and the signing keys.
    """
    # Until it can be heeded it would end the process. Nothing is missed: all that a reload reads anew is read later.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    loaded = read_settings(config, flags)
    settings = loaded.settings
    set_up_logging(level=settings.log_level)
    asyncio.run(_check(settings))
    _check_port(settings)
    _check_certificate(settings)
    directory = DataDirectory(settings.data_dir)
    if locks_directory(settings, directory):
        directory.lock()  # held to the end of this process, for its workers
    if settings.tls_cert is not None and settings.tls_key is not None:
        _reload_on_renewal([settings.tls_cert, settings.tls_key])
    click.echo(_next_steps(loaded, config))
    sys.stdout.flush()
    _Server(
        partial(_check_reload, config, flags, settings.issuer),
        target="tokenkeep",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN,
        websockets=False,
        # Only HTTP/1 has a limit on the time until the first request; without one, silent connections block the rest.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT, max_buffer_size=LARGEST_SECTION),
        backlog=4096,
        backpressure=16_384,
        ssl_cert=settings.tls_cert,
        ssl_key=settings.tls_key,
        ssl_protocol_min=SSLProtocols.tls12,
        log_level=LogLevels.warning,
        log_dictconfig={"version": 1, "disable_existing_loggers": False, "loggers": {"_granian": {"propagate": True}}},
    ).serve(target_loader=partial(load_application, config, flags), wrap_loader=False)


async def _check(settings: Settings) -> None:
    """Open and close the server once, so that what is wrong is said here and not by a worker that dies."""
    async with AuthServer(settings):
        logging.getLogger(__name__).debug("the server opens")


def _check_certificate(settings: Settings) -> None:
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        # An empty password: an encrypted key is refused, and nobody is asked.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(
            f"tls_cert {settings.tls_cert} and tls_key {settings.tls_key} cannot be used: "
            f"{getattr(error, 'reason', None) or error}"
        ) from None


class _Interrupt(threading.Event):
    """What the main process waits for, set by handlers of signals.

    A signal may be delivered to another thread, which does not wake the one that has to handle it; so this looks up now
    and then. A `threading.Event` takes a lock to be set, for which a handler that interrupts another would wait for
    ever. And what is cleared for a reload must not take the end with it that was asked for just before.
    """

    def __init__(self, ending: Callable[[], bool]) -> None:
        super().__init__()
        self._ending = ending
        self._called = False
        self._calls: SimpleQueue[None] = SimpleQueue()  # it may be filled from anywhere, from handlers too

    def is_set(self) -> bool:
        return self._called or self._ending()

    def set(self) -> None:
        self._called = True
        self._calls.put(None)

    def clear(self) -> None:
        self._called = False

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - the signature is that of an event
        """Return once it is set; nobody here waits with a timeout."""
        while not self.is_set():
            with contextlib.suppress(Empty):
                self._calls.get(timeout=SIGNAL_CHECK)
        return True


class _Server(MPServer):
    """Granian, which replaces its worker on SIGHUP only by one that can start, and one that was killed always.

    Certificate and key are looked up by their names for each worker: resolved once, links would lead every later one
    to files that a renewal has removed.
    """

    def __init__(self, check: Callable[[], None], **options: Any) -> None:
        self._check = check
        super().__init__(**options)
        self.main_loop_interrupt = _Interrupt(lambda: self.interrupt_signal)

    def build_ssl_context(self, cert: Path | None, key: Path | None, *options: Any) -> None:
        super().build_ssl_context(cert, key, *options)
        if cert is not None and key is not None:
            served, _, _, *more = self.ssl_ctx
            self.ssl_ctx = (served, str(cert.absolute()), str(key.absolute()), *more)  # type: ignore[assignment]

    def _respawn_workers(self, workers: list[int], *targets: Any, **options: Any) -> None:
        """Replace workers; one that was killed does not count as one that cannot live, however soon it happens again.

        Otherwise two kills of one worker within seconds, by whom it may be, would end the others and the server.
        """
        killed = [each for each in workers if (self.wrks[each].inner.exitcode or 0) < 0]
        super()._respawn_workers(workers, *targets, **options)
        for each in killed:
            self.respawned_wrks.pop(each, None)

    def signal_handler_reload(self, *args: Any, **kwargs: Any) -> None:
        try:
            self._check()
        except SettingsError as error:
            logging.getLogger(__name__).error("not reloaded, the old settings stay in force: %s", error)
        else:
            super().signal_handler_reload(*args, **kwargs)  # type: ignore[no-untyped-call]


def _check_reload(config: Path | None, flags: dict[str, Any], issuer: str) -> None:
    settings = read_settings(config, flags).settings
    if settings.issuer != issuer:
        raise SettingsError(
            f"issuer is {settings.issuer} now, and was {issuer} at the start: old and new workers would refuse each "
            "other's tokens. To change it, stop all server processes, then start them"
        )
    check_safety(settings)
    choose_redis(settings)
    _check_certificate(settings)


def _reload_on_renewal(files: list[Path]) -> None:
    """Watch the certificate, and hang up on this process when it was renewed: its workers are then replaced."""

    def watch() -> None:
        seen = [file.stat().st_mtime_ns for file in files]
        while True:
            time.sleep(RENEWAL_CHECK)
            with contextlib.suppress(OSError):  # it is being replaced just now
                found = [file.stat().st_mtime_ns for file in files]
                if found != seen:
                    seen = found
                    os.kill(os.getpid(), signal.SIGHUP)

    threading.Thread(target=watch, name="certificate-watch", daemon=True).start()


def _check_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another with --port, "
                "and set the issuer to match"
            ) from None


def _next_steps(loaded: Loaded, config: Path | None) -> str:
    settings = loaded.settings
    return (
        f"Tokenkeep serves {settings.issuer} (listening on {settings.host}:{settings.port})\n"
        f"Data directory: {settings.data_dir.absolute()}\n"
        "\n"
        "Add someone:\n"
        f"  {_as_given(loaded, config, f'{Path(sys.argv[0])} users add Ada --role admin')}\n"
        "Log in:\n"
        f"  curl -s -c jar.txt -X POST {settings.issuer}/login -H 'Content-Type: application/json' \\\n"
        '       -d \'{"name":"Ada","password":"…"}\'\n'
    )


def _as_given(loaded: Loaded, config: Path | None, command: str) -> str:
    """Return a command that finds this server's data directory, told of it in the way in which the server was."""
    option = OPTIONS["data_dir"]
    origin, given = loaded.origins.get(option.name), shlex.quote(str(loaded.settings.data_dir))
    if origin == option.flag:
        return f"{command} {option.flag} {given}"
    if origin == option.variable:
        return f"{option.variable}={given} {command}"
    if config is not None:
        return f"{command} --config {shlex.quote(str(config))}"
    if CONFIG_VARIABLE in os.environ:
        return f"{CONFIG_VARIABLE}={shlex.quote(os.environ[CONFIG_VARIABLE])} {command}"
    return command  # by default, or in the settings file of this folder
