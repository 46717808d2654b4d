"""What must hold in a stored database whatever happened to the server: nothing half done, nothing orphaned."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from tests.system.stored import Ask

_RULES: Final = {
    "a session without an account": """
        SELECT id FROM sessions WHERE account_id NOT IN (SELECT id FROM accounts)
    """,
    "a session that was not told of once when it started": """
        SELECT id FROM sessions WHERE 1 <>
            (SELECT count(*) FROM audit_events WHERE kind = 'session_started' AND session_id = sessions.id)
    """,
    "a start without a session": """
        SELECT session_id FROM audit_events
        WHERE kind = 'session_started' AND session_id NOT IN (SELECT id FROM sessions)
    """,
    "a session whose account never logged in": """
        SELECT sessions.id FROM sessions JOIN accounts ON accounts.id = account_id
        WHERE last_login_at IS NULL
    """,
    "a generation without its rotation, or a rotation without its generation": """
        SELECT id FROM sessions WHERE generation <>
            (SELECT count(*) FROM audit_events WHERE kind = 'refresh_rotated' AND session_id = sessions.id)
    """,
    "a logout that was not told of once": """
        SELECT id FROM sessions WHERE revoked_reason = 'logout' AND 1 <>
            (SELECT count(*) FROM audit_events WHERE kind = 'session_ended' AND session_id = sessions.id)
    """,
    "a session that ended by itself, but its access tokens did not": """
        SELECT id FROM sessions WHERE revoked_reason IN ('logout', 'replaced') AND 1 <>
            (SELECT count(*) FROM revocations WHERE kind = 'sid' AND value = sessions.id)
    """,
    "access tokens that ended, but their session did not": """
        SELECT value FROM revocations
        WHERE kind = 'sid' AND value NOT IN (SELECT id FROM sessions WHERE revoked_at IS NOT NULL)
    """,
    "a session half ended": """
        SELECT id FROM sessions WHERE (revoked_at IS NULL) <> (revoked_reason IS NULL)
    """,
    "a token version that was left, but not revoked": """
        SELECT id FROM accounts WHERE token_version - 1 <>
            (SELECT count(DISTINCT version) FROM revocations WHERE kind = 'sub' AND value = accounts.id)
    """,
    "a revoked token version that is still in use": """
        SELECT id FROM accounts JOIN revocations ON kind = 'sub' AND value = accounts.id WHERE version >= token_version
    """,
    "a change of an account that was not told of once": """
        SELECT id FROM accounts WHERE token_version - 1 <>
            (SELECT count(*) FROM audit_events
             WHERE kind IN ('account_disabled', 'role_changed', 'password_set', 'password_changed',
                            'logged_out_everywhere')
                AND account_id = accounts.id)
    """,
    "a disabled account with a live session": """
        SELECT sessions.id FROM sessions JOIN accounts ON accounts.id = account_id
        WHERE disabled_at IS NOT NULL AND revoked_at IS NULL
    """,
    "a session ended with its account, but no token version with it": """
        SELECT id FROM sessions WHERE revoked_reason IN ('account_disabled', 'password_changed') AND NOT EXISTS
            (SELECT 1 FROM revocations WHERE kind = 'sub' AND value = account_id AND revoked_at = sessions.revoked_at)
    """,
    "a gap in the numbers of revocations": """
        SELECT number FROM revocations WHERE number > 1 AND number - 1 NOT IN (SELECT number FROM revocations)
    """,
    "a head that is not the last revocation": """
        SELECT number FROM revocation_head WHERE number <> (SELECT coalesce(max(number), 0) FROM revocations)
    """,
    "a state of signing keys that is not there once": """
        SELECT wanted FROM (SELECT 'active' AS wanted UNION SELECT 'upcoming') AS states
        WHERE 1 <> (SELECT count(*) FROM signing_keys WHERE state = wanted)
    """,
}


def offences(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield everything in an SQLite database that must not be."""
    for complaint in connection.execute("PRAGMA integrity_check").fetchall():
        if complaint[0] != "ok":
            yield f"integrity: {complaint[0]}"
    for orphan in connection.execute("PRAGMA foreign_key_check").fetchall():
        yield f"orphan: {tuple(orphan)}"
    with closing(connection.cursor()) as cursor:
        cursor.row_factory = sqlite3.Row
        yield from broken_rules(lambda sql: [dict(row) for row in cursor.execute(sql)])


def broken_rules(ask: Ask) -> Iterator[str]:
    """Yield everything that must not be in a database of either engine."""
    for name, sql in _RULES.items():
        for row in ask(sql):
            yield f"{name}: {next(iter(row.values()))}"


@contextmanager
def copied(data: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy of the database in a data directory as it lies there, its log included; the original is not touched.

    Nothing may have it open in this process.
    """
    with tempfile.TemporaryDirectory() as directory:
        for name in ("tokenkeep.db", "tokenkeep.db-wal"):
            if (data / name).exists():
                shutil.copy(data / name, directory)
        with closing(sqlite3.connect(Path(directory) / "tokenkeep.db")) as connection:
            connection.row_factory = sqlite3.Row
            yield connection
