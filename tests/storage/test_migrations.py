"""How a database comes to the schema of this version, and what is refused: `storage.sql.migrate`, on every engine."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from tests.storage.contracts import Engine, Processes, execute, rows
from tokenkeep.storage.sql import migrate as migrations
from tokenkeep.storage.sql.database import Database
from tokenkeep.storage.sql.migrate import (
    EXPANDING,
    Migration,
    SchemaMismatch,
    check_current,
    expands,
    known_migrations,
    migrate,
)

KNOWN = known_migrations()
NUMBERS = [migration.number for migration in KNOWN]
NEWER = Migration(
    max(NUMBERS) + 1, f"{max(NUMBERS) + 1:04}_later", "CREATE TABLE later (id BIGINT);\nCREATE INDEX i ON later (id);\n"
)
EXPANSIONS = [
    Migration(number, f"{number:04}_added{EXPANDING}", f"CREATE TABLE added_{number} (id BIGINT);\n")
    for number in (NEWER.number, NEWER.number + 1)
]
"""What a later version adds, and the one after it."""


async def test_an_empty_database_is_brought_to_this_version(database: Database, engine: Engine):
    """Every migration is applied in order, and told of; a second call finds nothing to do."""
    assert await migrate(database) == KNOWN
    assert await migrate(database) == []
    await check_current(database)
    listed = await rows(database, "SELECT number, name, checksum FROM migrations ORDER BY number")
    assert [row["number"] for row in listed] == NUMBERS
    assert [row["checksum"] for row in listed] == [migration.checksum for migration in KNOWN]
    assert {"accounts", "sessions", "signing_keys", "revocations", "revocation_head"} <= await engine.tables()


async def test_processes_that_start_at_once_migrate_once(processes: Processes):
    """Of eight processes that open an empty database together one migrates; the others wait and find it done."""
    databases = [await processes.database() for _ in range(8)]
    applied = await asyncio.gather(*(migrate(database) for database in databases))
    assert sorted(len(each) for each in applied) == [0] * 7 + [len(KNOWN)]
    listed = await rows(databases[0], "SELECT number FROM migrations ORDER BY number")
    assert [row["number"] for row in listed] == NUMBERS


async def test_a_later_migration_is_added_to_an_older_database(database: Database, monkeypatch: pytest.MonkeyPatch):
    """A database with data gets what is missing and nothing else, and keeps its data."""
    await migrate(database)
    await execute(database, "UPDATE revocation_head SET number = 41")
    monkeypatch.setattr(migrations, "known_migrations", lambda: [*KNOWN, NEWER])
    with pytest.raises(SchemaMismatch, match="tokenkeep migrate"):
        await check_current(database)
    assert await migrate(database) == [NEWER]
    assert await rows(database, "SELECT number FROM revocation_head") == [{"number": 41}]
    await check_current(database)


async def test_places_of_logins_are_kept_as_far_as_they_are_known(database: Database, monkeypatch: pytest.MonkeyPatch):
    """Of a session of before, the place of its login is its address as long as it has never been refreshed."""
    monkeypatch.setattr(migrations, "known_migrations", lambda: KNOWN[:1])
    await migrate(database)
    await execute(
        database,
        "INSERT INTO accounts (id, name, name_key, role, token_version, created_at) "
        "VALUES ('1', 'A', 'a', 'user', 1, 0)",
    )
    for generation in (0, 1):
        await execute(
            database,
            """
            INSERT INTO sessions (
                id, account_id, secret, secret_version, generation, rotated_at, previous_rotated_at, created_at,
                last_used_at, idle_expires_at, expires_at, delivery, methods, user_agent, fingerprint, address
            )
            VALUES ($1, '1', $2, '', $3, 0, 0, 0, 0, 0, 0, 'cookie', 'pwd', '', '', '192.0.2.1')
            """,
            str(generation),
            b"",
            generation,
        )
    monkeypatch.setattr(migrations, "known_migrations", lambda: KNOWN)
    await migrate(database)
    listed = await rows(database, "SELECT id, login_address FROM sessions ORDER BY id")
    assert listed == [{"id": "0", "login_address": "192.0.2.1"}, {"id": "1", "login_address": ""}]


async def test_of_keys_that_had_ended_nothing_is_kept(database: Database, monkeypatch: pytest.MonkeyPatch):
    """Published keys go on; those that were revoked before private parts were erased are gone with theirs."""
    monkeypatch.setattr(migrations, "known_migrations", lambda: KNOWN[:3])
    await migrate(database)
    for state in ("active", "upcoming", "revoked", "retired"):
        await execute(
            database,
            "INSERT INTO signing_keys (id, algorithm, state, sealed, created_at) VALUES ($1, 'ES256', $1, $2, 7)",
            state,
            b"sealed",
        )
    monkeypatch.setattr(migrations, "known_migrations", lambda: KNOWN)
    await migrate(database)
    listed = await rows(database, "SELECT id, sealed, requested_at, ended_at FROM signing_keys ORDER BY id")
    assert listed == [
        {"id": state, "sealed": b"sealed", "requested_at": None, "ended_at": None} for state in ("active", "upcoming")
    ]


async def test_a_migration_that_fails_leaves_nothing_behind(
    database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    """All missing migrations are applied, or none: also those before the one that failed."""
    broken = Migration(NEWER.number + 1, "broken", "CREATE TABLE last (id BIGINT);\nCREATE NONSENSE;\n")
    monkeypatch.setattr(migrations, "known_migrations", lambda: [*KNOWN, NEWER, broken])
    with pytest.raises(Exception, match="NONSENSE"):
        await migrate(database)
    assert await engine.tables() == set()


async def test_a_changed_migration_is_refused(database: Database):
    """A database whose applied file differs from this version's is neither migrated nor used."""
    await migrate(database)
    await execute(database, "UPDATE migrations SET checksum = 'another' WHERE number = 1")
    for call in (migrate, check_current):
        with pytest.raises(SchemaMismatch, match="migration 1 was applied with another content"):
            await call(database)


