"""Bring a database to the schema of this version: numbered files, applied once, under a lock, checksummed.

A file whose name ends with `.expand.sql` only adds: versions that do not know it go on running on what it makes, so
that old and new processes may serve one database. Any other file needs the old ones gone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

from tokenkeep.storage.sql.database import Database, SqlTransaction

EXPANDING: Final = ".expand"
"""How the name of a migration ends that only adds."""

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS migrations (
    number BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)
"""


class SchemaMismatch(Exception):
    """The database's schema is not one that this version can run on, or bring up to date."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of statements."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """The SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self) -> list[str]:
        """Return the statements; each ends with a semicolon at the end of a line."""
        lines = [line for line in self.text.splitlines() if not line.startswith("--")]
        return [statement for statement in "\n".join(lines).split(";\n") if statement.strip(";\n ")]


def expands(name: str) -> bool:
    """Tell whether the migration of a name only adds, so that versions that do not know it go on running."""
    return name.endswith(EXPANDING)


def known_migrations() -> list[Migration]:
    """Return the migrations of this version, in order."""
    files = resources.files(f"{__package__}.migrations").iterdir()
    found = [
        Migration(int(file.name[:4]), file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for file in files
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.number)


async def migrate(database: Database) -> list[Migration]:
    """Apply what is missing, all of it or nothing; returns what was applied.

    Processes that start at once wait for each other, and one of them does the work.

    Raises:
        SchemaMismatch: a newer version has done more to the database than to expand it, or an applied file has been
            changed since, or one is missing before one that was applied.
        StorageUnavailable: the database did not answer.
    """
    return await database.transact_alone(_apply_missing, known_migrations(), database)


async def check_current(database: Database) -> None:
    """Return if the database has the schema of this version, or one that a newer version has only expanded.

    Raises:
        SchemaMismatch: it has not, and what to do.
        StorageUnavailable: the database did not answer.
    """
    known = known_migrations()
    applied = await database.read(_applied, known, database)
    if not applied.issuperset(migration.number for migration in known):
        raise SchemaMismatch("the database has not the schema of this version; bring it there with: tokenkeep migrate")


async def _apply_missing(tx: SqlTransaction, known: list[Migration], database: Database) -> list[Migration]:
    applied = await _applied(tx, known, database)
    if not applied:
        await tx.execute(_TABLE)
    missing = [migration for migration in known if migration.number not in applied]
    if missing and missing[0].number < max(applied, default=0):
        raise SchemaMismatch(
            f"the database has migration {max(applied)}, but not {missing[0].number}, which comes before it: "
            "run the tokenkeep that made it, or restore a backup"
        )
    for migration in missing:
        for statement in migration.statements():
            await tx.execute(statement)
        await tx.execute(
            "INSERT INTO migrations (number, name, checksum, applied_at) VALUES ($1, $2, $3, $4)",
            migration.number,
            migration.name,
            migration.checksum,
            tx.now,
        )
    return missing


async def _applied(tx: SqlTransaction, known: list[Migration], database: Database) -> set[int]:
    """Return the numbers of the applied migrations: those this version knows, as it knows them, and expanding ones."""
    if await tx.fetch_one(database.find_table, "migrations") is None:
        return set()
    applied = {row["number"]: row for row in await tx.fetch("SELECT number, name, checksum FROM migrations")}
    checksums = {migration.number: migration.checksum for migration in known}
    newer = [number for number in applied if number > max(checksums)]
    breaking = [number for number in newer if not expands(applied[number]["name"])]
    if breaking:
        raise SchemaMismatch(
            f"the database has migration {max(breaking)}, this version knows up to {max(checksums)}: "
            "run the newer tokenkeep that made it"
        )
    for number in applied.keys() - newer:
        if applied[number]["checksum"] != checksums.get(number):
            raise SchemaMismatch(
                f"migration {number} was applied with another content than this version has: "
                "restore the released file or the database"
            )
    return set(applied)
