"""What is wrong when PostgreSQL cannot be used, and the way out, in a sentence that holds no password and no data."""

from __future__ import annotations

import ssl
from typing import Final

import asyncpg

from tokenkeep.domain.errors import StorageUnavailable
from tokenkeep.storage.sql.postgres_address import PostgresAddress

_CORRECT: Final = "correct database_url"

_NO_TLS: Final = "it does not offer TLS, which sslmode demands: turn ssl on there"
_SENTENCES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (asyncpg.InvalidPasswordError, f"the password is refused: {_CORRECT}"),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        f"the user is not let in: make the role, let it in in pg_hba.conf, or {_CORRECT}",
    ),
    (asyncpg.InvalidCatalogNameError, f"there is no database {{database}}: create it, or {_CORRECT}"),
    (
        asyncpg.InsufficientPrivilegeError,
        "the user may not do this ({reason}): run tokenkeep migrate with a role that may make tables, or grant it that",
    ),
    (asyncpg.TargetServerAttributeNotMatched, "this is a standby, which cannot be written: name the primary"),
    (asyncpg.ReadOnlySQLTransactionError, "it cannot be written, only read: name the primary, or see its log"),
    (asyncpg.TooManyConnectionsError, "it has no connection left: raise its max_connections, or run fewer processes"),
    (asyncpg.DiskFullError, "its disk is full: make room there"),
    (asyncpg.InsufficientResourcesError, "it has run out of something ({reason}): see its log"),
    (asyncpg.CannotConnectNowError, "it is starting or ending: wait, or see its log"),
    (asyncpg.QueryCanceledError, "a statement was cancelled there: see its log"),
    (asyncpg.OperatorInterventionError, "the connection was ended there: see its log"),
    (asyncpg.IdleInTransactionSessionTimeoutError, "this process was too slow for a transaction, which was undone"),
    (asyncpg.UndefinedTableError, "a table is missing ({reason}): restore the database, or run tokenkeep migrate"),
    (asyncpg.InvalidSchemaNameError, f"the schema is missing: restore the database, or {_CORRECT}"),
    (asyncpg.PostgresSystemError, "its disk or machine failed ({reason}): see its log"),
    (asyncpg.InternalServerError, "its data or the server itself are damaged: see its log"),
    (
        asyncpg.ProtocolViolationError,
        "it refuses to go on ({reason}): a PgBouncer needs pgbouncer=true in database_url, and its own log tells more",
    ),
    (asyncpg.PostgresConnectionError, "the connection was lost: see its log"),
    (asyncpg.exceptions.ClientConfigurationError, f"a parameter of the address is not understood: {_CORRECT}"),
    (asyncpg.InterfaceError, "the connection was lost: see its log"),
    # The server has ended it between two statements, and the driver does not know its own state any more.
    (asyncpg.InternalClientError, "the connection was lost: see its log"),
    (
        ssl.SSLCertVerificationError,
        "its certificate is not accepted ({reason}): name the file of its authority as sslrootcert in database_url",
    ),
    (ssl.SSLError, "TLS fails ({reason}): see its log"),
    (TimeoutError, "it does not answer in time: see whether it runs, and is not overloaded"),
    (ConnectionRefusedError, f"nothing answers ({{reason}}): start it, or {_CORRECT}"),
    (ConnectionError, "it hangs up: see its log"),
    (OSError, f"nothing answers ({{reason}}): start it, or {_CORRECT}"),
)
"""Which sentence belongs to which error of the driver: the first row that fits."""

OUTAGES: Final = tuple(kind for kind, _ in _SENTENCES)
"""Every error that is no mistake in a statement: the database is out of reach, or refuses to work."""


def explain_outage(error: BaseException, address: PostgresAddress) -> StorageUnavailable:
    """Return the refusal that tells of one of the `OUTAGES`."""
    # The driver has no type of its own for a server that declines TLS.
    declined = type(error) is ConnectionError and "SSL" in str(error)
    words = _NO_TLS if declined else next(words for kind, words in _SENTENCES if isinstance(error, kind))
    told = words.format(reason=_reason(error), database=repr(address.database) if address.database else "of that name")
    return StorageUnavailable(f"PostgreSQL at {address.where}: {told}")


def _reason(error: BaseException) -> str:
    """Return the error in a few words; not its whole text, which may repeat data or the address."""
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case ssl.SSLError():
            return error.reason or "no reason given"
        case OSError():
            return error.strerror or "refused"
        case asyncpg.PostgresError():
            return str(getattr(error, "message", "")).partition("\n")[0]
        case _:
            return type(error).__name__