async def test_the_database_of_a_newer_version_is_refused(database: Database):
    """A database that knows a later migration is left alone by this version, which says so."""
    await migrate(database)
    await execute(
        database, "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (9999, 'later', 'abc', 0)"
    )
    for call in (migrate, check_current):
        with pytest.raises(SchemaMismatch, match="migration 9999"):
            await call(database)
    assert len(await rows(database, "SELECT number FROM migrations")) == len(KNOWN) + 1


async def migrate_as(monkeypatch: pytest.MonkeyPatch, database: Database, known: list[Migration]) -> list[Migration]:
    """Bring a database to the schema of a version that knows these migrations; returns what was applied."""
    with monkeypatch.context() as version:
        version.setattr(migrations, "known_migrations", lambda: known)
        return await migrate(database)


async def test_the_database_that_newer_versions_have_expanded_is_used(
    database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    """This version runs on what others have only added to, and neither repeats nor undoes it."""
    assert await migrate_as(monkeypatch, database, [*KNOWN, *EXPANSIONS]) == [*KNOWN, *EXPANSIONS]
    await check_current(database)
    assert await migrate(database) == []
    assert {f"added_{expansion.number}" for expansion in EXPANSIONS} <= await engine.tables()
    assert await migrate_as(monkeypatch, database, [*KNOWN, *EXPANSIONS]) == []


@pytest.mark.parametrize("later", [[NEWER, EXPANSIONS[1]], [EXPANSIONS[0], replace(EXPANSIONS[1], name="0000_broken")]])
async def test_one_step_that_does_more_than_expand_is_enough(
    database: Database, monkeypatch: pytest.MonkeyPatch, later: list[Migration]
):
    """If any of the migrations that this version does not know may break it, it does not run, and names that one."""
    await migrate_as(monkeypatch, database, [*KNOWN, *later])
    [breaking] = [each for each in later if not expands(each.name)]
    for call in (migrate, check_current):
        with pytest.raises(SchemaMismatch, match=f"migration {breaking.number}, this version knows up to"):
            await call(database)


async def test_a_migration_is_not_made_up_for(database: Database, monkeypatch: pytest.MonkeyPatch):
    """Where a later migration was applied without an earlier one, that is not applied afterwards."""
    await migrate_as(monkeypatch, database, [*KNOWN, EXPANSIONS[1]])
    monkeypatch.setattr(migrations, "known_migrations", lambda: [*KNOWN, EXPANSIONS[0]])
    with pytest.raises(SchemaMismatch, match="tokenkeep migrate"):
        await check_current(database)
    with pytest.raises(SchemaMismatch, match=f"{EXPANSIONS[1].number}, but not {EXPANSIONS[0].number}"):
        await migrate(database)


async def test_a_look_at_an_empty_database_leaves_nothing_in_it(database: Database, engine: Engine):
    """`check_current` refuses an empty database with the command that helps, and makes no table."""
    with pytest.raises(SchemaMismatch, match="tokenkeep migrate"):
        await check_current(database)
    assert await engine.tables() == set()


def test_migrations_are_numbered_from_one_without_gaps():
    """The files in the package are 0001, 0002, … each with a name of its own."""
    assert [migration.number for migration in KNOWN] == list(range(1, len(KNOWN) + 1))
    assert all(re.fullmatch(rf"\d{{4}}_[a-z_]+({EXPANDING})?", migration.name) for migration in KNOWN)


def test_migrations_are_split_into_whole_statements():
    """Each statement of a file is run by itself: none is empty, none holds a second one or a comment."""
    for migration in KNOWN:
        statements = migration.statements()
        assert len(statements) == len(re.findall(r";$", migration.text, re.MULTILINE))
        for statement in statements:
            assert re.match(r"\s*(CREATE|ALTER|INSERT|UPDATE|DROP|DELETE) ", statement)
            assert ";" not in statement.rstrip(";\n ")
            assert "--" not in statement


ADDS = re.compile(
    r"""
    CREATE\ TABLE\ .* | CREATE\ INDEX\ .* | INSERT\ INTO\ (?P<filled>\w+)\ .*
    | ALTER\ TABLE\ \w+\ ADD\ COLUMN\ \w+\ (TEXT|BIGINT|BYTEA)(\ NOT\ NULL\ DEFAULT\ \S+)?
    """,
    re.VERBOSE | re.DOTALL,
)


def only_adds(migration: Migration) -> bool:
    """Tell whether statements of a version that does not know the migration mean the same after it as before."""
    found = [ADDS.fullmatch(statement.strip(";\n ")) for statement in migration.statements()]
    filled = {match["filled"] for match in found if match and match["filled"]}
    return all(found) and all(f"CREATE TABLE {table} (" in migration.text for table in filled)


def test_what_is_called_expanding_only_adds():
    """Migrations with that ending make tables, indexes, and columns that need not be given; nothing else."""
    for migration in [*KNOWN, *EXPANSIONS]:
        assert only_adds(migration) or not expands(migration.name), migration.name


@pytest.mark.parametrize(
    ("text", "adds"),
    [
        ("ALTER TABLE sessions ADD COLUMN device TEXT", True),
        ("ALTER TABLE sessions ADD COLUMN device TEXT NOT NULL DEFAULT ''", True),
        ("CREATE TABLE devices (id TEXT NOT NULL PRIMARY KEY);\n\nINSERT INTO devices (id) VALUES ('a')", True),
        ("CREATE INDEX sessions_by_device ON sessions (id)", True),
        ("ALTER TABLE sessions ADD COLUMN device TEXT NOT NULL", False),
        ("CREATE UNIQUE INDEX sessions_by_device ON sessions (id)", False),
        ("INSERT INTO accounts (id) VALUES ('a')", False),
        ("ALTER TABLE sessions DROP COLUMN address", False),
        ("ALTER TABLE sessions RENAME COLUMN address TO place", False),
        ("DROP TABLE sessions", False),
        ("UPDATE sessions SET address = ''", False),
        ("DELETE FROM sessions", False),
    ],
)
def test_what_only_adds_is_told_from_what_does_more(text: str, adds: bool):
    """A column that must be given, a rule for what is there, and whatever changes or removes does not only add."""
    assert only_adds(Migration(9, "0009_example", f"{text};\n")) == adds


def test_migrations_use_only_column_types_that_mean_the_same_everywhere():
    """Columns are TEXT, BIGINT or BYTEA: what SQLite and PostgreSQL keep alike."""
    for migration in KNOWN:
        for statement in migration.statements():
            if "CREATE TABLE" in statement:
                columns = re.findall(r"^    (\w+) (\w+)", statement, re.MULTILINE)
                assert columns
                assert {kind for _, kind in columns} <= {"TEXT", "BIGINT", "BYTEA"}
