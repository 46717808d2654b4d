"""Which database, data directory, secret and Redis the settings name; nothing is opened here.

Not here: what is built upon them (`assembly`).
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from tokenkeep.domain.secrets import Purpose, SecretRing
from tokenkeep.flows.ports import Clock
from tokenkeep.settings import Settings, SettingsError
from tokenkeep.settings.checks import SQLITE_URL
from tokenkeep.storage.address_error import AddressError
from tokenkeep.storage.data_directory import PUT_BACK, DataDirectory, DataDirectoryError
from tokenkeep.storage.memory import MemoryLimiter
from tokenkeep.storage.redis_address import RedisAddress
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from tokenkeep.storage.redis import RedisLink
    from tokenkeep.storage.redis_shared import RedisShared

_log = logging.getLogger(__name__)


def locks_directory(settings: Settings, directory: DataDirectory) -> bool:
    """Tell whether a server holds its data directory for itself, since it shares no database or no Redis."""
    return (settings.embedded or settings.redis_url is None) and directory.exists()


def node_of(settings: Settings, directory: DataDirectory) -> str:
    """Return what names the node of a server process among those that serve one database.

    Raises:
        DataDirectoryError: the file with the name cannot be read or written.
    """
    return directory.node() if directory.exists() else f"{socket.gethostname()}:{settings.port}"


def sqlite_file(settings: Settings, directory: DataDirectory) -> Path:
    """Return the file of the embedded database."""
    if settings.database_url is None:
        return directory.database
    return Path(settings.database_url.reveal().removeprefix(SQLITE_URL))


def prepare_directory(settings: Settings, directory: DataDirectory) -> None:
    """Make the data directory, which a server with a database elsewhere may be allowed to do without.

    Raises:
        DataDirectoryError: it cannot be made, is not ours, or is open to others.
    """
    try:
        directory.create()
    except DataDirectoryError as error:
        if settings.embedded or directory.exists():
            raise
        if not settings.allow_unmarked_database:
            raise DataDirectoryError(f"{error} (or do without it: --allow-unmarked-database on)") from None
        _log.warning("%s; a database that is put back to an older state will not be noticed", error)


def require_data(settings: Settings, directory: DataDirectory) -> None:
    """Return if what a server has made is there, for a command beside it.

    Raises:
        DataDirectoryError: the data directory or the embedded database is missing, and only `serve` makes them; or
            the directory is not ours, or open to others.
    """
    if not settings.embedded:
        directory.check_closed()
        return
    directory.require()
    if not sqlite_file(settings, directory).exists():
        raise DataDirectoryError(
            f"no database at {sqlite_file(settings, directory)}; start the server once with: tokenkeep serve"
        )


def choose_database(settings: Settings, directory: DataDirectory, clock: Clock) -> Database:
    """Return the configured database, not yet open."""
    if settings.database_url is None or settings.embedded:
        return SqliteDatabase(sqlite_file(settings, directory), clock)
    # Imported when configured only: the driver costs memory that the embedded default need not spend.
    from tokenkeep.storage.sql.postgres import PostgresDatabase

    return PostgresDatabase(settings.database_url.reveal())


def choose_shared(settings: Settings, ring: SecretRing, clock: Clock) -> RedisShared | None:
    """Return what is shared through the configured Redis, not yet connected; None if none is configured.

    Raises:
        SettingsError: its address or a file that it names cannot be used, or its driver is not installed.
    """
    link = choose_redis(settings)
    if link is None:
        return None
    from tokenkeep.storage.redis_shared import RedisShared

    return RedisShared.over(link, key=ring.key(ring.current, Purpose.COUNTING), own=MemoryLimiter(clock))


def choose_redis(settings: Settings) -> RedisLink | None:
    """Return the link to the configured Redis, not yet connected; None if none is configured.

    Raises:
        SettingsError: its address or a file that it names cannot be used, or its driver is not installed.
    """
    if settings.redis_url is None:
        return None
    try:
        # Imported when configured only: the driver costs half a second and a third of a worker's memory.
        from tokenkeep.storage.redis_shared import link_to

        address = RedisAddress.parse(settings.redis_url.reveal())
        return link_to(address, prefix=settings.redis_prefix, issuer=settings.issuer)
    except AddressError as error:
        raise SettingsError(str(error)) from None
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"redis", "hiredis"}:
            raise
        raise SettingsError("redis_url needs the driver: install tokenkeep with the extra redis") from None


def read_secrets(settings: Settings, directory: DataDirectory, *, create: bool) -> SecretRing:
    """Return the server secrets: the configured ones, or the one in the data directory.

    Args:
        create: whether one may be generated there if there is none.

    Raises:
        SettingsError: there is none, or it is too short.
        DataDirectoryError: the one in the data directory is missing, too short, or cannot be read or made.
    """
    if settings.secret is not None:
        text: str | None = settings.secret.reveal()
    else:
        text = directory.read_secret()
        if text is None and create:
            text = directory.create_secret(sqlite_file(settings, directory))
        if text is None and settings.embedded:
            text = directory.require_secret()
    if text is None:
        raise SettingsError("no server secret: set TOKENKEEP_SECRET (make one with: tokenkeep secret generate)")
    try:
        return SecretRing(text.encode(), [previous.reveal().encode() for previous in settings.previous_secrets])
    except ValueError as error:
        if settings.secret is None:
            raise DataDirectoryError(f"server secret {directory.secret} is damaged: {error}; {PUT_BACK}") from None
        raise SettingsError(f"secret: {error}; make one with: tokenkeep secret generate") from None
